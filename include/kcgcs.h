/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KCGCS: group communication between kernel modules.
 *
 * A module joins a named group in a network namespace, gets agreed views of
 * the group's members, and multicasts messages that every member receives in
 * the same order.  Import the symbol namespace with
 * MODULE_IMPORT_NS("KCGCS").
 */
#ifndef _KCGCS_H
#define _KCGCS_H

#include <linux/types.h>

struct net;
struct module;
struct notifier_block;
struct kcgcs_group;

/* Longest group name in bytes, without the terminating zero. */
#define KCGCS_GROUP_NAME_MAX 32
/* Longest message in bytes. */
#define KCGCS_MESSAGE_MAX (60 * 1024)

/**
 * enum kcgcs_order - how the messages of a group are ordered
 * @KCGCS_FIFO: messages of one sender in the order they were sent
 * @KCGCS_CAUSAL: a message after everything its sender had been delivered
 * @KCGCS_AGREED: one order for all messages, the same at every member
 * @KCGCS_SAFE: as agreed, and delivered only when every member has it
 *              (refused with -EOPNOTSUPP by this version)
 *
 * This version carries out FIFO and CAUSAL as AGREED, which is stronger.
 */
enum kcgcs_order {
	KCGCS_FIFO = 1,
	KCGCS_CAUSAL = 2,
	KCGCS_AGREED = 3,
	KCGCS_SAFE = 4,
};

/**
 * enum kcgcs_reason - why a member is no longer, or newly, in a view
 * @KCGCS_REASON_JOIN: it asked to come in
 * @KCGCS_REASON_LEAVE: it said good-bye
 * @KCGCS_REASON_FAILED: its node was found dead or cut off
 * @KCGCS_REASON_EVICTED: an administrator has put its node out, which may be
 *                        alive and not know it yet
 */
enum kcgcs_reason {
	KCGCS_REASON_JOIN = 1,
	KCGCS_REASON_LEAVE = 2,
	KCGCS_REASON_FAILED = 3,
	KCGCS_REASON_EVICTED = 4,
};

/**
 * struct kcgcs_member - the address of one member in one of its incarnations
 * @incarnation: the node's incarnation; grows each time the node starts
 * @endpoint: which handle on that node
 * @node: the node's number, from 1
 * @slot: small number within the group, from 1, that stays while it is a member
 */
struct kcgcs_member {
	u64 incarnation;
	u32 endpoint;
	u16 node;
	u16 slot;
};

/**
 * struct kcgcs_change - a member that left, and why
 * @member: who
 * @reason: an enum kcgcs_reason
 */
struct kcgcs_change {
	struct kcgcs_member member;
	u32 reason;
	u32 reserved;
};

/**
 * struct kcgcs_view - an agreed list of a group's members
 * @number: grows with each view of the group
 * @cluster_view: number of the cluster view it belongs to
 * @coordinator: the node that issued it; names the view together with @number
 * @primary: whether the cluster view has a quorum and is primary, that is, no part
 *	of a partitionable cluster that goes on by itself without a majority
 * @member_count: entries in @members; 0 means that the reader is not a member
 *                any more
 * @joined_count: entries in @joined
 * @left_count: entries in @left
 * @transitional_count: entries in @transitional
 * @members: sorted by node, then endpoint
 * @joined: members that the group's last view did not have; all but
 *	@transitional in a reader's first view of another part of the cluster
 * @left: members of the last view that this one does not have
 * @transitional: members that came from the same previous view as the reader,
 *                the reader included: they have got the same messages in it.
 *                Those from another part of the cluster, the reader too, have
 *                new incarnations
 *
 * Never changes once it was handed out.  Valid during the view callback, or
 * until kcgcs_view_put().
 */
struct kcgcs_view {
	u64 number;
	u64 cluster_view;
	u16 coordinator;
	u8 primary;
	u8 reserved;
	u16 member_count;
	u16 joined_count;
	u16 left_count;
	u16 transitional_count;
	const struct kcgcs_member *members;
	const struct kcgcs_member *joined;
	const struct kcgcs_change *left;
	const struct kcgcs_member *transitional;
};

/**
 * struct kcgcs_message - one delivered message
 * @sender: who sent it
 * @sequence: the sender's number of the message, from 1
 * @view: number of the group view it was sent and is delivered in
 * @order: an enum kcgcs_order
 * @length: bytes of @data
 * @data: the bytes; valid until the callback returns
 */
struct kcgcs_message {
	struct kcgcs_member sender;
	u64 sequence;
	u64 view;
	u32 order;
	u32 length;
	const void *data;
};

