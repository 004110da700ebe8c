/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Records of one open file, on their way from the callbacks to the reader.
 *
 * A ring of bytes, allocated once.  One producer at a time writes (callbacks
 * of a group handle are serial), one consumer at a time reads (the file's
 * read_lock).  Both copy outside of the spinlock, which guards positions only.
 *
 * What does not fit is counted, and the count takes its place in the order of
 * records: after what was there before, ahead of what comes later.
 */
#ifndef _KCGCS_RECORD_QUEUE_H
#define _KCGCS_RECORD_QUEUE_H

#include <linux/spinlock.h>
#include <linux/types.h>

struct iov_iter;
struct kcgcs_member;

/**
 * struct record_loss - records that are missing at one place
 * @records: how many; 0 means that none is missing
 * @views: how many of them were views
 * @time_ns: when the first one was lost
 */
struct record_loss {
	u64 records;
	u64 views;
	u64 time_ns;
};

/**
 * struct record_queue - the ring and what is missing around it
 * @lock: guards all that follows but the bytes of @ring
 * @ring: records one after the other, each starting at a multiple of 8
 * @size: bytes of @ring, a multiple of 8
 * @head: where the first record starts
 * @used: bytes that hold records
 * @loss_ahead: missing before the first record
 * @loss_behind: missing after the last record
 */
struct record_queue {
	spinlock_t lock; /* of positions and counts */
	u8 *ring;
	u32 size;
	u32 head;
	u32 used;
	struct record_loss loss_ahead;
	struct record_loss loss_behind;
};

/**
 * struct record_writer - a record that is being written
 * @queue: where
 * @at: offset of the next byte
 * @total: bytes that become visible when it is committed
 */
struct record_writer {
	struct record_queue *queue;
	u32 at;
	u32 total;
};

void record_queue_init(struct record_queue *queue);
int record_queue_allocate(struct record_queue *queue, u32 bytes);
void record_queue_release(struct record_queue *queue);
bool record_queue_readable(struct record_queue *queue);

bool record_begin(struct record_queue *queue, struct record_writer *writer,
		  u32 kind, u32 body_length);
void record_append(struct record_writer *writer, const void *data, u32 length);
void record_commit(struct record_writer *writer);

ssize_t record_queue_read(struct record_queue *queue, struct iov_iter *to,
			  const struct kcgcs_member *self);

#endif /* _KCGCS_RECORD_QUEUE_H */
