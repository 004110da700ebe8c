// SPDX-License-Identifier: GPL-2.0
/*
 * The ring of records between the callbacks and read(). See record_queue.h.
 */
#include <linux/align.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/uio.h>

#include <kcgcs.h>
#include <uapi/kcgcs_device.h>

#include "record_queue.h"

#define RECORD_ALIGNMENT 8

struct overflow_record {
	struct kcgcs_device_record header;
	struct kcgcs_device_overflow body;
};

static_assert(sizeof(struct kcgcs_device_record) % RECORD_ALIGNMENT == 0);
static_assert(sizeof(struct overflow_record) % RECORD_ALIGNMENT == 0);

void record_queue_init(struct record_queue *queue)
{
	memset(queue, 0, sizeof(*queue));
	spin_lock_init(&queue->lock);
}

/**
 * record_queue_allocate() - allocate the ring
 * @queue: initialised, without a ring; nobody else uses it yet
 * @bytes: how many bytes of records may wait for the reader
 *
 * The memory is charged to the caller. The queue never allocates more.
 *
 * Context: Process context. May sleep.
 * Return: 0, or -ENOMEM.
 */
int record_queue_allocate(struct record_queue *queue, u32 bytes)
{
	queue->size = round_down(bytes, RECORD_ALIGNMENT);
	queue->ring = kvmalloc(queue->size, GFP_KERNEL_ACCOUNT);
	return queue->ring ? 0 : -ENOMEM;
}

/**
 * record_queue_release() - free the ring and all records in it
 * @queue: neither callbacks nor readers use it any more
 *
 * Context: Process context. May sleep.
 */
void record_queue_release(struct record_queue *queue)
{
	kvfree(queue->ring);
	record_queue_init(queue);
}

bool record_queue_readable(struct record_queue *queue)
{
	bool readable;

	spin_lock(&queue->lock);
	readable = queue->used || queue->loss_ahead.records ||
		   queue->loss_behind.records;
	spin_unlock(&queue->lock);
	return readable;
}

static u32 ring_offset(const struct record_queue *queue, u32 from, u32 bytes)
{
	u32 until_end = queue->size - from;

	return bytes < until_end ? from + bytes : bytes - until_end;
}

static void ring_write(struct record_queue *queue, u32 at, const void *data,
		       u32 length)
{
	u32 first = min(length, queue->size - at);

	memcpy(queue->ring + at, data, first);
	memcpy(queue->ring, data + first, length - first);
}

static void ring_read(const struct record_queue *queue, u32 at, void *data,
		      u32 length)
{
	u32 first = min(length, queue->size - at);

	memcpy(data, queue->ring + at, first);
	memcpy(data + first, queue->ring, length - first);
}

/* Copy all @length bytes, or none. Return whether they were copied. */
static bool ring_copy_to_iter(const struct record_queue *queue, u32 at,
			      u32 length, struct iov_iter *to)
{
	u32 first = min(length, queue->size - at);
	size_t copied = copy_to_iter(queue->ring + at, first, to);

	if (copied == first)
		copied += copy_to_iter(queue->ring, length - first, to);
	if (copied == length)
		return true;
	iov_iter_revert(to, copied);
	return false;
}

static struct overflow_record describe_loss(const struct record_loss *loss)
{
	return (struct overflow_record) {
		.header = {
			.length = sizeof(struct overflow_record),
			.kind = KCGCS_DEVICE_OVERFLOW,
			.time_ns = loss->time_ns,
		},
		.body = {
			.records = loss->records,
			.views = loss->views,
		},
	};
}

/**
 * record_begin() - make room for a record
 * @queue: the queue
 * @writer: filled in if there is room
 * @kind: an enum kcgcs_device_record_kind
 * @body_length: bytes that the caller will give to record_append() in all
 *
 * If records were lost before this one, there must be room for the overflow
 * record too, which comes first.
 *
 * Return: whether there is room. If there is none, the record is counted as lost.
 */
bool record_begin(struct record_queue *queue, struct record_writer *writer,
		  u32 kind, u32 body_length)
{
	struct kcgcs_device_record header = {
		.length = sizeof(header) + body_length,
		.kind = kind,
		.time_ns = ktime_get_ns(),
	};
	u32 needed = ALIGN(header.length, RECORD_ALIGNMENT);
	struct record_loss loss;
	bool fits;

	spin_lock(&queue->lock);
	loss = queue->loss_behind;
	if (loss.records)
		needed += sizeof(struct overflow_record);
	fits = needed <= queue->size - queue->used;
	if (fits) {
		queue->loss_behind = (struct record_loss) {};
	} else {
		if (!loss.records)
			queue->loss_behind.time_ns = header.time_ns;
		queue->loss_behind.records++;
		if (kind == KCGCS_DEVICE_VIEW)
			queue->loss_behind.views++;
	}
	/* The reader changes head and used together, so their sum stays the same. */
	writer->at = ring_offset(queue, queue->head, queue->used);
	spin_unlock(&queue->lock);
	if (!fits)
		return false;

	writer->queue = queue;
	writer->total = needed;
	if (loss.records) {
		struct overflow_record overflow = describe_loss(&loss);

		record_append(writer, &overflow, sizeof(overflow));
	}
	record_append(writer, &header, sizeof(header));
	return true;
}

