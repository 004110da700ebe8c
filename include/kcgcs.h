/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KCGCS: group communication between kernel modules.
 *
 * A module joins a named group in a network namespace. It gets views, which are
 * numbered lists of the group's members that all members agree on, and
 * multicasts messages that all members receive in the same order. A module that
 * uses these functions needs MODULE_IMPORT_NS("KCGCS").
 */
#ifndef _KCGCS_H
#define _KCGCS_H

#include <linux/types.h>

struct net;
struct module;
struct notifier_block;
struct kcgcs_group;

/* Longest group name in bytes, not counting the terminating zero. */
#define KCGCS_GROUP_NAME_MAX 32
/* Longest message in bytes. */
#define KCGCS_MESSAGE_MAX (60 * 1024)
/* For how long kcgcs_leave() sends what was accepted, in milliseconds. */
#define KCGCS_LEAVE_TIMEOUT_MS 5000
/* The longest such time that kcgcs_leave_flags() takes. */
#define KCGCS_LEAVE_TIMEOUT_MS_MAX 60000
/* The longest time for which a group may wait for a slow member. */
#define KCGCS_SLOW_WAIT_MS_MAX 600000

/**
 * enum kcgcs_order - in which order a message is delivered
 * @KCGCS_ORDER_DEFAULT: as the group's property default_order says
 * @KCGCS_FIFO: after all earlier messages of the same sender
 * @KCGCS_CAUSAL: after all messages that its sender had delivered before
 * @KCGCS_AGREED: in one total order, the same at every member
 * @KCGCS_SAFE: as KCGCS_AGREED, and only when the node of every member has the
 *              message. Agreed and safe messages that follow it wait for it
 *
 * One group may mix the orders. The messages of one sender are delivered in the
 * order in which it sent them, whatever their orders. A FIFO or CAUSAL message
 * may be delivered before AGREED and SAFE messages of other senders that have
 * their place in the total order before it, and before them at one member only.
 */
enum kcgcs_order {
	KCGCS_ORDER_DEFAULT = 0,
	KCGCS_FIFO = 1,
	KCGCS_CAUSAL = 2,
	KCGCS_AGREED = 3,
	KCGCS_SAFE = 4,
};

/**
 * enum kcgcs_reason - why a member joined or left a view
 * @KCGCS_REASON_JOIN: it asked to join
 * @KCGCS_REASON_LEAVE: it asked to leave
 * @KCGCS_REASON_FAILED: its node was found dead or cut off
 * @KCGCS_REASON_EVICTED: an administrator evicted its node. The node may be
 *                        alive and not know of it yet
 */
enum kcgcs_reason {
	KCGCS_REASON_JOIN = 1,
	KCGCS_REASON_LEAVE = 2,
	KCGCS_REASON_FAILED = 3,
	KCGCS_REASON_EVICTED = 4,
};

/**
 * enum kcgcs_end - why a view has no members
 * @KCGCS_END_NONE: it has members
 * @KCGCS_END_EXCLUDED: the cluster went on without this node, or the node gave
 *                      its view up. The handle is a member again when the node
 *                      is back, without a call, and gets a view then
 * @KCGCS_END_STOPPED: the node was stopped or evicted
 * @KCGCS_END_SLOW: the callbacks did not keep up with the messages
 * @KCGCS_END_HANGS: a callback did not return for watchdog_ms, and watchdog_leave
 *                   was set
 * @KCGCS_END_NO_MEMORY: there was no memory for a view
 * @KCGCS_END_REFUSED: the group does not admit the handle; see enum kcgcs_refusal
 *
 * After all but KCGCS_END_NONE and KCGCS_END_EXCLUDED the handle stays out: no
 * callback follows, and kcgcs_leave() is all that can be done with it.
 */
enum kcgcs_end {
	KCGCS_END_NONE = 0,
	KCGCS_END_EXCLUDED = 1,
	KCGCS_END_STOPPED = 2,
	KCGCS_END_SLOW = 3,
	KCGCS_END_HANGS = 4,
	KCGCS_END_NO_MEMORY = 5,
	KCGCS_END_REFUSED = 6,
};

