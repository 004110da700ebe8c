// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit suite of group handles, used through include/kcgcs.h as by any consumer:
 * how long they live, and when their callbacks run.  It needs a kcgcs.ko with a
 * node in the first namespace that is a cluster by itself, and another namespace
 * without a node.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/rtnetlink.h>
#include <net/net_namespace.h>

#include <kcgcs.h>

#include "consumer.h"

#define MESSAGES	100

/* A namespace other than the first, with a reference, or NULL. */
static struct net *other_net(void)
{
	struct net *net, *found = NULL;

	down_read(&net_rwsem);
	for_each_net(net) {
		if (!net_eq(net, &init_net) && !found)
			found = maybe_get_net(net);
	}
	up_read(&net_rwsem);
	return found;
}

static void joining_without_a_node_is_refused(struct kunit *test)
{
	struct net *net = other_net();
	struct kcgcs_group *group;

	KUNIT_ASSERT_NOT_NULL(test, net);
	group = kcgcs_join(net, "test", &consumer_ops, NULL);
	put_net(net);
	KUNIT_EXPECT_EQ(test, -ENETDOWN, PTR_ERR(group));
}

static void joining_with_wrong_arguments_is_refused(struct kunit *test)
{
	struct kcgcs_group_ops no_view = consumer_ops;
	struct kcgcs_group_ops no_deliver = consumer_ops;
	struct kcgcs_group_ops with_state = consumer_ops;
	char name[KCGCS_GROUP_NAME_MAX + 2];
	struct consumer *c;

	no_view.view = NULL;
	no_deliver.deliver = NULL;
	with_state.get_state = consumer_ops.writable;
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EINVAL),
			    (void *)kcgcs_join(NULL, "a", &consumer_ops, NULL));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EINVAL),
			    (void *)kcgcs_join(&init_net, NULL, &consumer_ops,
					       NULL));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EINVAL),
			    (void *)kcgcs_join(&init_net, "", &consumer_ops,
					       NULL));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EINVAL),
			    (void *)kcgcs_join(&init_net, "a", NULL, NULL));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EINVAL),
			    (void *)kcgcs_join(&init_net, "a", &no_view, NULL));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EINVAL),
			    (void *)kcgcs_join(&init_net, "a", &no_deliver,
					       NULL));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EINVAL),
			    (void *)kcgcs_join(&init_net, "a", &with_state,
					       NULL));
	memset(name, 'n', sizeof(name));
	name[KCGCS_GROUP_NAME_MAX + 1] = 0;
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EINVAL),
			    (void *)kcgcs_join(&init_net, name, &consumer_ops,
					       NULL));
	name[KCGCS_GROUP_NAME_MAX] = 0;
	c = consumer_in_view(test, name, 1);
	KUNIT_EXPECT_EQ(test, 0, consumer_leave(c));
}

static void a_member_knows_itself_and_its_view(struct kunit *test)
{
	struct consumer *c = consumer_in_view(test, "self", 1);
	const struct kcgcs_view *view = kcgcs_view_get(c->group);
	struct kcgcs_member self = {};

	KUNIT_ASSERT_EQ(test, 0, kcgcs_self(c->group, &self));
	KUNIT_ASSERT_NOT_NULL(test, view);
	KUNIT_ASSERT_EQ(test, 1, view->member_count);
	KUNIT_EXPECT_MEMEQ(test, &view->members[0], &self, sizeof(self));
	KUNIT_EXPECT_NE(test, 0, self.incarnation);
	KUNIT_EXPECT_NE(test, 0, self.endpoint);
	KUNIT_EXPECT_NE(test, 0, self.slot);
	KUNIT_EXPECT_TRUE(test, view->primary);
	/* A view outlives the handle that it came from. */
	KUNIT_EXPECT_EQ(test, 0, consumer_leave(c));
	KUNIT_EXPECT_EQ(test, 1, view->member_count);
	KUNIT_EXPECT_MEMEQ(test, &view->members[0], &self, sizeof(self));
	kcgcs_view_put(view);
	kcgcs_view_put(NULL);
}

