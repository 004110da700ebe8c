// SPDX-License-Identifier: GPL-2.0
/*
 * Puts the exported functions under stress, in the first network namespace, which
 * must have a node:
 *
 *   insmod kcgcs_stress.ko rounds=50
 *
 * Several threads join, send from every context that is allowed, read views and
 * leave; one registers and removes a notifier.  They check that no callback
 * comes after kcgcs_leave(), that only documented error numbers are returned,
 * -EDEADLK from inside of callbacks, and that each member of a view has a slot.
 * The module stays loaded if all of this held.  Otherwise loading fails with
 * -EPROTO, and the log says what did not hold.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <net/net_namespace.h>

#include <kcgcs.h>

#define THREADS		4
#define MESSAGE_BYTES	3000
#define WAIT_MS		20000

static unsigned int rounds = 20;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "how often each thread joins and leaves (20)");

static atomic_t mistakes;
static atomic_t sent;
static atomic_t refused;

/* Logs, once for each place, what did not hold. */
#define must(condition, ...)						\
	do {								\
		if (!(condition)) {					\
			atomic_inc(&mistakes);				\
			pr_err_once(__VA_ARGS__);			\
		}							\
	} while (0)

/**
 * struct stress_member - one membership at a time of one thread
 * @group: the handle, once kcgcs_join() has returned it
 * @joined: completed by the first view with members
 * @delivered: completed when an own message is delivered
 * @self: the member's own address, once it is known
 * @is_over: kcgcs_leave() has returned
 * @timer: sends in soft interrupts
 * @lock: held, with interrupts off, while sending
 */
struct stress_member {
	struct kcgcs_group *group;
	struct completion joined;
	struct completion delivered;
	struct kcgcs_member self;
	bool is_over;
	struct timer_list timer;
	spinlock_t lock; /* guards nothing */
};

static const char payload[MESSAGE_BYTES];
static DECLARE_COMPLETION(thread_done);

static void stress_send(struct stress_member *member, size_t length, gfp_t gfp)
{
	int ret = kcgcs_multicast(member->group, payload, length, KCGCS_AGREED,
				  gfp);

	must(!ret || ret == -EAGAIN || ret == -ENOTCONN || ret == -ESHUTDOWN ||
	     (ret == -ENOMEM && gfp == GFP_ATOMIC),
	     "multicast gave %d\n", ret);
	atomic_inc(ret ? &refused : &sent);
}

static void stress_fire(struct timer_list *timer)
{
	struct stress_member *member = timer_container_of(member, timer, timer);

	stress_send(member, MESSAGE_BYTES, GFP_ATOMIC);
	mod_timer(timer, jiffies + 1);
}

static void stress_view(struct kcgcs_group *group, void *context,
			const struct kcgcs_view *view)
{
	struct stress_member *member = context;
	u16 i;

	must(!READ_ONCE(member->is_over), "a view after leaving\n");
	for (i = 0; i < view->member_count; i++)
		must(view->members[i].slot, "a member without a slot\n");
	if (view->member_count)
		complete_all(&member->joined);
}

static void stress_deliver(struct kcgcs_group *group, void *context,
			   const struct kcgcs_message *message)
{
	struct stress_member *member = context;

	must(!READ_ONCE(member->is_over), "a message after leaving\n");
	must(kcgcs_leave(group) == -EDEADLK, "left from a callback\n");
	if (message->sender.node == READ_ONCE(member->self.node) &&
	    message->sender.endpoint == READ_ONCE(member->self.endpoint))
		complete_all(&member->delivered);
}

static const struct kcgcs_group_ops stress_ops = {
	.size = sizeof(stress_ops),
	.owner = THIS_MODULE,
	.view = stress_view,
	.deliver = stress_deliver,
};

static void stress_look(struct stress_member *member)
{
	const struct kcgcs_view *view = kcgcs_view_get(member->group);
	int ret = kcgcs_self(member->group, &member->self);

	must(view, "no view after the first one\n");
	must(!ret || ret == -ENOTCONN || ret == -ESHUTDOWN, "self gave %d\n",
	     ret);
	kcgcs_view_put(view);
}

