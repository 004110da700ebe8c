/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * /dev/kcgcs: a member of a group for a process (module kcgcs_device.ko).
 *
 * open, then ioctl(KCGCS_DEVICE_JOIN); write() multicasts one message,
 * read() returns whole records, as many as fit, each filled up with zeroes to
 * a multiple of 8 bytes; 0 when the node is gone.  poll() tells of both.  The
 * network namespace is the opener's.  close() leaves the group.
 */
#ifndef _UAPI_KCGCS_DEVICE_H
#define _UAPI_KCGCS_DEVICE_H

#include <linux/ioctl.h>
#include <linux/types.h>

struct kcgcs_device_join {
	__u32 length;		/* bytes of name */
	/* Bound of the read queue, 4 KiB to 64 MiB; 0: default 1 MiB. */
	__u32 queue_bytes;
	char name[32];
};

struct kcgcs_device_member {
	__u64 incarnation;
	__u32 endpoint;
	__u16 node;
	__u16 slot;
};

enum kcgcs_device_record_kind {
	KCGCS_DEVICE_VIEW = 1,		/* struct kcgcs_device_view follows */
	KCGCS_DEVICE_MESSAGE = 2,	/* struct kcgcs_device_message follows */
	KCGCS_DEVICE_BLOCK = 3,		/* nothing follows */
	KCGCS_DEVICE_WRITABLE = 4,	/* nothing follows */
	KCGCS_DEVICE_OVERFLOW = 5,	/* struct kcgcs_device_overflow follows */
};

/* Before every record; length counts from its own first byte. */
struct kcgcs_device_record {
	__u32 length;		/* this header and what follows, without padding */
	__u32 kind;
	__u64 time_ns;		/* CLOCK_MONOTONIC of the callback */
};

/* A member that left, and why: an enum kcgcs_reason. */
struct kcgcs_device_change {
	struct kcgcs_device_member member;
	__u64 reason;
};

/* Followed by members, joined, left (struct kcgcs_device_change), transitional. */
struct kcgcs_device_view {
	__u64 number;
	__u64 cluster_view;
	__u16 coordinator;
	__u8 primary;
	__u8 reserved;
	__u16 member_count;
	__u16 joined_count;
	__u16 left_count;
	__u16 transitional_count;
	__u32 reserved2;
	struct kcgcs_device_member self;	/* zero when not a member */
};

/* Followed by the payload. */
struct kcgcs_device_message {
	struct kcgcs_device_member sender;
	__u64 sequence;
	__u64 view;
	__u32 order;
	__u32 payload_length;
};

/* Records that the reader was too slow for, missing at this place. */
struct kcgcs_device_overflow {
	__u64 records;		/* how many */
	__u64 views;		/* how many of them were views */
};

#define KCGCS_DEVICE_JOIN _IOW(0xC6, 1, struct kcgcs_device_join)
#define KCGCS_DEVICE_SELF _IOR(0xC6, 2, struct kcgcs_device_member)

#endif /* _UAPI_KCGCS_DEVICE_H */
