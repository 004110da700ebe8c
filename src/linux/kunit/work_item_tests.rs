// SPDX-License-Identifier: GPL-2.0

//! When a work item runs, and that it is gone when it was cancelled, disabled or dropped.

use super::becomes_true;
use crate::linux::runtime::work_item::{
    Work,
    WorkItem,
    WorkQueue, //
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// A work item, and counters of what its function has done.
#[pin_data]
struct Job {
    #[pin]
    work: WorkItem,
    began: Atomic<u32>,
    ended: Atomic<u32>,
    /// While not 0, the function does not return.
    is_held: Atomic<u32>,
    /// How long the function sleeps before it returns.
    sleeps_ms: i64,
}

impl Job {
    fn new(sleeps_ms: i64) -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(&this in Self {
                // SAFETY: `this` is pinned; the item is its first field, and so dropped first.
                work <- unsafe {
                    WorkItem::new::<Self, 0>(this, c"kcgcs test", static_lock_class!())
                },
                began: Atomic::new(0),
                ended: Atomic::new(0),
                is_held: Atomic::new(0),
                sleeps_ms,
            }),
            GFP_KERNEL,
        )
    }

    fn began(&self) -> u32 {
        self.began.load(Relaxed)
    }

    fn ended(&self) -> u32 {
        self.ended.load(Relaxed)
    }
}

impl Work for Job {
    fn run(&self) {
        self.began.fetch_add(1, Relaxed);
        while self.is_held.load(Relaxed) != 0 {
            fsleep(Delta::from_millis(1));
        }
        fsleep(Delta::from_millis(self.sleeps_ms));
        self.ended.fetch_add(1, Relaxed);
    }
}

#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_work_item))]
mod tests {
    use super::*;

    #[test]
    fn it_runs_each_time_it_is_queued_when_idle() -> Result {
        let queue = WorkQueue::new(c"kcgcs-test", true)?;
        let job = Job::new(0)?;
        for round in 1..=5 {
            job.work.enqueue(&queue);
            assert!(becomes_true(|| job.ended() == round));
        }
        Ok(())
    }

    #[test]
    fn queueing_while_it_runs_lets_it_run_once_more() -> Result {
        let queue = WorkQueue::new(c"kcgcs-test", false)?;
        let job = Job::new(0)?;
        job.is_held.store(1, Relaxed);
        job.work.enqueue(&queue);
        assert!(becomes_true(|| job.began() == 1));
        for _ in 0..10 {
            job.work.enqueue(&queue);
        }
        job.is_held.store(0, Relaxed);
        // Destroying the queue waits for all that is on it.
        drop(queue);
        assert_eq!(job.ended(), 2);
        Ok(())
    }

    #[test]
    fn cancelling_waits_for_the_running_function() -> Result {
        let queue = WorkQueue::new(c"kcgcs-test", false)?;
        let job = Job::new(20)?;
        job.work.enqueue(&queue);
        assert!(becomes_true(|| job.began() == 1));
        job.work.cancel();
        assert_eq!(job.ended(), 1);
        Ok(())
    }

    #[test]
    fn a_disabled_item_does_not_run_any_more() -> Result {
        let queue = WorkQueue::new(c"kcgcs-test", false)?;
        let job = Job::new(20)?;
        job.work.enqueue(&queue);
        assert!(becomes_true(|| job.began() == 1));
        job.work.disable();
        assert_eq!(job.ended(), 1);
        job.work.enqueue(&queue);
        // Destroying the queue waits for all that is on it.
        drop(queue);
        assert_eq!(job.began(), 1);
        Ok(())
    }

    #[test]
    fn dropping_waits_for_the_running_function() -> Result {
        // The kernel's object and memory checks would find what is left.
        let queue = WorkQueue::new(c"kcgcs-test", false)?;
        let job = Job::new(20)?;
        job.work.enqueue(&queue);
        assert!(becomes_true(|| job.began() == 1));
        drop(job);
        Ok(())
    }
}
