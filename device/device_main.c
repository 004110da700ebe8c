// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/kcgcs: a process as a member of a group.
 *
 * Each open file can be one member. The format is in uapi/kcgcs_device.h:
 *
 *   open()   remembers the network namespace of its caller
 *   ioctl()  KCGCS_DEVICE_JOIN joins a group in that namespace,
 *            KCGCS_DEVICE_SELF returns the member's own address
 *   write()  multicasts one message, in agreed order. It waits while the window
 *            is full, or fails with EAGAIN if O_NONBLOCK is set
 *   read()   returns whole records, as many as fit, each padded to a multiple
 *            of 8 bytes; 0 when the node is gone and all records were read
 *   poll()   reports when these would not wait; EPOLLERR before the join,
 *            EPOLLHUP when the node is gone
 *   close()  leaves the group when the last descriptor of the open file is
 *            closed and no call on it is running. First it sends what write()
 *            has accepted, for 5 seconds at most
 *
 * Records wait in a ring of fixed size (record_queue.h). A record that does not
 * fit because the reader is slow is lost, and an overflow record takes its
 * place. Such a reader has missed messages that the other members have. To be
 * consistent with them again, it closes the file and joins anew.
 *
 * The namespace is held from open() to the join only. An open file does not
 * keep a namespace alive whose last process is gone.
 *
 * Locking: join_lock serialises joins, read_lock serialises readers. Callbacks
 * take spinlocks only, and close() holds no lock while it leaves. So leaving
 * never waits for a callback that waits for it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/nsproxy.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/wait.h>
#include <net/net_namespace.h>

#include <kcgcs.h>
#include <uapi/kcgcs_device.h>

#include "record_queue.h"

#define QUEUE_BYTES_DEFAULT	(1024 * 1024)
#define QUEUE_BYTES_MIN		4096
#define QUEUE_BYTES_MAX		(64 * 1024 * 1024)

/* A member is copied to user space as it is. */
static_assert(sizeof(struct kcgcs_member) ==
	      sizeof(struct kcgcs_device_member));
static_assert(offsetof(struct kcgcs_member, endpoint) ==
	      offsetof(struct kcgcs_device_member, endpoint));
static_assert(offsetof(struct kcgcs_member, node) ==
	      offsetof(struct kcgcs_device_member, node));
static_assert(offsetof(struct kcgcs_member, slot) ==
	      offsetof(struct kcgcs_device_member, slot));
static_assert(KCGCS_GROUP_NAME_MAX ==
	      sizeof_field(struct kcgcs_device_join, name));

/**
 * struct device_file - one open file
 * @join_lock: serialises joins; guards @net
 * @net: the namespace to join in; NULL after the join
 * @group: the membership; set once, see device_group()
 * @read_lock: serialises readers
 * @queue: records that wait for the reader
 * @read_wait: readers that wait for a record
 * @write_wait: writers that wait for room in the window
 * @lock: guards all following fields, and writes of @group
 * @room_count: how often there may have been new room in the window
 * @full_count: the value of @room_count when the window was last found full
 * @is_out: whether the last view had no members, or there was no view yet
 * @gone: whether the node has stopped; no record follows
 * @self: the member's own address as known last
 */
struct device_file {
	struct mutex join_lock; /* serialises joins */
	struct net *net;
	struct kcgcs_group *group;
	struct mutex read_lock; /* serialises readers */
	struct record_queue queue;
	wait_queue_head_t read_wait;
	wait_queue_head_t write_wait;
	spinlock_t lock; /* guards all following fields */
	u64 room_count;
	u64 full_count;
	bool is_out;
	bool gone;
	struct kcgcs_member self;
};

/* The membership, or NULL before the join. */
static struct kcgcs_group *device_group(struct device_file *file)
{
	/* Pairs with device_join(): a reader that sees the group sees the queue's ring. */
	return smp_load_acquire(&file->group);
}

static bool device_gone(struct device_file *file)
{
	guard(spinlock)(&file->lock);
	return file->gone;
}