void record_append(struct record_writer *writer, const void *data, u32 length)
{
	if (!length)
		return;
	ring_write(writer->queue, writer->at, data, length);
	writer->at = ring_offset(writer->queue, writer->at, length);
}

/**
 * record_commit() - make the record visible to the reader
 * @writer: the writer, after the whole body was appended
 */
void record_commit(struct record_writer *writer)
{
	static const u8 zeroes[RECORD_ALIGNMENT];
	struct record_queue *queue = writer->queue;

	record_append(writer, zeroes,
		      round_up(writer->at, RECORD_ALIGNMENT) - writer->at);
	spin_lock(&queue->lock);
	queue->used += writer->total;
	spin_unlock(&queue->lock);
}

/*
 * Write into the view at the head which of its members the reader is. The view
 * callback cannot do that if the node has no address for the member any more.
 */
static void complete_view(struct record_queue *queue,
			  const struct kcgcs_member *self)
{
	u32 body = ring_offset(queue, queue->head,
			       sizeof(struct kcgcs_device_record));
	u32 members = ring_offset(queue, body, sizeof(struct kcgcs_device_view));
	struct kcgcs_device_member member;
	struct kcgcs_device_view view;
	u32 i;

	ring_read(queue, body, &view, sizeof(view));
	for (i = 0; i < view.member_count; i++) {
		ring_read(queue,
			  ring_offset(queue, members, i * sizeof(member)),
			  &member, sizeof(member));
		if (member.node != self->node ||
		    member.endpoint != self->endpoint)
			continue;
		view.self = member;
		ring_write(queue, body, &view, sizeof(view));
		return;
	}
}

static int read_loss(struct record_queue *queue, struct iov_iter *to)
{
	struct overflow_record overflow = describe_loss(&queue->loss_ahead);
	size_t copied;

	if (iov_iter_count(to) < sizeof(overflow))
		return -EINVAL;
	copied = copy_to_iter(&overflow, sizeof(overflow), to);
	if (copied != sizeof(overflow)) {
		iov_iter_revert(to, copied);
		return -EFAULT;
	}
	spin_lock(&queue->lock);
	queue->loss_ahead = (struct record_loss) {};
	spin_unlock(&queue->lock);
	return sizeof(overflow);
}

static int read_head(struct record_queue *queue, struct iov_iter *to,
		     const struct kcgcs_member *self)
{
	struct kcgcs_device_record header;
	u32 padded;

	ring_read(queue, queue->head, &header, sizeof(header));
	padded = ALIGN(header.length, RECORD_ALIGNMENT);
	if (iov_iter_count(to) < padded)
		return -EINVAL;
	if (header.kind == KCGCS_DEVICE_VIEW)
		complete_view(queue, self);
	if (!ring_copy_to_iter(queue, queue->head, padded, to))
		return -EFAULT;
	spin_lock(&queue->lock);
	queue->head = ring_offset(queue, queue->head, padded);
	queue->used -= padded;
	spin_unlock(&queue->lock);
	return padded;
}

/**
 * record_queue_read() - copy whole records to the reader, as many as fit
 * @queue: the queue; the caller keeps other readers away
 * @to: where to copy them
 * @self: the reader's address, for views; node 0 if it is not known
 *
 * A record leaves the queue only after all of it was copied.
 *
 * Context: Process context. May sleep.
 * Return: the number of bytes copied, 0 if there was no record, -EINVAL if the
 * first record does not fit, or -EFAULT.
 */
ssize_t record_queue_read(struct record_queue *queue, struct iov_iter *to,
			  const struct kcgcs_member *self)
{
	ssize_t done = 0;
	u32 used;
	int ret;

	for (;;) {
		spin_lock(&queue->lock);
		used = queue->used;
		if (!used && !queue->loss_ahead.records) {
			queue->loss_ahead = queue->loss_behind;
			queue->loss_behind = (struct record_loss) {};
		}
		spin_unlock(&queue->lock);

		if (queue->loss_ahead.records)
			ret = read_loss(queue, to);
		else if (used)
			ret = read_head(queue, to, self);
		else
			return done;
		if (ret < 0)
			return done ?: ret;
		done += ret;
	}
}
