// SPDX-License-Identifier: GPL-2.0
/*
 * A fence handler that runs a program. Before a view leaves out a failed node,
 * "HELPER NODE INCARNATION" runs as root and must end with code 0. Any other end
 * means that the node could not be fenced, and the program is run again.
 *
 * Write 1 to the module parameter "guard" to guard the node of the writer's
 * network namespace, and 0 to end that. insmod accepts guard=1 too.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kmod.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/nsproxy.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include <kcgcs.h>

static char *helper = "/usr/sbin/kcgcs-fence";
module_param(helper, charp, 0444);
MODULE_PARM_DESC(helper, "absolute path of the program");

static unsigned int timeout_ms = 60000;
module_param(timeout_ms, uint, 0444);
MODULE_PARM_DESC(timeout_ms,
		 "milliseconds after which the view changes without fencing");

struct fence_net {
	bool is_guarded;
};

static unsigned int fence_net_id;
static DEFINE_MUTEX(guard_lock);

static int fence_run(void *context, const struct kcgcs_member *node)
{
	char *environment[3] = {
		"HOME=/", "PATH=/sbin:/usr/sbin:/bin:/usr/bin", NULL
	};
	char number[8];
	char incarnation[24];
	char *arguments[4] = { helper, number, incarnation, NULL };
	int ret;

	snprintf(number, sizeof(number), "%u", node->node);
	snprintf(incarnation, sizeof(incarnation), "%llu", node->incarnation);
	ret = call_usermodehelper(helper, arguments, environment,
				  UMH_WAIT_PROC);
	/* A positive value is the program's wait status. */
	return ret > 0 ? -EIO : ret;
}

static int fence_guard(struct net *net, bool wanted)
{
	struct fence_net *state = net_generic(net, fence_net_id);
	struct kcgcs_fence_ops ops = {
		.fence = fence_run,
		.timeout_ms = timeout_ms,
	};
	int ret = 0;

	lockdep_assert_held(&guard_lock);
	if (wanted)
		ret = kcgcs_register_fence(net, &ops, NULL);
	else if (state->is_guarded)
		ret = kcgcs_unregister_fence(net);
	if (!ret || !wanted)
		state->is_guarded = wanted;
	return ret;
}

/* The namespace is deleted, or this module is unloaded. */
static void __net_exit fence_net_exit(struct net *net)
{
	mutex_lock(&guard_lock);
	fence_guard(net, false);
	mutex_unlock(&guard_lock);
}

static struct pernet_operations fence_net_operations = {
	.exit = fence_net_exit,
	.id = &fence_net_id,
	.size = sizeof(struct fence_net),
};

/*
 * A value that insmod was given is remembered until the module is ready. A write
 * to the parameter can come before that, and while the module is unloaded.
 */
static bool is_ready;
static bool guard_at_start;

static int fence_set_guard(const char *text, const struct kernel_param *param)
{
	bool wanted;
	int ret = kstrtobool(text, &wanted);

	if (ret)
		return ret;
	mutex_lock(&guard_lock);
	if (is_ready)
		ret = fence_guard(current->nsproxy->net_ns, wanted);
	else
		guard_at_start = wanted;
	mutex_unlock(&guard_lock);
	return ret;
}

static const struct kernel_param_ops guard_ops = {
	.set = fence_set_guard,
};
module_param_cb(guard, &guard_ops, NULL, 0200);
MODULE_PARM_DESC(guard, "1: guard the node of the writer's network namespace; 0: end that");

static int __init fence_init(void)
{
	int ret = register_pernet_subsys(&fence_net_operations);

	if (ret)
		return ret;
	mutex_lock(&guard_lock);
	if (guard_at_start)
		ret = fence_guard(current->nsproxy->net_ns, true);
	is_ready = !ret;
	mutex_unlock(&guard_lock);
	if (ret)
		unregister_pernet_subsys(&fence_net_operations);
	return ret;
}

static void __exit fence_exit(void)
{
	mutex_lock(&guard_lock);
	is_ready = false;
	mutex_unlock(&guard_lock);
	unregister_pernet_subsys(&fence_net_operations);
}

module_init(fence_init);
module_exit(fence_exit);

MODULE_DESCRIPTION("KCGCS: a fence handler that runs a program");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("KCGCS");