static bool device_readable(struct device_file *file)
{
	return record_queue_readable(&file->queue) || device_gone(file);
}

static bool device_writable(struct device_file *file)
{
	guard(spinlock)(&file->lock);
	return file->full_count < file->room_count;
}

static u64 device_room_count(struct device_file *file)
{
	guard(spinlock)(&file->lock);
	return file->room_count;
}

/* @room_count is from before the call that found the window full. If it has
 * grown since then, there is room again already.
 */
static void device_note_full(struct device_file *file, u64 room_count)
{
	guard(spinlock)(&file->lock);
	file->full_count = max(file->full_count, room_count);
}

static void device_note_room(struct device_file *file)
{
	scoped_guard(spinlock, &file->lock)
		file->room_count++;
	wake_up_interruptible_poll(&file->write_wait, EPOLLOUT | EPOLLWRNORM);
}

/* Look up the member's own address, and notice that the node is gone. The node
 * counts as gone only after the view without members.
 */
static void device_learn_self(struct device_file *file,
			      struct kcgcs_group *group)
{
	struct kcgcs_member self;
	int ret;

	ret = kcgcs_self(group, &self);
	guard(spinlock)(&file->lock);
	if (!ret)
		file->self = self;
	else if (ret == -ESHUTDOWN && file->is_out)
		file->gone = true;
}

static void device_wake_reader(struct device_file *file)
{
	wake_up_interruptible_poll(&file->read_wait, EPOLLIN | EPOLLRDNORM);
}

static void device_view(struct kcgcs_group *group, void *context,
			const struct kcgcs_view *view)
{
	struct kcgcs_device_view body = {
		.number = view->number,
		.cluster_view = view->cluster_view,
		.coordinator = view->coordinator,
		.primary = view->primary,
		.end = view->end,
		.lost = min(view->lost, U32_MAX),
		.member_count = view->member_count,
		.joined_count = view->joined_count,
		.left_count = view->left_count,
		.transitional_count = view->transitional_count,
	};
	const u32 member = sizeof(struct kcgcs_device_member);
	u32 length = sizeof(body) +
		     view->left_count * sizeof(struct kcgcs_device_change) +
		     member * (view->member_count + view->joined_count +
			       view->transitional_count);
	struct device_file *file = context;
	struct record_writer writer;
	u16 i;

	if (record_begin(&file->queue, &writer, KCGCS_DEVICE_VIEW, length)) {
		record_append(&writer, &body, sizeof(body));
		record_append(&writer, view->members,
			      member * view->member_count);
		record_append(&writer, view->joined,
			      member * view->joined_count);
		for (i = 0; i < view->left_count; i++) {
			u64 reason = view->left[i].reason;

			record_append(&writer, &view->left[i].member, member);
			record_append(&writer, &reason, sizeof(reason));
		}
		record_append(&writer, view->transitional,
			      member * view->transitional_count);
		record_commit(&writer);
	}
	scoped_guard(spinlock, &file->lock)
		file->is_out = !view->member_count;
	device_learn_self(file, group);
	device_wake_reader(file);
	/* Let a waiting writer find out whether it may still send. */
	device_note_room(file);
}

static void device_deliver(struct kcgcs_group *group, void *context,
			   const struct kcgcs_message *message)
{
	struct kcgcs_device_message body = {
		.sender = {
			.incarnation = message->sender.incarnation,
			.endpoint = message->sender.endpoint,
			.node = message->sender.node,
			.slot = message->sender.slot,
		},
		.sequence = message->sequence,
		.view = message->view,
		.order = message->order,
		.payload_length = message->length,
	};
	struct device_file *file = context;
	struct record_writer writer;

	if (record_begin(&file->queue, &writer, KCGCS_DEVICE_MESSAGE,
			 sizeof(body) + message->length)) {
		record_append(&writer, &body, sizeof(body));
		record_append(&writer, message->data, message->length);
		record_commit(&writer);
	}
	device_wake_reader(file);
}

