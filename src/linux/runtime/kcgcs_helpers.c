// SPDX-License-Identifier: GPL-2.0
/* Functions of the kernel that are inline or macros, for Rust to call. */
#include <linux/notifier.h>
#include <linux/sched/mm.h>
#include <linux/spinlock.h>

#include "kcgcs_internal.h"

void kcgcs_spin_lock_bh(struct spinlock *lock)
{
	spin_lock_bh(lock);
}

int kcgcs_spin_trylock_bh(struct spinlock *lock)
{
	return spin_trylock_bh(lock);
}

void kcgcs_spin_unlock_bh(struct spinlock *lock)
{
	spin_unlock_bh(lock);
}

void kcgcs_init_notifier_chain(struct blocking_notifier_head *head)
{
	BLOCKING_INIT_NOTIFIER_HEAD(head);
}

unsigned int kcgcs_no_io_begin(void)
{
	return memalloc_noio_save();
}

void kcgcs_no_io_end(unsigned int before)
{
	memalloc_noio_restore(before);
}
