/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The records of one open file, on their way from the callbacks to the reader.
 *
 * A ring of bytes that is allocated once. There is one producer at a time, since
 * the callbacks of a group handle are serial, and one consumer at a time, since
 * readers hold the file's read_lock. Both copy outside of the spinlock, which
 * guards positions and counts only.
 *
 * Records that do not fit are counted. The count keeps its place in the order of
 * records: behind all earlier records, before all later ones.
 */
#ifndef _KCGCS_RECORD_QUEUE_H
#define _KCGCS_RECORD_QUEUE_H

#include <linux/spinlock.h>
#include <linux/types.h>

struct iov_iter;
struct kcgcs_member;

/**
 * struct record_loss - records that are missing at one place
 * @records: the number of records; 0 means that none is missing
 * @views: how many of these were views
 * @time_ns: when the first one was lost, in nanoseconds of CLOCK_MONOTONIC
 */
struct record_loss {
	u64 records;
	u64 views;
	u64 time_ns;
};

/**
 * struct record_queue - the ring, and the records that are missing around it
 * @lock: guards all following fields except the bytes of @ring
 * @ring: records one after the other, each at a multiple of 8
 * @size: bytes of @ring, a multiple of 8
 * @head: offset of the first record
 * @used: bytes that hold records
 * @loss_ahead: records missing before the first record
 * @loss_behind: records missing after the last record
 */
struct record_queue {
	spinlock_t lock; /* guards positions and counts */
	u8 *ring;
	u32 size;
	u32 head;
	u32 used;
	struct record_loss loss_ahead;
	struct record_loss loss_behind;
};

/**
 * struct record_writer - a record that is being written
 * @queue: the queue
 * @at: offset of the next byte
 * @total: bytes that become visible with record_commit()
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
