// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit suite of what consumers ask for when they join and of what becomes of
 * their messages when they leave.  It needs what the suite of handles needs.
 */
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>

#include "consumer.h"

/* More than the queue of a consumer that is too slow holds. */
#define TOO_MANY	4200
#define OPS_TAIL	64
#define OPS_MAX		4096

/* A struct of a consumer that was compiled with a later version. */
struct later_ops {
	struct kcgcs_group_ops ops;
	u8 tail[OPS_TAIL];
};

static int join_result(const struct kcgcs_group_ops *ops)
{
	struct kcgcs_group *group = kcgcs_join(&init_net, "result", ops, NULL);

	return IS_ERR(group) ? PTR_ERR(group) : kcgcs_leave(group);
}

static void callbacks_of_another_version_are_taken_or_refused_by_their_size(struct kunit *test)
{
	struct later_ops *later = kunit_kzalloc(test, OPS_MAX + 8, GFP_KERNEL);
	struct consumer *c = consumer_make(test);

	KUNIT_ASSERT_NOT_NULL(test, later);
	later->ops = consumer_ops;
	later->ops.size = 0;
	KUNIT_EXPECT_EQ(test, -EINVAL, join_result(&later->ops));
	later->ops.size = sizeof(later->ops) - 1;
	KUNIT_EXPECT_EQ(test, -EINVAL, join_result(&later->ops));
	later->ops.size = OPS_MAX + 1;
	KUNIT_EXPECT_EQ(test, -EINVAL, join_result(&later->ops));
	later->ops.size = sizeof(*later);
	later->tail[OPS_TAIL - 1] = 1;
	KUNIT_EXPECT_EQ(test, -EINVAL, join_result(&later->ops));
	later->tail[OPS_TAIL - 1] = 0;
	c->group = kcgcs_join(&init_net, "later", &later->ops, c);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c->group);
	/* They were copied. */
	memset(later, 0, sizeof(*later));
	KUNIT_EXPECT_TRUE(test, sees_members(c, 1));
}

static int join_with(struct kcgcs_group_properties properties)
{
	struct kcgcs_group_ops ops = consumer_ops;

	ops.properties = &properties;
	return join_result(&ops);
}

#define JOIN_WITH(...)							\
	join_with((struct kcgcs_group_properties) {			\
		.size = sizeof(struct kcgcs_group_properties),		\
		__VA_ARGS__						\
	})

static void wrong_properties_are_refused(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, -EINVAL, JOIN_WITH(.size = 8));
	KUNIT_EXPECT_EQ(test, -EINVAL, JOIN_WITH(.default_order = 5));
	KUNIT_EXPECT_EQ(test, -EINVAL, JOIN_WITH(.sending_view = 2));
	KUNIT_EXPECT_EQ(test, -EINVAL, JOIN_WITH(.slow_policy = 4));
	KUNIT_EXPECT_EQ(test, -EINVAL, JOIN_WITH(.slow_wait_ms = 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, JOIN_WITH(.slow_policy = KCGCS_SLOW_WAIT));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			JOIN_WITH(.slow_policy = KCGCS_SLOW_WAIT,
				  .slow_wait_ms = KCGCS_SLOW_WAIT_MS_MAX + 1));
	KUNIT_EXPECT_EQ(test, -EINVAL, JOIN_WITH(.quorum_mode = 3));
}

static void properties_that_cannot_be_kept_are_refused(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, JOIN_WITH(.sending_view = 1));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			JOIN_WITH(.slow_policy = KCGCS_SLOW_WAIT,
				  .slow_wait_ms = 1));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			JOIN_WITH(.slow_policy = KCGCS_SLOW_NOTIFY));
}

static void an_order_may_be_left_to_the_group(struct kunit *test)
{
	struct kcgcs_group_properties properties = {
		.size = sizeof(properties),
		.default_order = KCGCS_FIFO,
		.quorum_mode = KCGCS_QUORUM_PRIMARY,
	};
	struct kcgcs_group_ops ops = consumer_ops;
	struct consumer *c;

	ops.properties = &properties;
	c = consumer_join_with(test, "default order", &ops);
	KUNIT_ASSERT_TRUE(test, sees_members(c, 1));
	KUNIT_EXPECT_EQ(test, 0, kcgcs_multicast(c->group, "x", 1,
						 KCGCS_ORDER_DEFAULT,
						 GFP_KERNEL));
	KUNIT_ASSERT_TRUE(test, has_delivered(c, 1));
	KUNIT_EXPECT_EQ(test, KCGCS_FIFO, c->last_order);
}

