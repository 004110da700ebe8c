// SPDX-License-Identifier: GPL-2.0
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <net/net_namespace.h>

#include "consumer.h"

#define REFUSAL_TRIES	100000

static void callback_begin(struct consumer *c)
{
	if (atomic_inc_return(&c->inside) != 1)
		WRITE_ONCE(c->has_overlap, true);
	/* Long enough for a second callback to overlap with this one. */
	usleep_range(50, 100);
}

static void callback_end(struct consumer *c)
{
	atomic_dec(&c->inside);
	WRITE_ONCE(c->calls, c->calls + 1);
	wake_up(&c->wait);
}

static void consumer_view(struct kcgcs_group *group, void *context,
			  const struct kcgcs_view *view)
{
	struct consumer *c = context;

	callback_begin(c);
	if (!c->given)
		c->given = group;
	if (c->greets && !c->views)
		c->greet_result = kcgcs_multicast(group, "hi", 2, KCGCS_AGREED,
						  GFP_KERNEL);
	c->end = view->end;
	c->lost += view->lost;
	WRITE_ONCE(c->members, view->member_count);
	WRITE_ONCE(c->views, c->views + 1);
	callback_end(c);
}

static void consumer_deliver(struct kcgcs_group *group, void *context,
			     const struct kcgcs_message *message)
{
	struct consumer *c = context;

	callback_begin(c);
	if (READ_ONCE(c->is_held)) {
		complete_all(&c->entered);
		wait_for_completion(&c->go_on);
	}
	if (c->leaves == c)
		c->leave_result = kcgcs_leave(group);
	else if (c->leaves)
		c->leave_result = consumer_leave(c->leaves);
	c->last_order = message->order;
	if (message->sequence <= c->last_sequence)
		c->is_disordered = true;
	c->last_sequence = message->sequence;
	WRITE_ONCE(c->delivered, c->delivered + 1);
	callback_end(c);
}

static void consumer_block(struct kcgcs_group *group, void *context)
{
	struct consumer *c = context;

	callback_begin(c);
	c->blocks++;
	callback_end(c);
}

static void consumer_writable(struct kcgcs_group *group, void *context)
{
	struct consumer *c = context;

	callback_begin(c);
	WRITE_ONCE(c->writable, c->writable + 1);
	callback_end(c);
}

const struct kcgcs_group_ops consumer_ops = {
	.size = sizeof(consumer_ops),
	.owner = THIS_MODULE,
	.view = consumer_view,
	.deliver = consumer_deliver,
	.block = consumer_block,
	.writable = consumer_writable,
};

int consumer_leave(struct consumer *c)
{
	struct kcgcs_group *group = c->group;
	int ret;

	if (!group)
		return 0;
	ret = kcgcs_leave(group);
	if (ret != -EDEADLK)
		c->group = NULL;
	return ret;
}

static void consumer_end(void *context)
{
	struct consumer *c = context;

	complete_all(&c->go_on);
	consumer_leave(c);
}

struct consumer *consumer_make(struct kunit *test)
{
	struct consumer *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, c);
	init_waitqueue_head(&c->wait);
	init_completion(&c->entered);
	init_completion(&c->go_on);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, consumer_end,
							   c));
	return c;
}

struct consumer *consumer_join_with(struct kunit *test, const char *name,
				    const struct kcgcs_group_ops *ops)
{
	struct consumer *c = consumer_make(test);
	struct kcgcs_group *group = kcgcs_join(&init_net, name, ops, c);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, group);
	c->group = group;
	return c;
}

struct consumer *consumer_join(struct kunit *test, const char *name)
{
	return consumer_join_with(test, name, &consumer_ops);
}

struct consumer *consumer_in_view(struct kunit *test, const char *name,
				  int members)
{
	struct consumer *c = consumer_join(test, name);

	KUNIT_ASSERT_NE(test, 0,
			wait_event_timeout(c->wait,
					   READ_ONCE(c->members) == members,
					   WAIT));
	return c;
}

void say(struct kunit *test, struct consumer *c, const char *text)
{
	int before, error;

	for (;;) {
		before = READ_ONCE(c->writable);
		error = kcgcs_multicast(c->group, text, strlen(text),
					KCGCS_AGREED, GFP_KERNEL);
		if (error != -EAGAIN)
			break;
		KUNIT_ASSERT_NE(test, 0,
				wait_event_timeout(c->wait,
						   READ_ONCE(c->writable) !=
							   before,
						   WAIT));
	}
	KUNIT_ASSERT_EQ(test, 0, error);
}

bool has_delivered(struct consumer *c, int count)
{
	return wait_event_timeout(c->wait, READ_ONCE(c->delivered) >= count,
				  WAIT) != 0;
}

bool sees_members(struct consumer *c, int members)
{
	return wait_event_timeout(c->wait, READ_ONCE(c->members) == members,
				  WAIT) != 0;
}

int fill_window(struct consumer *c, int *refusal)
{
	int taken = 0;

	/* The engine would empty the window as fast as this loop fills it. */
	preempt_disable();
	for (;;) {
		*refusal = kcgcs_multicast(c->group, "x", 1, KCGCS_AGREED,
					   GFP_ATOMIC);
		if (*refusal || taken == REFUSAL_TRIES)
			break;
		taken++;
	}
	preempt_enable();
	return taken;
}