static void stress_round(struct stress_member *member, unsigned int round)
{
	unsigned long flags;

	member->group = NULL;
	member->is_over = false;
	member->self.node = 0;
	init_completion(&member->joined);
	init_completion(&member->delivered);
	{
		struct kcgcs_group *group = kcgcs_join(&init_net, "stress",
						       &stress_ops, member);

		if (IS_ERR(group)) {
			must(PTR_ERR(group) == -ENETDOWN ||
			     PTR_ERR(group) == -ESHUTDOWN,
			     "join gave %pe\n", group);
			return;
		}
		WRITE_ONCE(member->group, group);
	}
	/* Some leave before they are members. */
	if (round % 4 != 3) {
		must(wait_for_completion_timeout(&member->joined,
						 msecs_to_jiffies(WAIT_MS)),
		     "no view\n");
		stress_look(member);
		mod_timer(&member->timer, jiffies + 1);
		stress_send(member, round, GFP_KERNEL);
		spin_lock_irqsave(&member->lock, flags);
		stress_send(member, MESSAGE_BYTES, GFP_ATOMIC);
		spin_unlock_irqrestore(&member->lock, flags);
		if (round % 2)
			must(wait_for_completion_timeout(&member->delivered,
							 msecs_to_jiffies(WAIT_MS)),
			     "own messages are not delivered\n");
	}
	timer_delete_sync(&member->timer);
	must(!kcgcs_leave(member->group), "leave was refused\n");
	WRITE_ONCE(member->is_over, true);
}

static int stress_thread(void *data)
{
	struct stress_member *member = data;
	unsigned int round;

	timer_setup(&member->timer, stress_fire, 0);
	spin_lock_init(&member->lock);
	for (round = 0; round < rounds; round++)
		stress_round(member, round);
	timer_shutdown_sync(&member->timer);
	kthread_complete_and_exit(&thread_done, 0);
}

static int stress_notified(struct notifier_block *block, unsigned long action,
			   void *data)
{
	must(action >= KCGCS_CLUSTER_VIEW && action <= KCGCS_CLUSTER_STOPPED,
	     "event %lu\n", action);
	return NOTIFY_OK;
}

static int stress_notifiers(void *data)
{
	struct notifier_block block = { .notifier_call = stress_notified };
	unsigned int round;
	int ret;

	for (round = 0; round < 4 * rounds; round++) {
		ret = kcgcs_register_notifier(&init_net, &block);
		must(!ret || ret == -ENETDOWN, "register gave %d\n", ret);
		ret = kcgcs_unregister_notifier(&init_net, &block);
		must(!ret || ret == -ENOENT, "unregister gave %d\n", ret);
	}
	kthread_complete_and_exit(&thread_done, 0);
}

static unsigned int stress_run(int (*function)(void *), void *data)
{
	struct task_struct *task = kthread_run(function, data, "kcgcs_stress");

	must(!IS_ERR(task), "no thread: %pe\n", task);
	return !IS_ERR(task);
}

static int __init stress_init(void)
{
	struct stress_member *members;
	unsigned int running = 0;
	int i;

	members = kcalloc(THREADS, sizeof(*members), GFP_KERNEL);
	if (!members)
		return -ENOMEM;
	for (i = 0; i < THREADS; i++)
		running += stress_run(stress_thread, &members[i]);
	running += stress_run(stress_notifiers, NULL);
	while (running--)
		wait_for_completion(&thread_done);
	kfree(members);
	pr_info("%u rounds of %d threads: %d messages sent, %d refused, %d mistakes\n",
		rounds, THREADS, atomic_read(&sent), atomic_read(&refused),
		atomic_read(&mistakes));
	return atomic_read(&mistakes) ? -EPROTO : 0;
}

static void __exit stress_exit(void)
{
}

module_init(stress_init);
module_exit(stress_exit);

MODULE_DESCRIPTION("KCGCS: the exported calls under stress");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("KCGCS");