/**
 * enum kcgcs_refusal - why a group does not admit a handle
 * @KCGCS_REFUSAL_NONE: it was not refused
 * @KCGCS_REFUSAL_DEFAULT_ORDER: the group has another default_order
 * @KCGCS_REFUSAL_SENDING_VIEW: the group has another sending_view
 * @KCGCS_REFUSAL_SLOW_POLICY: the group has another slow_policy or slow_wait_ms
 * @KCGCS_REFUSAL_QUORUM_MODE: the group has another quorum_mode
 * @KCGCS_REFUSAL_GROUPS: the node that would order the group orders as many
 *                        groups as it can
 * @KCGCS_REFUSAL_MEMBERS: the group has as many members as it can
 * @KCGCS_REFUSAL_NAME: another group's name has the same hash
 */
enum kcgcs_refusal {
	KCGCS_REFUSAL_NONE = 0,
	KCGCS_REFUSAL_DEFAULT_ORDER = 1,
	KCGCS_REFUSAL_SENDING_VIEW = 2,
	KCGCS_REFUSAL_SLOW_POLICY = 3,
	KCGCS_REFUSAL_QUORUM_MODE = 4,
	KCGCS_REFUSAL_GROUPS = 5,
	KCGCS_REFUSAL_MEMBERS = 6,
	KCGCS_REFUSAL_NAME = 7,
};

/**
 * struct kcgcs_member - one member, in one incarnation of its node
 * @incarnation: the node's incarnation. It grows each time the node starts and
 *               each time it loses its view
 * @endpoint: the number of the handle on that node
 * @node: the node's number, from 1
 * @slot: a small number within the group, from 1. It does not change while the
 *        member is in the group; another member may get it afterwards
 */
struct kcgcs_member {
	u64 incarnation;
	u32 endpoint;
	u16 node;
	u16 slot;
};

/**
 * struct kcgcs_change - a member that left a view
 * @member: the member
 * @reason: why it left, an enum kcgcs_reason
 * @reserved: zero
 */
struct kcgcs_change {
	struct kcgcs_member member;
	u32 reason;
	u32 reserved;
};

/**
 * struct kcgcs_view - an agreed list of a group's members
 * @number: the number of the view; it grows with each view of the group
 * @cluster_view: the number of the cluster view that it belongs to
 * @coordinator: the node that issued it. @number and @coordinator together
 *               name the view
 * @primary: whether the cluster view is primary. It is not if it is that of a
 *           component of a partitionable cluster that goes on without a majority
 * @reserved: zero
 * @member_count: entries in @members. 0 means that the reader is no longer a
 *                member
 * @joined_count: entries in @joined
 * @left_count: entries in @left
 * @transitional_count: entries in @transitional
 * @members: all members, sorted by node, then by endpoint
 * @joined: members that the group's last view did not have. In the first view
 *          of a reader that moved here from another component of the cluster:
 *          all members that are not in @transitional
 * @left: members of the last view that this view does not have
 * @transitional: members that came from the same earlier view as the reader, and
 *                the reader itself. They have delivered the same messages in
 *                that view. If they moved here from another component of the
 *                cluster, they have new incarnations
 * @lost: messages for which kcgcs_multicast() has returned 0 since the reader's
 *        last view, and which will not be sent any more. Not 0 only in a view
 *        without members, and in the first view of a reader that moved here from
 *        another component. A lost message is one that this node did not see
 *        delivered: the other members may have delivered the first of them
 * @end: why the view has no members, an enum kcgcs_end
 * @refusal: if @end is KCGCS_END_REFUSED, why, an enum kcgcs_refusal
 *
 * Nothing that was accepted before a view with @lost is sent after it. Later
 * versions may add fields at the end.
 *
 * A view never changes. It is valid during the view callback, or, if it comes
 * from kcgcs_view_get(), until kcgcs_view_put().
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
	u64 lost;
	u32 end;
	u32 refusal;
};

/**
 * struct kcgcs_message - one delivered message
 * @sender: the member that sent it
 * @sequence: the sender's number of the message, from 1
 * @view: the number of the group view in which it was sent and is delivered
 * @order: the order that its sender asked for, an enum kcgcs_order
 * @length: the length of @data in bytes
 * @data: the payload; valid until the deliver callback returns
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
 * enum kcgcs_slow_policy - what happens to a member that is too slow
 * @KCGCS_SLOW_DEFAULT: the same as KCGCS_SLOW_EVICT
 * @KCGCS_SLOW_EVICT: it is removed from the group when 4096 of its deliveries, or
 *                    16 MiB of them, wait for its callbacks
 * @KCGCS_SLOW_WAIT: the senders wait for it, for slow_wait_ms at most. Then it is
 *                   removed. This version refuses it with -EOPNOTSUPP
 * @KCGCS_SLOW_NOTIFY: it misses messages and is told how many. This version
 *                     refuses it with -EOPNOTSUPP
 */