static void a_member_may_send_from_its_first_view_on(struct kunit *test)
{
	struct consumer *c = consumer_make(test);
	int before, sent, after;

	c->greets = true;
	c->group = kcgcs_join(&init_net, "first", &consumer_ops, c);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c->group);
	before = READ_ONCE(c->views);
	sent = kcgcs_multicast(c->group, "early", 5, KCGCS_AGREED, GFP_KERNEL);
	after = READ_ONCE(c->views);
	if (!after)
		KUNIT_EXPECT_EQ(test, -ENOTCONN, sent);
	else if (before)
		KUNIT_EXPECT_EQ(test, 0, sent);
	KUNIT_ASSERT_TRUE(test, sees_members(c, 1));
	KUNIT_EXPECT_EQ(test, 0, c->greet_result);
	KUNIT_EXPECT_PTR_EQ(test, c->group, c->given);
	KUNIT_EXPECT_TRUE(test, has_delivered(c, sent ? 1 : 2));
}

struct sender {
	struct hrtimer timer;
	struct kcgcs_group *group;
	bool was_in_hardirq;
	int result;
	struct completion done;
};

static enum hrtimer_restart send_from_timer(struct hrtimer *timer)
{
	struct sender *sender = container_of(timer, struct sender, timer);

	sender->was_in_hardirq = in_hardirq();
	sender->result = kcgcs_multicast(sender->group, "x", 1, KCGCS_AGREED,
					 GFP_ATOMIC);
	complete(&sender->done);
	return HRTIMER_NORESTART;
}

static void sending_is_allowed_in_hard_interrupts(struct kunit *test)
{
	struct consumer *c = consumer_in_view(test, "hard", 1);
	struct sender sender = { .group = c->group };

	init_completion(&sender.done);
	hrtimer_setup_on_stack(&sender.timer, send_from_timer, CLOCK_MONOTONIC,
			       HRTIMER_MODE_REL);
	hrtimer_start(&sender.timer, ms_to_ktime(1), HRTIMER_MODE_REL);
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&sender.done,
							     WAIT));
	hrtimer_cancel(&sender.timer);
	destroy_hrtimer_on_stack(&sender.timer);
	KUNIT_EXPECT_TRUE(test, sender.was_in_hardirq);
	KUNIT_EXPECT_EQ(test, 0, sender.result);
	KUNIT_EXPECT_TRUE(test, has_delivered(c, 1));
}

static void leaving_sends_first_what_was_accepted(struct kunit *test)
{
	struct consumer *leaver = consumer_in_view(test, "leave", 1);
	struct consumer *stays = consumer_in_view(test, "leave", 2);
	int refusal, taken;

	KUNIT_ASSERT_TRUE(test, sees_members(leaver, 2));
	taken = fill_window(leaver, &refusal);
	KUNIT_EXPECT_EQ(test, -EAGAIN, refusal);
	KUNIT_EXPECT_EQ(test, 0, consumer_leave(leaver));
	/* The last view comes behind all messages. */
	KUNIT_EXPECT_TRUE(test, sees_members(stays, 1));
	KUNIT_EXPECT_EQ(test, taken, stays->delivered);
}

static void what_is_discarded_is_counted(struct kunit *test)
{
	struct consumer *leaver = consumer_in_view(test, "discard", 1);
	struct consumer *stays = consumer_in_view(test, "discard", 2);
	struct kcgcs_group *group = leaver->group;
	u64 lost = U64_MAX;
	int refusal, taken;

	KUNIT_ASSERT_TRUE(test, sees_members(leaver, 2));
	taken = fill_window(leaver, &refusal);
	KUNIT_EXPECT_EQ(test, -EAGAIN, refusal);
	leaver->group = NULL;
	KUNIT_EXPECT_EQ(test, 0, kcgcs_leave_flags(group, KCGCS_LEAVE_DISCARD,
						   0, &lost));
	KUNIT_EXPECT_TRUE(test, sees_members(stays, 1));
	KUNIT_EXPECT_EQ(test, taken, stays->delivered + (int)lost);
}

static void leaving_with_wrong_arguments_does_nothing(struct kunit *test)
{
	struct consumer *c = consumer_in_view(test, "flags", 1);
	u64 lost = 7;

	KUNIT_EXPECT_EQ(test, -EINVAL, kcgcs_leave(NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL, kcgcs_leave_flags(c->group, 2, 0, &lost));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			kcgcs_leave_flags(c->group, 0,
					  KCGCS_LEAVE_TIMEOUT_MS_MAX + 1,
					  &lost));
	KUNIT_EXPECT_EQ(test, 7, lost);
	say(test, c, "still here");
	KUNIT_EXPECT_TRUE(test, has_delivered(c, 1));
}