static void messages_come_back_in_order_to_all_handles(struct kunit *test)
{
	struct consumer *first = consumer_in_view(test, "order", 1);
	struct consumer *second = consumer_in_view(test, "order", 2);
	int i;

	for (i = 0; i < MESSAGES; i++)
		say(test, first, "message");
	KUNIT_EXPECT_TRUE(test, has_delivered(first, MESSAGES));
	KUNIT_EXPECT_TRUE(test, has_delivered(second, MESSAGES));
	KUNIT_EXPECT_EQ(test, MESSAGES, first->delivered);
	KUNIT_EXPECT_EQ(test, MESSAGES, second->delivered);
	KUNIT_EXPECT_EQ(test, MESSAGES, (int)second->last_sequence);
	KUNIT_EXPECT_FALSE(test, first->is_disordered);
	KUNIT_EXPECT_FALSE(test, second->is_disordered);
}

static void callbacks_of_a_handle_come_one_at_a_time(struct kunit *test)
{
	struct consumer *c = consumer_in_view(test, "serial", 1);
	struct consumer *other;
	int i;

	for (i = 0; i < MESSAGES; i++) {
		say(test, c, "message");
		if (i % 25)
			continue;
		/* Views fall between the messages. */
		other = consumer_join(test, "serial");
		KUNIT_EXPECT_EQ(test, 0, consumer_leave(other));
	}
	KUNIT_EXPECT_TRUE(test, has_delivered(c, MESSAGES));
	KUNIT_EXPECT_FALSE(test, c->has_overlap);
}

static void leaving_from_a_callback_is_refused(struct kunit *test)
{
	struct consumer *c = consumer_in_view(test, "inside", 1);

	c->leaves = c;
	say(test, c, "leave");
	KUNIT_ASSERT_TRUE(test, has_delivered(c, 1));
	KUNIT_EXPECT_EQ(test, -EDEADLK, c->leave_result);
	c->leaves = NULL;
	/* Nothing was done: the member is still one. */
	say(test, c, "here");
	KUNIT_EXPECT_TRUE(test, has_delivered(c, 2));
	KUNIT_EXPECT_EQ(test, 0, consumer_leave(c));
}

struct leaver {
	struct work_struct work;
	struct consumer *consumer;
	struct completion done;
};

static void leave_elsewhere(struct work_struct *work)
{
	struct leaver *leaver = container_of(work, struct leaver, work);

	consumer_leave(leaver->consumer);
	complete(&leaver->done);
}

static void leaving_waits_for_a_running_callback(struct kunit *test)
{
	struct consumer *c = consumer_in_view(test, "running", 1);
	struct leaver leaver = { .consumer = c };
	bool is_early;

	WRITE_ONCE(c->is_held, true);
	say(test, c, "held");
	KUNIT_ASSERT_NE(test, 0, wait_for_completion_timeout(&c->entered,
							     WAIT));
	INIT_WORK_ONSTACK(&leaver.work, leave_elsewhere);
	init_completion(&leaver.done);
	schedule_work(&leaver.work);
	/* Time enough to return too early. */
	is_early = wait_for_completion_timeout(&leaver.done, HZ / 5) != 0;
	complete_all(&c->go_on);
	flush_work(&leaver.work);
	destroy_work_on_stack(&leaver.work);
	KUNIT_EXPECT_FALSE(test, is_early);
	KUNIT_EXPECT_EQ(test, 1, c->delivered);
}

static void nothing_is_called_after_leaving(struct kunit *test)
{
	struct consumer *gone = consumer_in_view(test, "after", 1);
	struct consumer *here = consumer_in_view(test, "after", 2);
	int calls, i;

	for (i = 0; i < MESSAGES; i++)
		say(test, here, "message");
	KUNIT_ASSERT_EQ(test, 0, consumer_leave(gone));
	calls = READ_ONCE(gone->calls);
	say(test, here, "message");
	KUNIT_EXPECT_TRUE(test, has_delivered(here, MESSAGES + 1));
	KUNIT_EXPECT_NE(test, 0,
			wait_event_timeout(here->wait,
					   READ_ONCE(here->members) == 1,
					   WAIT));
	KUNIT_EXPECT_EQ(test, calls, READ_ONCE(gone->calls));
}