enum kcgcs_slow_policy {
	KCGCS_SLOW_DEFAULT = 0,
	KCGCS_SLOW_EVICT = 1,
	KCGCS_SLOW_WAIT = 2,
	KCGCS_SLOW_NOTIFY = 3,
};

/**
 * enum kcgcs_quorum_mode - in which cluster views the members may send
 * @KCGCS_QUORUM_DEFAULT: the same as KCGCS_QUORUM_ANY
 * @KCGCS_QUORUM_ANY: in each one; in a partitionable cluster also in that of a
 *                    component that goes on without a majority
 * @KCGCS_QUORUM_PRIMARY: in primary ones only; kcgcs_multicast() returns -ENOTCONN
 *                        in others
 */
enum kcgcs_quorum_mode {
	KCGCS_QUORUM_DEFAULT = 0,
	KCGCS_QUORUM_ANY = 1,
	KCGCS_QUORUM_PRIMARY = 2,
};

/**
 * struct kcgcs_group_properties - what all members of a group have to agree on
 * @size: sizeof(struct kcgcs_group_properties)
 * @default_order: the order of messages that are sent with KCGCS_ORDER_DEFAULT, an
 *                 enum kcgcs_order; KCGCS_ORDER_DEFAULT means KCGCS_AGREED
 * @sending_view: 1: a message is delivered in the view that its sender had been
 *                shown when it called kcgcs_multicast(). 0: in that view or in a
 *                later one. This version refuses 1 with -EOPNOTSUPP
 * @slow_policy: an enum kcgcs_slow_policy
 * @slow_wait_ms: with KCGCS_SLOW_WAIT, for how long; 1 to KCGCS_SLOW_WAIT_MS_MAX.
 *                Otherwise 0
 * @quorum_mode: an enum kcgcs_quorum_mode
 *
 * All fields but @size may be 0. The first member of a group chooses. A member
 * that asks for something else is refused by its first view, which has no
 * members and names the property in @refusal.
 */
struct kcgcs_group_properties {
	size_t size;
	u32 default_order;
	u32 sending_view;
	u32 slow_policy;
	u32 slow_wait_ms;
	u32 quorum_mode;
};

/**
 * struct kcgcs_group_ops - the callbacks of a member
 * @size: sizeof(struct kcgcs_group_ops). A later version with more fields takes
 *        what an older consumer gives. A version that does not know a field
 *        refuses it unless it is zero
 * @owner: THIS_MODULE of the consumer: the module cannot be unloaded while it is
 *         a member. NULL only if the consumer is built in, or if its exit
 *         function calls kcgcs_leave() in any case
 * @view: a new view was installed. The first call says that the handle is a
 *        member, if the view has members. Required
 * @deliver: a message was delivered. Required
 * @block: the view is about to change. Messages that are multicast from now on
 *         belong to the next view. May be called again before that view.
 *         Optional
 * @writable: there is room again after kcgcs_multicast() returned -EAGAIN.
 *            Optional
 * @get_state: reserved for state transfer; must be NULL in this version
 * @set_state: reserved for state transfer; must be NULL in this version
 * @watchdog_ms: report a callback in the kernel log if it does not return for so
 *               many milliseconds, and report its return too if the handle is
 *               still a member. 0: report nothing. Heartbeats do not depend on
 *               consumers, so nobody else would notice a callback that hangs
 * @watchdog_leave: also remove such a consumer from its group. The other members
 *                  get a view without it. The consumer itself gets a last view
 *                  without members when its callback returns
 * @properties: what the group is to be like, or NULL for the defaults
 *
 * Each callback is given the handle and the context of kcgcs_join(). The handle
 * can be used from the first callback on, also before kcgcs_join() has returned.
 *
 * Context: Callbacks run in process context, may sleep, and are called one at a
 * time for each handle, with no lock held. They may call kcgcs_multicast(),
 * kcgcs_self() and kcgcs_view_get(). kcgcs_leave() for the same handle returns
 * -EDEADLK. A callback may leave another handle. If two callbacks leave each
 * other's, each would wait for the other one: the second gets -EDEADLK. That is
 * only noticed among handles of one node, so do not rely on it. Callbacks run in
 * a WQ_MEM_RECLAIM workqueue, so they must not flush a workqueue without that
 * flag.
 */
