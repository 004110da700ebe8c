// SPDX-License-Identifier: GPL-2.0
/*
 * Members of groups that the bench drives: many in one kernel, one in each
 * network namespace, with all times from one clock.  They log nothing.
 *
 * The files are in kcgcs_bench of debugfs, since parameters of a module can
 * only be written one at a time.  Each write acts in the writer's network
 * namespace:
 *
 *   echo GROUP >join		become a member
 *   echo >leave		end the membership
 *   echo COUNT BYTES >send	multicast as fast as the window allows; returns
 *				when the last message was accepted
 *   echo BYTES >ping		multicast one message; returns when it was
 *				delivered to every member here
 *
 * and for all of them together:
 *
 *   echo >reset		set the counters to zero
 *   cat status			members, messages delivered to them, and when
 *   cat latency		of the last ping, in nanoseconds: until it was
 *				delivered to its sender, and to the last member
 *
 * A member must leave before its namespace goes.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/nsproxy.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <net/net_namespace.h>

#include <kcgcs.h>

#define PING_LIMIT	(60 * HZ)
#define TEXT_BYTES	128

/**
 * struct bench_member - the member of one namespace
 * @list: in bench_members
 * @net: its namespace; compared, never followed
 * @group: the membership
 * @room: completed when there may be room in the window again
 * @view_members: number of members of its last view
 * @given: number of messages delivered to it since the last reset
 */
struct bench_member {
	struct list_head list;
	struct net *net;
	struct kcgcs_group *group;
	struct completion room;
	unsigned int view_members;
	atomic_long_t given;
};

static LIST_HEAD(bench_members);
/* Held for reading to use the list or to send, for writing to change the list. */
static DECLARE_RWSEM(bench_members_lock);
static atomic64_t first_sent_ns;
static atomic64_t last_given_ns;

/* The message of the ping that is under way. */
static DEFINE_MUTEX(ping_lock);
static struct bench_member *ping_sender;
static atomic_t ping_missing;
static ktime_t ping_at_sender;
static ktime_t ping_at_last;
static DECLARE_COMPLETION(ping_done);
static u64 ping_sender_ns;
static u64 ping_last_ns;

static void bench_view(struct kcgcs_group *group, void *context,
		       const struct kcgcs_view *view)
{
	struct bench_member *member = context;

	WRITE_ONCE(member->view_members, view->member_count);
}

static void bench_deliver(struct kcgcs_group *group, void *context,
			  const struct kcgcs_message *message)
{
	struct bench_member *member = context;
	ktime_t now = ktime_get();

	atomic_long_inc(&member->given);
	atomic64_set(&last_given_ns, ktime_to_ns(now));
	if (!READ_ONCE(ping_sender))
		return;
	if (member == READ_ONCE(ping_sender))
		ping_at_sender = now;
	if (atomic_dec_and_test(&ping_missing)) {
		ping_at_last = now;
		complete(&ping_done);
	}
}

static void bench_writable(struct kcgcs_group *group, void *context)
{
	struct bench_member *member = context;

	complete(&member->room);
}

static const struct kcgcs_group_ops bench_ops = {
	.size = sizeof(bench_ops),
	.owner = THIS_MODULE,
	.view = bench_view,
	.deliver = bench_deliver,
	.writable = bench_writable,
};

/* The caller holds bench_members_lock. */
static struct bench_member *bench_member_here(void)
{
	struct bench_member *member;

	list_for_each_entry(member, &bench_members, list)
		if (member->net == current->nsproxy->net_ns)
			return member;
	return NULL;
}

static int bench_join(const char *value)
{
	char name[KCGCS_GROUP_NAME_MAX + 1];
	struct bench_member *member;

	strscpy(name, value);
	guard(rwsem_write)(&bench_members_lock);
	if (bench_member_here())
		return -EEXIST;
	member = kzalloc_obj(*member);
	if (!member)
		return -ENOMEM;
	member->net = current->nsproxy->net_ns;
	init_completion(&member->room);
	member->group = kcgcs_join(member->net, name, &bench_ops, member);
	if (IS_ERR(member->group)) {
		int ret = PTR_ERR(member->group);

		kfree(member);
		return ret;
	}
	list_add_tail(&member->list, &bench_members);
	return 0;
}

static int bench_leave(const char *value)
{
	struct bench_member *member;

	guard(rwsem_write)(&bench_members_lock);
	member = bench_member_here();
	if (!member)
		return -ENOTCONN;
	kcgcs_leave(member->group);
	list_del(&member->list);
	kfree(member);
	return 0;
}

/* Waits while the window is full. */
static int bench_multicast(struct bench_member *member, const void *data,
			   unsigned int bytes)
{
	int ret;

	for (;;) {
		reinit_completion(&member->room);
		ret = kcgcs_multicast(member->group, data, bytes, KCGCS_AGREED,
				      GFP_KERNEL);
		if (ret != -EAGAIN)
			return ret;
		ret = wait_for_completion_interruptible(&member->room);
		if (ret)
			return ret;
	}
}