static void a_member_keeps_its_module_loaded(struct kunit *test)
{
	int before = module_refcount(THIS_MODULE);
	struct consumer *c = consumer_join(test, "module");

	KUNIT_EXPECT_EQ(test, before + 1, module_refcount(THIS_MODULE));
	KUNIT_EXPECT_EQ(test, 0, consumer_leave(c));
	KUNIT_EXPECT_EQ(test, before, module_refcount(THIS_MODULE));
}

static void wrong_messages_are_refused(struct kunit *test)
{
	struct consumer *c = consumer_in_view(test, "wrong", 1);
	char *data = kunit_kzalloc(test, KCGCS_MESSAGE_MAX + 1, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, data);
	KUNIT_EXPECT_EQ(test, -EMSGSIZE,
			kcgcs_multicast(c->group, data, KCGCS_MESSAGE_MAX + 1,
					KCGCS_AGREED, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, -EINVAL, kcgcs_multicast(c->group, data, 1, 99,
						       GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, -EINVAL, kcgcs_multicast(c->group, NULL, 1,
						       KCGCS_AGREED,
						       GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, kcgcs_multicast(c->group, data,
						 KCGCS_MESSAGE_MAX,
						 KCGCS_AGREED, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, kcgcs_multicast(c->group, NULL, 0,
						 KCGCS_AGREED, GFP_KERNEL));
	KUNIT_EXPECT_TRUE(test, has_delivered(c, 2));
}

static void sending_is_allowed_where_one_may_not_sleep(struct kunit *test)
{
	struct consumer *c = consumer_in_view(test, "atomic", 1);
	int in_bottom_half, in_atomic, with_interrupts_off;

	local_bh_disable();
	in_bottom_half = kcgcs_multicast(c->group, "x", 1, KCGCS_AGREED,
					 GFP_ATOMIC);
	local_bh_enable();
	preempt_disable();
	in_atomic = kcgcs_multicast(c->group, "y", 1, KCGCS_AGREED, GFP_ATOMIC);
	preempt_enable();
	local_irq_disable();
	with_interrupts_off = kcgcs_multicast(c->group, "z", 1, KCGCS_AGREED,
					      GFP_ATOMIC);
	local_irq_enable();
	KUNIT_EXPECT_EQ(test, 0, in_bottom_half);
	KUNIT_EXPECT_EQ(test, 0, in_atomic);
	KUNIT_EXPECT_EQ(test, 0, with_interrupts_off);
	KUNIT_EXPECT_TRUE(test, has_delivered(c, 3));
}

static void a_full_window_refuses_and_reports_when_there_is_room(struct kunit *test)
{
	struct consumer *c = consumer_in_view(test, "window", 1);
	int error;
	int taken = fill_window(c, &error);

	KUNIT_ASSERT_EQ(test, -EAGAIN, error);
	KUNIT_EXPECT_NE(test, 0, wait_event_timeout(c->wait,
						    READ_ONCE(c->writable) > 0,
						    WAIT));
	say(test, c, "again");
	KUNIT_EXPECT_TRUE(test, has_delivered(c, taken + 1));
	KUNIT_EXPECT_FALSE(test, c->is_disordered);
}

/* Joins with a watchdog, which excludes the consumer from the group if asked. */
static struct consumer *consumer_watched(struct kunit *test, bool excludes)
{
	struct kcgcs_group_ops ops = consumer_ops;

	ops.watchdog_ms = 100;
	ops.watchdog_leave = excludes;
	return consumer_join_with(test, "watchdog", &ops);
}

static void a_consumer_that_hangs_in_a_callback_is_excluded_if_it_wants(struct kunit *test)
{
	struct consumer *stays = consumer_watched(test, false);
	struct consumer *goes = consumer_watched(test, true);
	struct consumer *other = consumer_in_view(test, "watchdog", 3);

	stays->is_held = true;
	goes->is_held = true;
	say(test, other, "hello");
	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&goes->entered,
							    WAIT));
	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&stays->entered,
							    WAIT));
	/* One of the two is excluded; the other one has hung as long. */
	KUNIT_EXPECT_NE(test, 0,
			wait_event_timeout(other->wait,
					   READ_ONCE(other->members) == 2,
					   WAIT));
	msleep(300);
	KUNIT_EXPECT_EQ(test, 2, READ_ONCE(other->members));
	complete_all(&goes->go_on);
	complete_all(&stays->go_on);
	KUNIT_EXPECT_NE(test, 0,
			wait_event_timeout(goes->wait,
					   READ_ONCE(goes->members) == 0,
					   WAIT));
	KUNIT_EXPECT_NE(test, 0,
			wait_event_timeout(stays->wait,
					   READ_ONCE(stays->members) == 2,
					   WAIT));
	KUNIT_EXPECT_EQ(test, KCGCS_END_HANGS, goes->end);
	KUNIT_EXPECT_EQ(test, -ESHUTDOWN,
			kcgcs_multicast(goes->group, "x", 1, KCGCS_AGREED,
					GFP_KERNEL));
}