/**
 * struct kcgcs_group_ops - what a member wants to be told
 * @owner: THIS_MODULE of the consumer: it cannot unload while it is a member.
 *         NULL only if the consumer is built in, or surely calls kcgcs_leave()
 *         in its exit function
 * @view: a new view; the first one says that one is a member.  Required.
 * @deliver: a message.  Required.
 * @block: the view is about to change; what is multicast from now on belongs
 *         to the next view.  May be called again before that view.  Optional.
 * @writable: there is room again after -EAGAIN.  Optional.
 * @get_state: reserved for state transfer, must be NULL in this version
 * @set_state: reserved for state transfer, must be NULL in this version
 * @watchdog_ms: a callback that does not return for so many milliseconds is
 *               reported in the kernel's log, and so is its return if it is
 *               still a member; 0: never.
 *               Heartbeats go on whatever consumers do, so nobody else
 *               would notice
 * @watchdog_leave: such a consumer is put out of its group too: the others get
 *                  a view without it, and itself, once it returns, a last
 *                  view without members
 *
 * Context: Process context, may sleep, one callback at a time for each group
 * handle, no lock held.  kcgcs_multicast(), kcgcs_self() and kcgcs_view_get()
 * may be called from any of them; kcgcs_leave() gives -EDEADLK.  Other handles
 * may be left, but not by two callbacks each other's: each would wait for the
 * other one.  Callbacks run in a workqueue that memory reclaim may wait for
 * (WQ_MEM_RECLAIM): they must not flush one that is not such.
 */
struct kcgcs_group_ops {
	struct module *owner;
	void (*view)(void *context, const struct kcgcs_view *view);
	void (*deliver)(void *context, const struct kcgcs_message *message);
	void (*block)(void *context);
	void (*writable)(void *context);
	void (*get_state)(void *context);
	void (*set_state)(void *context);
	unsigned int watchdog_ms;
	bool watchdog_leave;
};

/**
 * kcgcs_join() - become a member of a group
 * @net: the network namespace whose node to use
 * @name: the group's name, 1 to KCGCS_GROUP_NAME_MAX bytes
 * @ops: the callbacks; must stay valid until kcgcs_leave() has returned
 * @context: handed to every callback
 *
 * One is a member when the first @view callback is called, which may be before
 * this function returns.  While the node has no quorum the membership waits.
 *
 * Context: Process context. May sleep.
 * Return: a handle, to be given to kcgcs_leave() once, or an ERR_PTR:
 * -EINVAL the name or @ops is wrong, -ENETDOWN no node in this namespace,
 * -ENOMEM, -ENOSPC the node has as many members or groups as it may,
 * -ESHUTDOWN the node is stopping.
 */
struct kcgcs_group *kcgcs_join(struct net *net, const char *name,
			       const struct kcgcs_group_ops *ops,
			       void *context);

/**
 * kcgcs_leave() - end a membership
 * @group: the handle; it is gone when 0 is returned
 *
 * No callback runs after it has returned.
 *
 * Context: Process context. May sleep, until running callbacks have returned.
 * Return: 0, or -EDEADLK from inside a callback of this group, or -EINVAL for
 * NULL (nothing was done).
 */
int kcgcs_leave(struct kcgcs_group *group);

/**
 * kcgcs_multicast() - send a message to all members, the sender included
 * @group: the handle
 * @data: the bytes; copied before the call returns
 * @length: how many, at most KCGCS_MESSAGE_MAX
 * @order: KCGCS_FIFO, KCGCS_CAUSAL or KCGCS_AGREED
 * @gfp: how to allocate the copy; with GFP_ATOMIC the call never sleeps
 *
 * Context: Any context but NMI; where sleeping is not allowed, with GFP_ATOMIC.
 * Return: 0 when the message is queued; it will be delivered to all members of
 * the view that it becomes part of, unless the sender's node crashes or is
 * excluded; one that waits meanwhile may go out when the node is back.
 * -EAGAIN the window is full (the writable callback follows),
 * -EMSGSIZE too long, -ENOTCONN no view yet or no quorum, -EINVAL, -ENOMEM,
 * -EOPNOTSUPP for KCGCS_SAFE, -ESHUTDOWN the node is gone.
 */
int kcgcs_multicast(struct kcgcs_group *group, const void *data, size_t length,
		    enum kcgcs_order order, gfp_t gfp);

/**
 * kcgcs_self() - one's own address
 * @group: the handle
 * @self: filled in
 *
 * Context: Any context but NMI.
 * Return: 0, -ENOTCONN before the first view or while out of the cluster,
 * -ESHUTDOWN the node is gone.
 */
int kcgcs_self(const struct kcgcs_group *group, struct kcgcs_member *self);

/**
 * kcgcs_view_get() - the present view
 * @group: the handle
 *
 * Context: Any context but NMI.
 * Return: the view, to be given back with kcgcs_view_put(), or NULL before the
 * first one.
 */
const struct kcgcs_view *kcgcs_view_get(struct kcgcs_group *group);