static void device_plain_record(struct device_file *file, u32 kind)
{
	struct record_writer writer;

	if (record_begin(&file->queue, &writer, kind, 0))
		record_commit(&writer);
	device_wake_reader(file);
}

static void device_block(struct kcgcs_group *group, void *context)
{
	device_plain_record(context, KCGCS_DEVICE_BLOCK);
}

static void device_room(struct kcgcs_group *group, void *context)
{
	device_plain_record(context, KCGCS_DEVICE_WRITABLE);
	device_note_room(context);
}

static const struct kcgcs_group_ops device_group_ops = {
	.size = sizeof(device_group_ops),
	.owner = THIS_MODULE,
	.view = device_view,
	.deliver = device_deliver,
	.block = device_block,
	.writable = device_room,
};

static int device_open(struct inode *inode, struct file *filp)
{
	struct device_file *file = kzalloc(sizeof(*file), GFP_KERNEL_ACCOUNT);

	if (!file)
		return -ENOMEM;
	mutex_init(&file->join_lock);
	mutex_init(&file->read_lock);
	spin_lock_init(&file->lock);
	init_waitqueue_head(&file->read_wait);
	init_waitqueue_head(&file->write_wait);
	record_queue_init(&file->queue);
	file->room_count = 1;
	file->is_out = true;
	file->net = get_net(current->nsproxy->net_ns);
	filp->private_data = file;
	return stream_open(inode, filp);
}

static int device_release(struct inode *inode, struct file *filp)
{
	struct device_file *file = filp->private_data;

	if (file->group) {
		u64 lost = 0;
		int ret = kcgcs_leave_flags(file->group, 0, 0, &lost);

		/* Not called from a callback, so it cannot be refused. */
		WARN_ON(ret == -EDEADLK || ret == -EINVAL);
		if (lost)
			pr_warn_ratelimited("a closed member of a group has lost %llu messages that it had written: %d\n",
					    lost, ret);
	}
	if (file->net)
		put_net(file->net);
	record_queue_release(&file->queue);
	kfree(file);
	return 0;
}

static int device_join(struct device_file *file,
		       const struct kcgcs_device_join __user *argument)
{
	char name[KCGCS_GROUP_NAME_MAX + 1] = {};
	struct kcgcs_device_join join;
	struct kcgcs_group *group;
	int ret;

	if (copy_from_user(&join, argument, sizeof(join)))
		return -EFAULT;
	if (!join.length || join.length > sizeof(join.name) ||
	    memchr(join.name, '\0', join.length))
		return -EINVAL;
	if (!join.queue_bytes)
		join.queue_bytes = QUEUE_BYTES_DEFAULT;
	if (join.queue_bytes < QUEUE_BYTES_MIN ||
	    join.queue_bytes > QUEUE_BYTES_MAX)
		return -EINVAL;
	memcpy(name, join.name, join.length);

	ret = mutex_lock_interruptible(&file->join_lock);
	if (ret)
		return ret;
	if (file->group) {
		ret = -EISCONN;
		goto unlock;
	}
	ret = record_queue_allocate(&file->queue, join.queue_bytes);
	if (ret)
		goto unlock;
	group = kcgcs_join(file->net, name, &device_group_ops, file);
	if (IS_ERR(group)) {
		ret = PTR_ERR(group);
		record_queue_release(&file->queue);
		goto unlock;
	}
	scoped_guard(spinlock, &file->lock) {
		/* Pairs with device_group(). */
		smp_store_release(&file->group, group);
	}
	put_net(file->net);
	file->net = NULL;
	device_wake_reader(file);
	device_note_room(file);
unlock:
	mutex_unlock(&file->join_lock);
	return ret;
}

static int device_self(struct device_file *file,
		       struct kcgcs_device_member __user *argument)
{
	struct kcgcs_group *group = device_group(file);
	struct kcgcs_member self = {};
	int ret;

	if (!group)
		return -ENOTCONN;
	ret = kcgcs_self(group, &self);
	if (ret)
		return ret;
	return copy_to_user(argument, &self, sizeof(self)) ? -EFAULT : 0;
}

