/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The generic netlink family "kcgcs": start, stop and inspect the node of the
 * caller's network namespace.
 */
#ifndef _UAPI_KCGCS_NETLINK_H
#define _UAPI_KCGCS_NETLINK_H

#define KCGCS_GENL_NAME "kcgcs"
#define KCGCS_GENL_VERSION 1

enum kcgcs_command {
	KCGCS_CMD_UNSPEC,
	/* Start a node. Needs CAP_NET_ADMIN. */
	KCGCS_CMD_NODE_START,
	/* Let the node leave its cluster, then stop it. Needs CAP_NET_ADMIN. */
	KCGCS_CMD_NODE_STOP,
	/* Get the identity, the state, the settings and the counters of the node. */
	KCGCS_CMD_NODE_GET,
	/* Dump the present cluster view, one member in each message. */
	KCGCS_CMD_VIEW_GET,
	/* Dump the groups that the node knows, one in each message. */
	KCGCS_CMD_GROUP_GET,
	/* Evict the member NODE_ID from the cluster. Needs CAP_NET_ADMIN. */
	KCGCS_CMD_EVICT,
	/*
	 * Pin the views: let no view be agreed on for SPAN_MS. 0 ends a pin.
	 * Needs CAP_NET_ADMIN.
	 */
	KCGCS_CMD_PIN,
	/*
	 * Dump how late heartbeats are, one neighbour in each message: a node
	 * that this node monitors, or that it sends heartbeats to.
	 */
	KCGCS_CMD_DELAY_GET,
	__KCGCS_CMD_MAX,
};
#define KCGCS_CMD_MAX (__KCGCS_CMD_MAX - 1)

enum kcgcs_attribute {
	KCGCS_ATTR_UNSPEC,
	KCGCS_ATTR_PAD,
	KCGCS_ATTR_CLUSTER,		/* string: name of the cluster */
	KCGCS_ATTR_NODE_ID,		/* u16: from 1 */
	KCGCS_ATTR_ADDRESS,		/* string: IP:port or [IP]:port */
	KCGCS_ATTR_PEERS,		/* string: addresses, separated by commas */
	KCGCS_ATTR_INCARNATION,		/* u64 */
	KCGCS_ATTR_STATE,		/* u8: enum kcgcs_node_state */
	KCGCS_ATTR_VIEW_NUMBER,		/* u64 */
	KCGCS_ATTR_VIEW_ISSUER,		/* u16: the node that issued the view */
	KCGCS_ATTR_SLOT,		/* u16 */
	KCGCS_ATTR_IS_COORDINATOR,	/* u8: 0 or 1 */
	KCGCS_ATTR_PRIMARY,		/* u8: 0 or 1 */
	KCGCS_ATTR_SETTING,		/* nest: NAME, VALUE; repeated */
	KCGCS_ATTR_NAME,		/* string: the name of a setting or counter */
	KCGCS_ATTR_VALUE,		/* u64: its value */
	KCGCS_ATTR_COUNTER,		/* nest: NAME, VALUE; repeated */
	KCGCS_ATTR_GROUP,		/* string: the name of a group */
	KCGCS_ATTR_MEMBERS,		/* u16: members on all nodes */
	KCGCS_ATTR_LOCAL_MEMBERS,	/* u16: members on this node */
	KCGCS_ATTR_COORDINATOR,		/* u16: the node that orders the group */
	KCGCS_ATTR_LOG_ENTRIES,		/* u32: entries that the node keeps */
	KCGCS_ATTR_SPAN_MS,		/* u32: of a pin, in all or what is left of it */
	KCGCS_ATTR_PINNED_BY,		/* u16: the node at which views were pinned */
	/*
	 * How late the neighbour's heartbeats arrived, and how late those to it
	 * were sent: KCGCS_DELAY_BUCKETS numbers, each a u32. Number 0 counts
	 * delays of less than one microsecond, number k those from 2^(k-1) to
	 * 2^k microseconds. The last one counts all longer delays.
	 */
	KCGCS_ATTR_RECEIVED_DELAYS,
	KCGCS_ATTR_SENT_DELAYS,
	KCGCS_ATTR_DETECTOR,		/* string: ring or gossip */
	__KCGCS_ATTR_MAX,
};
#define KCGCS_ATTR_MAX (__KCGCS_ATTR_MAX - 1)

#define KCGCS_DELAY_BUCKETS 24

enum kcgcs_node_state {
	KCGCS_STATE_JOINING = 1,	/* looks for its cluster, has no view */
	KCGCS_STATE_MEMBER = 2,		/* has a view, and a quorum of it answers */
	KCGCS_STATE_BLOCKED = 3,	/* has a view, but no quorum of it answers */
	KCGCS_STATE_LEAVING = 4,	/* has asked to leave, or has left */
	KCGCS_STATE_FAILED = 5,		/* was stopped by a broken invariant */
	KCGCS_STATE_EVICTED = 6,	/* was evicted, and does nothing any more */
};

#endif /* _UAPI_KCGCS_NETLINK_H */