struct kcgcs_group_ops {
	size_t size;
	struct module *owner;
	void (*view)(struct kcgcs_group *group, void *context,
		     const struct kcgcs_view *view);
	void (*deliver)(struct kcgcs_group *group, void *context,
			const struct kcgcs_message *message);
	void (*block)(struct kcgcs_group *group, void *context);
	void (*writable)(struct kcgcs_group *group, void *context);
	void (*get_state)(struct kcgcs_group *group, void *context);
	void (*set_state)(struct kcgcs_group *group, void *context);
	unsigned int watchdog_ms;
	bool watchdog_leave;
	const struct kcgcs_group_properties *properties;
};

/**
 * kcgcs_join() - become a member of a group
 * @net: the network namespace whose node to use
 * @name: the group's name, 1 to KCGCS_GROUP_NAME_MAX bytes
 * @ops: the callbacks and properties; copied
 * @context: passed to every callback
 *
 * The handle is a member when its first @view callback is called with a view that
 * has members. That may happen before this function returns. While the node has
 * no quorum, the membership waits. If the group refuses the handle, the first
 * view has no members and says why.
 *
 * Context: Process context. May sleep.
 * Return: a handle, to be given to kcgcs_leave() once, or an ERR_PTR:
 * * %-EINVAL - @net, @name or @ops is NULL, @name is empty or too long, a size is
 *   wrong, a field that this version does not know is not zero, a required
 *   callback is missing, a reserved one is set, or a property has an unknown
 *   value
 * * %-ENETDOWN - there is no node in this namespace
 * * %-ENOMEM - no memory
 * * %-ENOSPC - the node already has 64 members, or takes part in 64 groups
 * * %-EOPNOTSUPP - this version cannot keep one of the properties
 * * %-ESHUTDOWN - the node is stopping or was evicted, or @ops->owner is being
 *   unloaded
 */
struct kcgcs_group *kcgcs_join(struct net *net, const char *name,
			       const struct kcgcs_group_ops *ops,
			       void *context);

/**
 * kcgcs_leave() - end a membership, and send first what was accepted
 * @group: the handle
 *
 * The same as kcgcs_leave_flags() without flags, for KCGCS_LEAVE_TIMEOUT_MS.
 *
 * Context: As kcgcs_leave_flags().
 * Return: As kcgcs_leave_flags().
 */
int kcgcs_leave(struct kcgcs_group *group);

/* Do not send what was accepted and not sent yet. */
#define KCGCS_LEAVE_DISCARD 0x1

/**
 * kcgcs_leave_flags() - end a membership
 * @group: the handle. Unless -EDEADLK or -EINVAL is returned, it no longer exists
 * @flags: 0 or KCGCS_LEAVE_DISCARD
 * @timeout_ms: for how long to wait, at most, until all messages for which
 *              kcgcs_multicast() has returned 0 have their place in the order of
 *              the group; 1 to KCGCS_LEAVE_TIMEOUT_MS_MAX. 0: KCGCS_LEAVE_TIMEOUT_MS.
 *              With KCGCS_LEAVE_DISCARD it does not wait
 * @lost: if not NULL, set to the number of messages that were accepted, are not
 *        delivered as far as this node knows, and of which no view callback has
 *        told. Of those the other members may deliver the first ones, if they
 *        were on their way
 *
 * No callback of the handle runs after this function has returned.
 *
 * Context: Process context. May sleep, until a running callback has returned and
 * the messages are ordered: do not hold a lock that a callback takes.
 * Return: 0 if no message was lost, or if KCGCS_LEAVE_DISCARD was given. Or, if
 * messages were lost:
 * * %-ENOTCONN - the node was excluded or stopped before they were ordered
 * * %-ETIMEDOUT - they were not ordered in time
 *
 * Or, if nothing was done:
 * * %-EDEADLK - called from a callback of this handle, or from one that a callback
 *   of this handle waits for
 * * %-EINVAL - @group is NULL, or @flags or @timeout_ms is out of range
 */