static int notified_views;

static int count_views(struct notifier_block *block, unsigned long event,
		       void *data)
{
	if (event == KCGCS_CLUSTER_VIEW)
		notified_views++;
	return NOTIFY_OK;
}

static void a_notifier_gets_the_present_view_and_is_removed_once(struct kunit *test)
{
	struct notifier_block block = { .notifier_call = count_views };
	struct net *net = other_net();

	KUNIT_ASSERT_NOT_NULL(test, net);
	KUNIT_EXPECT_EQ(test, -ENETDOWN, kcgcs_register_notifier(net, &block));
	put_net(net);
	notified_views = 0;
	/* Waits until there is a view. */
	consumer_in_view(test, "notifier", 1);
	KUNIT_ASSERT_EQ(test, 0, kcgcs_register_notifier(&init_net, &block));
	KUNIT_EXPECT_EQ(test, 1, notified_views);
	KUNIT_EXPECT_EQ(test, 0, kcgcs_unregister_notifier(&init_net, &block));
	KUNIT_EXPECT_EQ(test, -ENOENT, kcgcs_unregister_notifier(&init_net,
								 &block));
}

static struct kunit_case handle_cases[] = {
	KUNIT_CASE(joining_without_a_node_is_refused),
	KUNIT_CASE(joining_with_wrong_arguments_is_refused),
	KUNIT_CASE(a_member_knows_itself_and_its_view),
	KUNIT_CASE(messages_come_back_in_order_to_all_handles),
	KUNIT_CASE(callbacks_of_a_handle_come_one_at_a_time),
	KUNIT_CASE(leaving_from_a_callback_is_refused),
	KUNIT_CASE(leaving_waits_for_a_running_callback),
	KUNIT_CASE(nothing_is_called_after_leaving),
	KUNIT_CASE(a_member_keeps_its_module_loaded),
	KUNIT_CASE(wrong_messages_are_refused),
	KUNIT_CASE(sending_is_allowed_where_one_may_not_sleep),
	KUNIT_CASE(a_full_window_refuses_and_reports_when_there_is_room),
	KUNIT_CASE(a_consumer_that_hangs_in_a_callback_is_excluded_if_it_wants),
	KUNIT_CASE(a_notifier_gets_the_present_view_and_is_removed_once),
	{}
};

static struct kunit_suite handle_suite = {
	.name = "kcgcs_handle",
	.test_cases = handle_cases,
};

kunit_test_suite(handle_suite);

MODULE_DESCRIPTION("KCGCS: KUnit suites of sockets and group handles");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("KCGCS");