static int bench_send(const char *value)
{
	struct bench_member *member;
	unsigned int count;
	unsigned int bytes;
	void *data;
	int ret = 0;

	if (sscanf(value, "%u %u", &count, &bytes) != 2 ||
	    bytes > KCGCS_MESSAGE_MAX)
		return -EINVAL;
	guard(rwsem_read)(&bench_members_lock);
	member = bench_member_here();
	if (!member)
		return -ENOTCONN;
	data = kvzalloc(bytes, GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	atomic64_cmpxchg(&first_sent_ns, 0, ktime_get_ns());
	while (count-- && !ret)
		ret = bench_multicast(member, data, bytes);
	kvfree(data);
	return ret;
}

static int bench_ping(const char *value)
{
	struct bench_member *member;
	unsigned int bytes;
	ktime_t start;
	void *data;
	int ret = kstrtouint(value, 10, &bytes);

	if (ret)
		return ret;
	if (bytes > KCGCS_MESSAGE_MAX)
		return -EINVAL;
	guard(mutex)(&ping_lock);
	guard(rwsem_read)(&bench_members_lock);
	member = bench_member_here();
	if (!member)
		return -ENOTCONN;
	data = kvzalloc(bytes, GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	atomic_set(&ping_missing, list_count_nodes(&bench_members));
	reinit_completion(&ping_done);
	WRITE_ONCE(ping_sender, member);
	start = ktime_get();
	ret = bench_multicast(member, data, bytes);
	if (!ret && !wait_for_completion_timeout(&ping_done, PING_LIMIT))
		ret = -ETIMEDOUT;
	WRITE_ONCE(ping_sender, NULL);
	kvfree(data);
	if (!ret) {
		ping_sender_ns = ktime_to_ns(ktime_sub(ping_at_sender, start));
		ping_last_ns = ktime_to_ns(ktime_sub(ping_at_last, start));
	}
	return ret;
}

static int bench_reset(const char *value)
{
	struct bench_member *member;

	guard(rwsem_read)(&bench_members_lock);
	list_for_each_entry(member, &bench_members, list)
		atomic_long_set(&member->given, 0);
	atomic64_set(&first_sent_ns, 0);
	atomic64_set(&last_given_ns, 0);
	return 0;
}

static int bench_status(char *text)
{
	unsigned int view_members = UINT_MAX;
	struct bench_member *member;
	unsigned int members = 0;
	long given = LONG_MAX;

	guard(rwsem_read)(&bench_members_lock);
	list_for_each_entry(member, &bench_members, list) {
		members++;
		view_members = min(view_members, READ_ONCE(member->view_members));
		given = min(given, atomic_long_read(&member->given));
	}
	return scnprintf(text, TEXT_BYTES,
			 "members=%u view_members=%u given=%ld first_sent_ns=%lld last_given_ns=%lld\n",
			  members, members ? view_members : 0,
			  members ? given : 0, atomic64_read(&first_sent_ns),
			  atomic64_read(&last_given_ns));
}

static int bench_latency(char *text)
{
	guard(mutex)(&ping_lock);
	return scnprintf(text, TEXT_BYTES, "sender_ns=%llu last_ns=%llu\n",
			  ping_sender_ns, ping_last_ns);
}

/**
 * struct bench_file - a file and its functions
 * @name: its name
 * @write: carries out a command, a string; returns 0 or an error
 * @read: writes at most TEXT_BYTES of text; returns its length
 */
struct bench_file {
	const char *name;
	int (*write)(const char *value);
	int (*read)(char *text);
};

static const struct bench_file bench_files[] = {
	{ .name = "join", .write = bench_join },
	{ .name = "leave", .write = bench_leave },
	{ .name = "send", .write = bench_send },
	{ .name = "ping", .write = bench_ping },
	{ .name = "reset", .write = bench_reset },
	{ .name = "status", .read = bench_status },
	{ .name = "latency", .read = bench_latency },
};

static ssize_t bench_file_write(struct file *file, const char __user *data,
				size_t length, loff_t *position)
{
	const struct bench_file *this = file->private_data;
	char text[TEXT_BYTES];
	int ret;

	if (!this->write || length >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, data, length))
		return -EFAULT;
	text[length] = '\0';
	ret = this->write(strim(text));
	return ret ?: length;
}

static ssize_t bench_file_read(struct file *file, char __user *data,
			       size_t length, loff_t *position)
{
	const struct bench_file *this = file->private_data;
	char text[TEXT_BYTES];

	if (!this->read)
		return -EINVAL;
	return simple_read_from_buffer(data, length, position, text,
				       this->read(text));
}

static const struct file_operations bench_file_ops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = bench_file_write,
	.read = bench_file_read,
};

static struct dentry *bench_folder;

static int __init bench_init(void)
{
	unsigned int i;

	bench_folder = debugfs_create_dir("kcgcs_bench", NULL);
	for (i = 0; i < ARRAY_SIZE(bench_files); i++)
		debugfs_create_file(bench_files[i].name, 0600, bench_folder,
				    (void *)&bench_files[i], &bench_file_ops);
	return 0;
}

/* Runs only after all members have left. */
static void __exit bench_exit(void)
{
	debugfs_remove(bench_folder);
}

module_init(bench_init);
module_exit(bench_exit);

MODULE_DESCRIPTION("KCGCS: members of groups for the bench");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("KCGCS");