static long device_ioctl(struct file *filp, unsigned int command,
			 unsigned long argument)
{
	struct device_file *file = filp->private_data;

	switch (command) {
	case KCGCS_DEVICE_JOIN:
		return device_join(file, (void __user *)argument);
	case KCGCS_DEVICE_SELF:
		return device_self(file, (void __user *)argument);
	default:
		return -ENOTTY;
	}
}

static bool device_may_wait(const struct kiocb *iocb)
{
	return !(iocb->ki_filp->f_flags & O_NONBLOCK) &&
	       !(iocb->ki_flags & IOCB_NOWAIT);
}

/* Read without waiting: the number of bytes, 0 if there is no record, or an error. */
static ssize_t device_read_now(struct device_file *file, struct iov_iter *to)
{
	struct kcgcs_member self;
	ssize_t ret;

	ret = mutex_lock_interruptible(&file->read_lock);
	if (ret)
		return ret;
	scoped_guard(spinlock, &file->lock)
		self = file->self;
	if (!self.node) {
		device_learn_self(file, device_group(file));
		scoped_guard(spinlock, &file->lock)
			self = file->self;
	}
	ret = record_queue_read(&file->queue, to, &self);
	mutex_unlock(&file->read_lock);
	return ret;
}

static ssize_t device_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct device_file *file = iocb->ki_filp->private_data;
	bool gone;
	ssize_t ret;

	if (!device_group(file))
		return -ENOTCONN;
	if (!iov_iter_count(to))
		return 0;
	for (;;) {
		/* Look before reading: no record follows once this is set. */
		gone = device_gone(file);
		ret = device_read_now(file, to);
		if (ret || gone)
			return ret;
		if (!device_may_wait(iocb))
			return -EAGAIN;
		ret = wait_event_interruptible(file->read_wait,
					       device_readable(file));
		if (ret)
			return ret;
	}
}

static ssize_t device_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct device_file *file = iocb->ki_filp->private_data;
	struct kcgcs_group *group = device_group(file);
	size_t length = iov_iter_count(from);
	u64 room_count;
	void *data;
	int ret;

	if (!group)
		return -ENOTCONN;
	if (length > KCGCS_MESSAGE_MAX)
		return -EMSGSIZE;
	data = kvmalloc(length, GFP_KERNEL_ACCOUNT);
	if (!data)
		return -ENOMEM;
	if (!copy_from_iter_full(data, length, from)) {
		ret = -EFAULT;
		goto free;
	}
	for (;;) {
		room_count = device_room_count(file);
		ret = kcgcs_multicast(group, data, length, KCGCS_AGREED,
				      GFP_KERNEL);
		if (ret != -EAGAIN)
			break;
		device_note_full(file, room_count);
		if (!device_may_wait(iocb))
			break;
		ret = wait_event_interruptible(file->write_wait,
					       device_writable(file));
		if (ret)
			break;
	}
free:
	kvfree(data);
	return ret ?: length;
}

static __poll_t device_poll(struct file *filp, poll_table *table)
{
	struct device_file *file = filp->private_data;
	__poll_t events = 0;

	poll_wait(filp, &file->read_wait, table);
	poll_wait(filp, &file->write_wait, table);
	if (!device_group(file))
		return EPOLLERR;
	if (device_gone(file))
		return EPOLLHUP | EPOLLIN | EPOLLRDNORM | EPOLLOUT |
		       EPOLLWRNORM;
	if (device_readable(file))
		events |= EPOLLIN | EPOLLRDNORM;
	if (device_writable(file))
		events |= EPOLLOUT | EPOLLWRNORM;
	return events;
}

static const struct file_operations device_operations = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.read_iter = device_read_iter,
	.write_iter = device_write_iter,
	.poll = device_poll,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice device_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kcgcs",
	.fops = &device_operations,
	.mode = 0600,
};
module_misc_device(device_misc);

MODULE_DESCRIPTION("KCGCS: /dev/kcgcs, processes as members of groups");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("KCGCS");
