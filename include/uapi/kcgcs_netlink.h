/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* The generic netlink family "kcgcs": start, stop and look at a node. */
#ifndef _UAPI_KCGCS_NETLINK_H
#define _UAPI_KCGCS_NETLINK_H

#define KCGCS_GENL_NAME "kcgcs"
#define KCGCS_GENL_VERSION 1

enum kcgcs_command {
	KCGCS_CMD_UNSPEC,
	/* Start a node in the caller's network namespace. CAP_NET_ADMIN. */
	KCGCS_CMD_NODE_START,
	/* Stop it: leaves the cluster, then goes. CAP_NET_ADMIN. */
	KCGCS_CMD_NODE_STOP,
	/* Identity, state, settings and counters. */
	KCGCS_CMD_NODE_GET,
	/* Dump of the present cluster view: one member in each message. */
	KCGCS_CMD_VIEW_GET,
	/* Dump: one group in each message. */
	KCGCS_CMD_GROUP_GET,
	/* Put the member NODE_ID out of the cluster. CAP_NET_ADMIN. */
	KCGCS_CMD_EVICT,
	/* No view changes for SPAN_MS; 0 ends that. CAP_NET_ADMIN. */
	KCGCS_CMD_PIN,
	/*
	 * Dump: one neighbour in each message, which the node watches or sends
	 * heartbeats to.
	 */
	KCGCS_CMD_DELAY_GET,
	__KCGCS_CMD_MAX,
};
#define KCGCS_CMD_MAX (__KCGCS_CMD_MAX - 1)

enum kcgcs_attribute {
	KCGCS_ATTR_UNSPEC,
	KCGCS_ATTR_PAD,
	KCGCS_ATTR_CLUSTER,		/* string: name of the cluster */
	KCGCS_ATTR_NODE_ID,		/* u16 */
	KCGCS_ATTR_ADDRESS,		/* string: IP:port or [IP]:port */
	KCGCS_ATTR_PEERS,		/* string: addresses, comma separated */
	KCGCS_ATTR_INCARNATION,		/* u64 */
	KCGCS_ATTR_STATE,		/* u8: enum kcgcs_node_state */
	KCGCS_ATTR_VIEW_NUMBER,		/* u64 */
	KCGCS_ATTR_VIEW_ISSUER,		/* u16: node that issued the view */
	KCGCS_ATTR_SLOT,		/* u16 */
	KCGCS_ATTR_IS_COORDINATOR,	/* u8: 0 or 1 */
	KCGCS_ATTR_PRIMARY,		/* u8: 0 or 1 */
	KCGCS_ATTR_SETTING,		/* nest: NAME, VALUE; repeated */
	KCGCS_ATTR_NAME,		/* string: of a setting or a counter */
	KCGCS_ATTR_VALUE,		/* u64 */
	KCGCS_ATTR_COUNTER,		/* nest: NAME, VALUE; repeated */
	KCGCS_ATTR_GROUP,		/* string: a group's name */
	KCGCS_ATTR_MEMBERS,		/* u16: members on all nodes */
	KCGCS_ATTR_LOCAL_MEMBERS,	/* u16: members on this node */
	KCGCS_ATTR_COORDINATOR,		/* u16: the node that orders the group */
	KCGCS_ATTR_LOG_ENTRIES,		/* u32 */
	KCGCS_ATTR_SPAN_MS,		/* u32: how long, or how much longer */
	KCGCS_ATTR_PINNED_BY,		/* u16: the node that views are pinned at */
	/*
	 * How late a neighbour's heartbeats came, and those to it were sent:
	 * KCGCS_DELAY_BUCKETS numbers of 32 bits. The first counts those of
	 * less than one microsecond, number k those from 2^(k-1) up to 2^k
	 * microseconds, the last one all that were longer.
	 */
	KCGCS_ATTR_RECEIVED_DELAYS,
	KCGCS_ATTR_SENT_DELAYS,
	KCGCS_ATTR_DETECTOR,		/* string: ring or gossip */
	__KCGCS_ATTR_MAX,
};
#define KCGCS_ATTR_MAX (__KCGCS_ATTR_MAX - 1)

#define KCGCS_DELAY_BUCKETS 24

enum kcgcs_node_state {
	KCGCS_STATE_JOINING = 1,	/* looks for its cluster */
	KCGCS_STATE_MEMBER = 2,		/* has a view with a quorum */
	KCGCS_STATE_BLOCKED = 3,	/* has a view, sees no quorum of it */
	KCGCS_STATE_LEAVING = 4,
	KCGCS_STATE_FAILED = 5,		/* a broken invariant stopped it */
	KCGCS_STATE_EVICTED = 6,	/* put out; does nothing any more */
};

#endif /* _UAPI_KCGCS_NETLINK_H */
