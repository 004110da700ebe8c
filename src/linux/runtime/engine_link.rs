// SPDX-License-Identifier: GPL-2.0

//! What the surroundings of an engine share with it: they wake it, and it announces whether the node has a
//! quorum and whether the node has left.
//!
//! The handles of a node and its bottom half hold the link instead of the engine. The engine is built on them.

use super::{
    deadline_timer::DeadlineTimer,
    work_item::{
        Work,
        WorkItem,
        WorkQueue, //
    }, //
};
use crate::protocol::time::Instant;
use core::ptr::NonNull;
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Completion, //
    }, //
};

/// The link between an engine and its surroundings.
#[pin_data]
pub(crate) struct EngineLink {
    // The timer and the work item come before what they use, so that they end before it is dropped.
    #[pin]
    timer: DeadlineTimer<EngineLink>,
    #[pin]
    work: WorkItem,
    queue: WorkQueue,
    /// Whether the node has a quorum, as the engine found it after its last input.
    quorum: Atomic<bool>,
    #[pin]
    left: Completion,
}

impl EngineLink {
    /// Make a link to the engine that `owner` runs in its method `Work::<ID>::run`.
    ///
    /// Context: Process context. May sleep.
    ///
    /// # Safety
    ///
    /// `owner` points to where a pinned `T` is or will be before the engine is first woken. The owner calls
    /// [`Self::end`] before any field that `run` uses is dropped.
    pub(crate) unsafe fn new<T: Work<ID>, const ID: u32>(owner: NonNull<T>) -> Result<Arc<Self>> {
        let queue = WorkQueue::new(c"kcgcs", true)?;
        Arc::pin_init(
            pin_init!(&this in Self {
                // SAFETY: `this` is pinned. `wake` uses the work item and the queue, which are dropped after
                // the timer, and dropping the timer stops it.
                timer <- unsafe { DeadlineTimer::new(this, Self::wake) },
                // SAFETY: The caller promises what is required of the owner; `end` disables the item.
                work <- unsafe {
                    WorkItem::new::<T, ID>(owner, c"kcgcs engine", static_lock_class!())
                },
                queue,
                quorum: Atomic::new(false),
                left <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Let the engine look for input soon.
    ///
    /// Context: Any context.
    pub(crate) fn wake(&self) {
        self.work.enqueue(&self.queue);
    }

    /// Set the time at which the engine wakes by itself.
    ///
    /// Context: Any context but hard interrupt.
    pub(crate) fn wake_at(&self, at: Instant) {
        self.timer.start(at);
    }

    /// End the runs of the engine: none is under way when this returns, and none follows.
    ///
    /// Context: Process context, not under the engine's lock. May sleep.
    pub(crate) fn end(&self) {
        self.timer.stop();
        self.work.disable();
    }

    /// Whether messages are accepted: the node has a quorum, as the engine found it after its last input.
    pub(crate) fn has_quorum(&self) -> bool {
        self.quorum.load(Relaxed)
    }

    /// Announce whether the node has a quorum.
    pub(crate) fn set_quorum(&self, quorum: bool) {
        self.quorum.store(quorum, Relaxed);
    }

    /// Announce that the node has left its cluster, or that waiting for that is in vain.
    pub(crate) fn announce_left(&self) {
        self.left.complete_all();
    }

    /// Wait until the cluster has confirmed the leave request, a second at most.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn wait_left(&self) {
        self.left.wait_for_completion();
    }
}