int kcgcs_leave_flags(struct kcgcs_group *group, unsigned int flags,
		      unsigned int timeout_ms, u64 *lost);

/**
 * kcgcs_multicast() - send a message to all members, the sender included
 * @group: the handle
 * @data: the payload; it is copied before the function returns
 * @length: its length in bytes, 0 to KCGCS_MESSAGE_MAX
 * @order: an enum kcgcs_order
 * @gfp: how to allocate the copy. With GFP_ATOMIC the function never sleeps
 *
 * A message for which 0 was returned is delivered to all members of the view
 * that it becomes part of, unless before that the sender's node crashes or is
 * excluded, or the membership ends. But for a crash, the sender is told how many
 * of its messages that concerns: by its next view, or by kcgcs_leave_flags().
 *
 * A view counts as shown when its view callback is called. What is sent from
 * inside the first one is accepted.
 *
 * Context: Any context but NMI. GFP_ATOMIC where sleeping is not allowed.
 * Return: 0 if the message is queued, or, if nothing was done:
 * * %-EAGAIN - the handle's window is full (128 messages or 240 KiB wait). The
 *   writable callback follows
 * * %-EINVAL - @group is NULL, @data is NULL and @length is not 0, or @order is
 *   unknown
 * * %-EMSGSIZE - @length is larger than KCGCS_MESSAGE_MAX
 * * %-ENOMEM - no memory for the copy
 * * %-ENOTCONN - the handle was not shown a view yet, was shown one without
 *   members, or is about to be; the node has no quorum; or its view is not
 *   primary and the group asks for that. No callback but @view says when that
 *   ends
 * * %-ESHUTDOWN - the node has stopped, is stopping or was evicted, or this
 *   member was removed from its group or refused by it
 */
int kcgcs_multicast(struct kcgcs_group *group, const void *data, size_t length,
		    enum kcgcs_order order, gfp_t gfp);

/**
 * kcgcs_self() - get the handle's own address
 * @group: the handle
 * @self: filled in if 0 is returned
 *
 * Context: Any context but NMI.
 * Return: 0, or
 * * %-EINVAL - @group or @self is NULL
 * * %-ENOTCONN - the handle is not a member: it has no view yet, or its node is
 *   out of the cluster and will be back
 * * %-ESHUTDOWN - as for kcgcs_multicast()
 */
int kcgcs_self(const struct kcgcs_group *group, struct kcgcs_member *self);

/**
 * kcgcs_view_get() - get the view that the handle was shown last
 * @group: the handle
 *
 * From inside the view callback that is the view of that callback.
 *
 * Context: Any context but NMI.
 * Return: the view, to be given back with kcgcs_view_put(), or NULL before the
 * first view.
 */
const struct kcgcs_view *kcgcs_view_get(struct kcgcs_group *group);

/**
 * kcgcs_view_put() - give a view back
 * @view: a view from kcgcs_view_get(), or NULL
 *
 * Context: Any context but NMI.
 */
void kcgcs_view_put(const struct kcgcs_view *view);

