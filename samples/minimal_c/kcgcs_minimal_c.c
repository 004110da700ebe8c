// SPDX-License-Identifier: GPL-2.0
/*
 * The smallest consumer of KCGCS in C: it joins a group in the initial network
 * namespace, logs views and messages, and greets the others when it is a member.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/module.h>
#include <linux/string.h>
#include <net/net_namespace.h>

#include <kcgcs.h>

static struct kcgcs_group *membership;

static void minimal_view(struct kcgcs_group *group, void *context,
			 const struct kcgcs_view *view)
{
	static const char greeting[] = "hello from C";
	static bool has_greeted;

	pr_info("view %llu of node %u, %u members, %llu messages lost\n",
		view->number, view->coordinator, view->member_count, view->lost);
	if (view->member_count && !has_greeted)
		has_greeted = !kcgcs_multicast(group, greeting, strlen(greeting),
					       KCGCS_ORDER_DEFAULT, GFP_KERNEL);
}

static void minimal_deliver(struct kcgcs_group *group, void *context,
			    const struct kcgcs_message *message)
{
	pr_info("message %llu of node %u: %.*s\n", message->sequence,
		message->sender.node, (int)message->length,
		(const char *)message->data);
}

/* No owner: a member could not be unloaded, but minimal_exit() leaves. */
static const struct kcgcs_group_ops minimal_ops = {
	.size = sizeof(minimal_ops),
	.view = minimal_view,
	.deliver = minimal_deliver,
};

static int __init minimal_init(void)
{
	membership = kcgcs_join(&init_net, "sample", &minimal_ops, NULL);
	return PTR_ERR_OR_ZERO(membership);
}

static void __exit minimal_exit(void)
{
	int ret = kcgcs_leave(membership);

	if (ret)
		pr_warn("not all messages were sent: %d\n", ret);
}

module_init(minimal_init);
module_exit(minimal_exit);

MODULE_DESCRIPTION("KCGCS: the smallest consumer in C");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("KCGCS");