/**
 * kcgcs_view_put() - give a view back
 * @view: from kcgcs_view_get(); NULL is allowed
 *
 * Context: Any context but NMI.
 */
void kcgcs_view_put(const struct kcgcs_view *view);

/**
 * enum kcgcs_cluster_event - the action that a notifier is called with
 * @KCGCS_CLUSTER_VIEW: a cluster view was installed; data is a struct
 *                      kcgcs_view whose members have endpoint 0
 * @KCGCS_CLUSTER_SUSPECT: data is the struct kcgcs_member nothing is heard of
 * @KCGCS_CLUSTER_PREPARE: a view is about to change; data is NULL.  May repeat
 * @KCGCS_CLUSTER_FAILED: data is the struct kcgcs_member that a view excludes;
 *                        the KCGCS_CLUSTER_VIEW without it follows
 * @KCGCS_CLUSTER_QUORUM_LOST: data is NULL
 * @KCGCS_CLUSTER_QUORUM_REGAINED: data is NULL
 * @KCGCS_CLUSTER_EXCLUDED: the cluster went on without this node; data is NULL
 * @KCGCS_CLUSTER_STOPPED: the node is gone; data is NULL
 */
enum kcgcs_cluster_event {
	KCGCS_CLUSTER_VIEW = 1,
	KCGCS_CLUSTER_SUSPECT = 2,
	KCGCS_CLUSTER_PREPARE = 3,
	KCGCS_CLUSTER_FAILED = 4,
	KCGCS_CLUSTER_QUORUM_LOST = 5,
	KCGCS_CLUSTER_QUORUM_REGAINED = 6,
	KCGCS_CLUSTER_EXCLUDED = 7,
	KCGCS_CLUSTER_STOPPED = 8,
};

/**
 * kcgcs_register_notifier() - be told of cluster-level events
 * @net: the network namespace
 * @notifier: called with an enum kcgcs_cluster_event; returns NOTIFY_OK or
 *            NOTIFY_DONE.  If there is a view it is called with it at once.
 *
 * Context: Process context. May sleep. The notifier is called in process
 * context, may sleep, and must not register or unregister.
 * Return: 0, -ENETDOWN no node in this namespace, -EINVAL, -EEXIST.
 */
int kcgcs_register_notifier(struct net *net, struct notifier_block *notifier);

/**
 * kcgcs_unregister_notifier() - the opposite
 * @net: the network namespace
 * @notifier: what was registered
 *
 * Context: Process context. May sleep, until a running call has returned.
 * Return: 0, or -ENOENT if it was not registered (or the node is gone).
 */
int kcgcs_unregister_notifier(struct net *net, struct notifier_block *notifier);

/**
 * struct kcgcs_fence_ops - what sees to it that a failed node is harmless
 * @fence: returns 0 when @node (a node of the cluster view; endpoint 0) can do
 *         no harm any more: its power is off, its disks are locked, its
 *         lease is over.  Anything else: it could not be done; @fence is called
 *         again a second later.
 * @timeout_ms: for so long no view without the node is agreed on unless @fence
 *              has returned 0; 1 to 3600000.  Then the view goes on without
 *              that, and says so in the kernel's log.
 *
 * Context of @fence: Process context, may sleep, one call at a time for each
 * network namespace, no lock held.  It must return: the end of the node, and
 * kcgcs_unregister_fence(), wait for it.
 */
struct kcgcs_fence_ops {
	int (*fence)(void *context, const struct kcgcs_member *node);
	unsigned int timeout_ms;
};

/**
 * kcgcs_register_fence() - guard the views of a node by a fence handler
 * @net: the network namespace
 * @ops: the handler; copied
 * @context: handed to the handler
 *
 * Before the node proposes a view that leaves out a failed node, the handler
 * must have fenced that.  Any member may be the one that proposes, so each of
 * them needs a handler; only one is called for a failed node, unless that
 * member fails in the middle of it.  Nobody is fenced who leaves, is evicted,
 * or has been started anew; nor is anything fenced by a node without a quorum.
 * While a handler works the groups' messages wait.  A module must take its
 * handler away before it goes.
 *
 * Context: Process context. May sleep.
 * Return: 0, -ENETDOWN no node in this namespace, or one that goes away,
 * -EINVAL, -EBUSY it has a handler already.
 */
int kcgcs_register_fence(struct net *net, const struct kcgcs_fence_ops *ops,
			 void *context);

/**
 * kcgcs_unregister_fence() - the opposite
 * @net: the network namespace
 *
 * A view change that waits for the handler goes on without it.
 *
 * Context: Process context, not from the handler. May sleep, until a running
 * call has returned.
 * Return: 0, or -ENOENT if there was none (or the node is gone).
 */
int kcgcs_unregister_fence(struct net *net);

#endif /* _KCGCS_H */
