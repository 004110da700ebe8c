// SPDX-License-Identifier: GPL-2.0
/*
 * A member of a group that tests control: it logs each view and each message in
 * one line, and multicasts on request.
 *
 *   insmod kcgcs_test_member.ko group=demo
 *   echo "20 hello" >/sys/module/kcgcs_test_member/parameters/say
 *
 * multicasts "hello 1" to "hello 20", and waits while the window is full.  The
 * module cannot be unloaded while it is a member: first leave, by
 * echo 0 >.../parameters/member, or "discard" instead of 0, which does not send
 * first what was accepted.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <net/net_namespace.h>

#include <kcgcs.h>

#define SAY_MAX		10000
#define TEXT_BYTES	64
#define LINE_BYTES	512

static char *group_name = "test";
module_param_named(group, group_name, charp, 0444);
MODULE_PARM_DESC(group, "name of the group to join (test)");

static bool keep_view;
module_param(keep_view, bool, 0444);
MODULE_PARM_DESC(keep_view, "leak a view on purpose, to test that it is detected (0)");

static DEFINE_MUTEX(membership_lock);
static struct kcgcs_group *membership;
static DECLARE_COMPLETION(room);

static void test_view(struct kcgcs_group *group, void *context,
		      const struct kcgcs_view *view)
{
	char members[LINE_BYTES] = "";
	size_t used = 0;
	u16 i;

	for (i = 0; i < view->member_count; i++)
		used += scnprintf(members + used, sizeof(members) - used, " %u",
				  view->members[i].node);
	pr_info("group %s view %llu has %u members:%s\n", group_name,
		view->number, view->member_count, members);
	if (view->lost || view->end)
		pr_info("group %s end %u, %llu messages lost\n", group_name,
			view->end, view->lost);
}

static void test_deliver(struct kcgcs_group *group, void *context,
			 const struct kcgcs_message *message)
{
	pr_info("group %s message %llu of node %u: %.*s\n", group_name,
		message->sequence, message->sender.node, (int)message->length,
		(const char *)message->data);
}

static void test_writable(struct kcgcs_group *group, void *context)
{
	complete(&room);
}

static const struct kcgcs_group_ops test_ops = {
	.size = sizeof(test_ops),
	.owner = THIS_MODULE,
	.view = test_view,
	.deliver = test_deliver,
	.writable = test_writable,
};

static int say_one(const char *text, unsigned int number)
{
	char line[TEXT_BYTES + 16];
	int length = scnprintf(line, sizeof(line), "%s %u", text, number);
	int ret;

	for (;;) {
		reinit_completion(&room);
		ret = kcgcs_multicast(membership, line, length, KCGCS_AGREED,
				      GFP_KERNEL);
		if (ret != -EAGAIN)
			return ret;
		ret = wait_for_completion_interruptible(&room);
		if (ret)
			return ret;
	}
}

static int say_set(const char *value, const struct kernel_param *param)
{
	char text[TEXT_BYTES];
	unsigned int count;
	unsigned int i;
	int ret = 0;

	if (sscanf(value, "%u %63s", &count, text) != 2 || count > SAY_MAX)
		return -EINVAL;
	guard(mutex)(&membership_lock);
	if (!membership)
		return -ENOTCONN;
	for (i = 1; i <= count && !ret; i++)
		ret = say_one(text, i);
	if (ret)
		pr_warn("group %s: message %u refused: %d\n", group_name,
			i - 1, ret);
	return ret;
}

static const struct kernel_param_ops say_ops = {
	.set = say_set,
};
module_param_cb(say, &say_ops, NULL, 0200);
MODULE_PARM_DESC(say, "\"COUNT TEXT\": multicast TEXT 1 to TEXT COUNT");

static int member_set(const char *value, const struct kernel_param *param)
{
	unsigned int flags = 0;
	u64 lost;
	int ret;

	if (sysfs_streq(value, "discard"))
		flags = KCGCS_LEAVE_DISCARD;
	else if (!sysfs_streq(value, "0"))
		return -EINVAL;
	guard(mutex)(&membership_lock);
	if (!membership)
		return -ENOTCONN;
	if (keep_view && !kcgcs_view_get(membership))
		return -ENOTCONN;
	ret = kcgcs_leave_flags(membership, flags, 0, &lost);
	membership = NULL;
	pr_info("group %s left\n", group_name);
	if (lost)
		pr_info("group %s: left with %d, %llu messages lost\n",
			group_name, ret, lost);
	return ret;
}

static const struct kernel_param_ops member_ops = {
	.set = member_set,
};
module_param_cb(member, &member_ops, NULL, 0200);
MODULE_PARM_DESC(member, "write 0 to leave the group, \"discard\" to send nothing more before");

static int __init test_init(void)
{
	struct kcgcs_group *joined = kcgcs_join(&init_net, group_name,
						&test_ops, NULL);

	if (IS_ERR(joined)) {
		pr_err("cannot join %s: %pe\n", group_name, joined);
		return PTR_ERR(joined);
	}
	guard(mutex)(&membership_lock);
	membership = joined;
	return 0;
}

/* Runs only after the member has left. */
static void __exit test_exit(void)
{
}

module_init(test_init);
module_exit(test_exit);

MODULE_DESCRIPTION("KCGCS: a member of a group for tests");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("KCGCS");
