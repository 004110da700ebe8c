/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/kcgcs: a process as a member of a group (module kcgcs_device.ko).
 *
 * - open() remembers the network namespace of its caller.
 * - ioctl(KCGCS_DEVICE_JOIN) joins a group in that namespace.
 * - ioctl(KCGCS_DEVICE_SELF) returns the member's own address.
 * - write() multicasts one message of at most 60 KiB, in agreed order.
 * - read() returns whole records, as many as fit. Each record is padded with
 *   zeroes to a multiple of 8 bytes. read() returns 0 when the node is gone.
 * - poll() says when read() or write() would not wait.
 * - close() leaves the group. Before that it sends what write() has accepted, for
 *   5 seconds at most. A line in the kernel log says how many messages were lost.
 */
#ifndef _UAPI_KCGCS_DEVICE_H
#define _UAPI_KCGCS_DEVICE_H

#include <linux/ioctl.h>
#include <linux/types.h>

struct kcgcs_device_join {
	__u32 length;		/* bytes used in name, 1 to 32 */
	/* Bytes of records that may wait to be read, 4 KiB to 64 MiB; 0 means 1 MiB. */
	__u32 queue_bytes;
	char name[32];
};

/* A member of a group; see struct kcgcs_member in kcgcs.h. */
struct kcgcs_device_member {
	__u64 incarnation;
	__u32 endpoint;
	__u16 node;
	__u16 slot;
};

enum kcgcs_device_record_kind {
	/* A view was installed. struct kcgcs_device_view follows. */
	KCGCS_DEVICE_VIEW = 1,
	/* A message was delivered. struct kcgcs_device_message follows. */
	KCGCS_DEVICE_MESSAGE = 2,
	/* The view is about to change. Nothing follows. */
	KCGCS_DEVICE_BLOCK = 3,
	/* write() has room again. Nothing follows. */
	KCGCS_DEVICE_WRITABLE = 4,
	/* Records were lost here. struct kcgcs_device_overflow follows. */
	KCGCS_DEVICE_OVERFLOW = 5,
};

/* The header of every record. */
struct kcgcs_device_record {
	__u32 length;		/* bytes of this header and of what follows, without padding */
	__u32 kind;		/* an enum kcgcs_device_record_kind */
	__u64 time_ns;		/* when the callback was called, by CLOCK_MONOTONIC */
};

/* A member that left a view. */
struct kcgcs_device_change {
	struct kcgcs_device_member member;
	__u64 reason;		/* an enum kcgcs_reason of kcgcs.h */
};

/*
 * A view; see struct kcgcs_view in kcgcs.h. Four lists follow, in this order:
 * members, joined, left and transitional. The entries of left are struct
 * kcgcs_device_change, all others struct kcgcs_device_member.
 */
struct kcgcs_device_view {
	__u64 number;
	__u64 cluster_view;
	__u16 coordinator;
	__u8 primary;
	__u8 end;		/* an enum kcgcs_end of kcgcs.h */
	__u16 member_count;
	__u16 joined_count;
	__u16 left_count;
	__u16 transitional_count;
	__u32 lost;		/* accepted messages that were lost since the last view */
	struct kcgcs_device_member self;	/* the reader; zero if it is not a member */
};

/* A message; see struct kcgcs_message in kcgcs.h. The payload follows. */
struct kcgcs_device_message {
	struct kcgcs_device_member sender;
	__u64 sequence;
	__u64 view;
	__u32 order;
	__u32 payload_length;	/* in bytes */
};

/* Records that are missing at this place because the reader was too slow. */
struct kcgcs_device_overflow {
	__u64 records;		/* the number of records that were lost */
	__u64 views;		/* how many of these were views */
};

#define KCGCS_DEVICE_JOIN _IOW(0xC6, 1, struct kcgcs_device_join)
#define KCGCS_DEVICE_SELF _IOR(0xC6, 2, struct kcgcs_device_member)

#endif /* _UAPI_KCGCS_DEVICE_H */
