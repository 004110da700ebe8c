/* SPDX-License-Identifier: GPL-2.0 */
/* A consumer for the KUnit suites, which notes what its callbacks were called with. */
#ifndef _KCGCS_KUNIT_CONSUMER_H
#define _KCGCS_KUNIT_CONSUMER_H

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/wait.h>

#include <kcgcs.h>

/* How long to wait for what must happen. */
#define WAIT		(60 * HZ)

/* A consumer, and what its callbacks were called with. */
struct consumer {
	struct kcgcs_group *group;
	/* The handle that the first callback was given. */
	struct kcgcs_group *given;
	wait_queue_head_t wait;
	atomic_t inside;
	bool has_overlap;
	int calls;
	int views;
	int members;
	/* Of the last view, and of all views. */
	u32 end;
	u64 lost;
	int delivered;
	u32 last_order;
	int blocks;
	u64 last_sequence;
	bool is_disordered;
	int writable;
	/* What the first view callback does: it sends. */
	bool greets;
	int greet_result;
	/* What deliver does: it waits for @go_on, and leaves @leaves. */
	bool is_held;
	struct consumer *leaves;
	int leave_result;
	struct completion entered;
	struct completion go_on;
};

extern const struct kcgcs_group_ops consumer_ops;

/* A consumer without a membership, which ends with the test. */
struct consumer *consumer_make(struct kunit *test);

/* Joins; the membership ends with the test. */
struct consumer *consumer_join(struct kunit *test, const char *name);
struct consumer *consumer_join_with(struct kunit *test, const char *name,
				    const struct kcgcs_group_ops *ops);

/* Joins, and waits for a view of so many members. */
struct consumer *consumer_in_view(struct kunit *test, const char *name,
				  int members);

/* Leaves, unless the consumer has left already.  Returns the result. */
int consumer_leave(struct consumer *c);

/* Multicasts a short text.  Waits while the window is full. */
void say(struct kunit *test, struct consumer *c, const char *text);

/* Fills the window.  Returns how many messages were accepted. */
int fill_window(struct consumer *c, int *refusal);

bool has_delivered(struct consumer *c, int count);
bool sees_members(struct consumer *c, int members);

#endif /* _KCGCS_KUNIT_CONSUMER_H */