/* Lockdep takes the work items of all handles for one lock, and so a callback
 * that waits for another handle's callback for a recursion.
 */
static void skip_under_lockdep(struct kunit *test)
{
	if (IS_ENABLED(CONFIG_LOCKDEP))
		kunit_skip(test, "lockdep cannot tell two handles apart");
}

static void a_callback_may_leave_another_handle(struct kunit *test)
{
	struct consumer *c = consumer_in_view(test, "other", 1);
	struct consumer *gone = consumer_in_view(test, "other", 2);

	skip_under_lockdep(test);
	say(test, gone, "last words");
	KUNIT_ASSERT_TRUE(test, has_delivered(c, 1));
	c->leaves = gone;
	say(test, c, "leave it");
	KUNIT_ASSERT_TRUE(test, has_delivered(c, 2));
	KUNIT_EXPECT_EQ(test, 0, c->leave_result);
	KUNIT_EXPECT_NULL(test, gone->group);
	KUNIT_EXPECT_TRUE(test, sees_members(c, 1));
}

static void callbacks_that_leave_each_other_do_not_wait_for_ever(struct kunit *test)
{
	struct consumer *one = consumer_in_view(test, "each other", 1);
	struct consumer *other = consumer_in_view(test, "each other", 2);

	skip_under_lockdep(test);
	one->leaves = other;
	other->leaves = one;
	one->is_held = true;
	other->is_held = true;
	say(test, one, "leave each other");
	KUNIT_ASSERT_NE(test, 0, wait_for_completion_timeout(&one->entered,
							     WAIT));
	KUNIT_ASSERT_NE(test, 0, wait_for_completion_timeout(&other->entered,
							     WAIT));
	/* Both are in their callbacks, so neither leave can have been done. */
	complete_all(&one->go_on);
	complete_all(&other->go_on);
	KUNIT_EXPECT_NE(test, 0,
			wait_event_timeout(one->wait,
					   READ_ONCE(one->delivered) &&
						   READ_ONCE(other->delivered),
					   WAIT));
	/* The first one left the handle of the second one, which was refused. */
	KUNIT_EXPECT_EQ(test, -EDEADLK, one->leave_result + other->leave_result);
	KUNIT_EXPECT_EQ(test, 1, !one->group + !other->group);
}

static void a_member_that_does_not_keep_up_is_told_why_it_is_out(struct kunit *test)
{
	struct consumer *slow = consumer_in_view(test, "slow", 1);
	struct consumer *other = consumer_in_view(test, "slow", 2);
	int i;

	KUNIT_ASSERT_TRUE(test, sees_members(slow, 2));
	slow->is_held = true;
	for (i = 0; i < TOO_MANY; i++)
		say(test, other, "more");
	KUNIT_EXPECT_TRUE(test, sees_members(other, 1));
	KUNIT_EXPECT_EQ(test, -ESHUTDOWN,
			kcgcs_multicast(slow->group, "x", 1, KCGCS_AGREED,
					GFP_KERNEL));
	complete_all(&slow->go_on);
	KUNIT_EXPECT_TRUE(test, sees_members(slow, 0));
	KUNIT_EXPECT_EQ(test, KCGCS_END_SLOW, slow->end);
	KUNIT_EXPECT_EQ(test, 0, slow->lost);
}

static struct kunit_case departure_cases[] = {
	KUNIT_CASE(callbacks_of_another_version_are_taken_or_refused_by_their_size),
	KUNIT_CASE(wrong_properties_are_refused),
	KUNIT_CASE(properties_that_cannot_be_kept_are_refused),
	KUNIT_CASE(an_order_may_be_left_to_the_group),
	KUNIT_CASE(a_member_may_send_from_its_first_view_on),
	KUNIT_CASE(sending_is_allowed_in_hard_interrupts),
	KUNIT_CASE(leaving_sends_first_what_was_accepted),
	KUNIT_CASE(what_is_discarded_is_counted),
	KUNIT_CASE(leaving_with_wrong_arguments_does_nothing),
	KUNIT_CASE(a_callback_may_leave_another_handle),
	KUNIT_CASE(callbacks_that_leave_each_other_do_not_wait_for_ever),
	KUNIT_CASE_SLOW(a_member_that_does_not_keep_up_is_told_why_it_is_out),
	{}
};

static struct kunit_suite departure_suite = {
	.name = "kcgcs_departure",
	.test_cases = departure_cases,
};

kunit_test_suite(departure_suite);