/**
 * enum kcgcs_cluster_event - the action that a notifier is called with
 * @KCGCS_CLUSTER_VIEW: a cluster view was installed. data is a struct kcgcs_view
 *                      whose members have endpoint 0. Its @primary also says
 *                      whether the node has a quorum
 * @KCGCS_CLUSTER_SUSPECT: this node hears nothing from a node that it monitors.
 *                         data is that node, a struct kcgcs_member
 * @KCGCS_CLUSTER_PREPARE: the view is about to change. data is NULL. May come
 *                         several times before one view
 * @KCGCS_CLUSTER_FAILED: the next view leaves out a node that failed or was
 *                        evicted. data is that node, a struct kcgcs_member.
 *                        KCGCS_CLUSTER_VIEW follows
 * @KCGCS_CLUSTER_QUORUM_LOST: too few nodes answer. data is NULL
 * @KCGCS_CLUSTER_QUORUM_REGAINED: enough nodes answer again. data is NULL
 * @KCGCS_CLUSTER_EXCLUDED: this node has no view any more: the cluster went on
 *                          without it, or it gave its view up. data is NULL
 * @KCGCS_CLUSTER_STOPPED: the node has stopped. data is NULL. Nothing follows
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
 * @notifier: called with an enum kcgcs_cluster_event; it returns NOTIFY_OK or
 *            NOTIFY_DONE
 *
 * If the node has a view, @notifier is called with it before this function
 * returns. A notifier that is slow may miss KCGCS_CLUSTER_SUSPECT and
 * KCGCS_CLUSTER_PREPARE.
 *
 * Context: Process context. May sleep. The notifier is called in process
 * context and may sleep. It must not register or unregister a notifier.
 * Return: 0, or
 * * %-EEXIST - it is already registered
 * * %-EINVAL - @net or @notifier is NULL
 * * %-ENETDOWN - there is no node in this namespace, or it is stopping
 */
int kcgcs_register_notifier(struct net *net, struct notifier_block *notifier);

/**
 * kcgcs_unregister_notifier() - stop being told of cluster-level events
 * @net: the network namespace
 * @notifier: the notifier that was registered
 *
 * Context: Process context. May sleep, until a running call has returned.
 * Return: 0, or
 * * %-EINVAL - @net or @notifier is NULL
 * * %-ENOENT - it is not registered, or the node is gone
 */
int kcgcs_unregister_notifier(struct net *net, struct notifier_block *notifier);

/**
 * struct kcgcs_fence_ops - a handler that makes a failed node harmless
 * @fence: returns 0 when @node can do no harm any more: its power is off, its
 *         disks are locked, its lease is over. @node is a node of the cluster
 *         view, with endpoint 0. Any other value says that this was not
 *         possible; @fence is then called again a second later
 * @timeout_ms: for how long no view without the node is agreed on before @fence
 *              has returned 0; 1 to 3600000 milliseconds. Then the view changes
 *              without fencing, and a line in the kernel log says so
 *
 * Context of @fence: Process context, may sleep, one call at a time for each
 * network namespace. It must not register or unregister a handler, and it must
 * return: stopping the node and kcgcs_unregister_fence() wait for it.
 */
struct kcgcs_fence_ops {
	int (*fence)(void *context, const struct kcgcs_member *node);
	unsigned int timeout_ms;
};

/**
 * kcgcs_register_fence() - guard the views of a node with a fence handler
 * @net: the network namespace
 * @ops: the handler; copied
 * @context: passed to the handler
 *
 * Before the node proposes a view without a failed node, the handler must have
 * fenced that node. Any member may be the one that proposes, so each member
 * needs a handler. Only the proposer's handler is called for a failed node,
 * unless the proposer fails in the middle of it.
 *
 * Not fenced are nodes that leave, nodes that are evicted, and nodes that were
 * restarted. A node without a quorum fences nobody. While a handler works, the
 * groups' messages wait. A module must unregister its handler before it is
 * unloaded.
 *
 * Context: Process context. May sleep.
 * Return: 0, or
 * * %-EBUSY - the node already has a handler
 * * %-EINVAL - @net, @ops or @ops->fence is NULL, or @ops->timeout_ms is out of
 *   range
 * * %-ENETDOWN - there is no node in this namespace, or it is stopping
 */
int kcgcs_register_fence(struct net *net, const struct kcgcs_fence_ops *ops,
			 void *context);

/**
 * kcgcs_unregister_fence() - take the fence handler of a node away
 * @net: the network namespace
 *
 * A view change that waits for the handler goes on without it.
 *
 * Context: Process context, not from the handler. May sleep, until a running
 * call has returned.
 * Return: 0, or
 * * %-EINVAL - @net is NULL
 * * %-ENOENT - there is no handler, or the node is gone
 */
int kcgcs_unregister_fence(struct net *net);

#endif /* _KCGCS_H */
