// SPDX-License-Identifier: GPL-2.0
/*
 * The smallest consumer of KCGCS in C. It joins a group in the initial network
 * namespace, logs views and messages, and sends one greeting. A member cannot be
 * unloaded: write 0 to the module parameter "member" first, to leave the group.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/module.h>
#include <linux/string.h>
#include <net/net_namespace.h>

#include <kcgcs.h>

static struct kcgcs_group *membership;
static atomic_t arrived;

/* The first view may come before kcgcs_join() has returned the handle. The
 * greeting needs both, so this is called after each, and the second call sends it.
 */
static void minimal_arrive(void)
{
	static const char greeting[] = "hello from C";
	int ret;

	if (atomic_inc_return(&arrived) != 2)
		return;
	ret = kcgcs_multicast(membership, greeting, strlen(greeting),
			      KCGCS_AGREED, GFP_KERNEL);
	if (ret)
		pr_warn("greeting refused: %d\n", ret);
}

static void minimal_view(void *context, const struct kcgcs_view *view)
{
	static bool is_member;

	pr_info("view %llu of node %u, %u members\n", view->number,
		view->coordinator, view->member_count);
	if (!is_member) {
		is_member = true;
		minimal_arrive();
	}
}

static void minimal_deliver(void *context, const struct kcgcs_message *message)
{
	pr_info("message %llu of node %u: %.*s\n", message->sequence,
		message->sender.node, (int)message->length,
		(const char *)message->data);
}

static const struct kcgcs_group_ops minimal_ops = {
	.owner = THIS_MODULE,
	.view = minimal_view,
	.deliver = minimal_deliver,
};

static int minimal_set_member(const char *text, const struct kernel_param *param)
{
	struct kcgcs_group *group = xchg(&membership, NULL);

	return group ? kcgcs_leave(group) : -ENOTCONN;
}

static const struct kernel_param_ops member_ops = {
	.set = minimal_set_member,
};
module_param_cb(member, &member_ops, NULL, 0200);
MODULE_PARM_DESC(member, "write 0 to leave the group");

static int __init minimal_init(void)
{
	struct kcgcs_group *group;

	group = kcgcs_join(&init_net, "sample", &minimal_ops, NULL);
	if (IS_ERR(group))
		return PTR_ERR(group);
	membership = group;
	minimal_arrive();
	return 0;
}

/* A member holds a reference to this module, so here there is nothing to leave. */
static void __exit minimal_exit(void)
{
}

module_init(minimal_init);
module_exit(minimal_exit);

MODULE_DESCRIPTION("KCGCS: the smallest consumer in C");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("KCGCS");
