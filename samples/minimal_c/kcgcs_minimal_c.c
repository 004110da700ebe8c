// SPDX-License-Identifier: GPL-2.0
/*
 * The smallest consumer of KCGCS in C: joins a group in the first network
 * namespace, logs what it is told, greets the others once, leaves at exit.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <net/net_namespace.h>

#include <kcgcs.h>

static char *group = "sample";
module_param(group, charp, 0444);
MODULE_PARM_DESC(group, "name of the group to join (sample)");

static struct kcgcs_group *membership;
static atomic_t arrived;

/* The first view may come before kcgcs_join() has returned the handle.  To
 * greet takes both; whichever is the second of them does it.
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
	u16 i;

	pr_info("view %llu of node %u, %sprimary, %u members\n", view->number,
		view->coordinator, view->primary ? "" : "not ",
		view->member_count);
	for (i = 0; i < view->member_count; i++)
		pr_info("  node %u endpoint %u slot %u\n",
			view->members[i].node, view->members[i].endpoint,
			view->members[i].slot);
	if (!is_member) {
		is_member = true;
		minimal_arrive();
	}
}

static void minimal_deliver(void *context, const struct kcgcs_message *message)
{
	pr_info("message %llu of node %u in view %llu: %.*s\n",
		message->sequence, message->sender.node, message->view,
		(int)message->length, (const char *)message->data);
}

static const struct kcgcs_group_ops minimal_ops = {
	.owner = THIS_MODULE,
	.view = minimal_view,
	.deliver = minimal_deliver,
};

static int __init minimal_init(void)
{
	membership = kcgcs_join(&init_net, group, &minimal_ops, NULL);
	if (IS_ERR(membership)) {
		pr_err("cannot join %s: %pe\n", group, membership);
		return PTR_ERR(membership);
	}
	minimal_arrive();
	return 0;
}

static void __exit minimal_exit(void)
{
	kcgcs_leave(membership);
}

module_init(minimal_init);
module_exit(minimal_exit);

MODULE_DESCRIPTION("KCGCS: the smallest consumer in C");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("KCGCS");
