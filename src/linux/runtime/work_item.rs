// SPDX-License-Identifier: GPL-2.0

//! Work queues of our own, and work items that call a method of their owner in process context.
//!
//! `kernel::workqueue` has no queues of one's own and no way to wait for an item to end. Leaving a group and
//! stopping a node need both.
//!
//! The type of an item does not name the type of its owner. Code that the owner is built on can hold the item
//! and queue it, so the handles of a node can wake an engine that itself holds handles.

use core::ptr::NonNull;
use kernel::{
    bindings,
    ffi::c_void,
    prelude::*,
    sync::LockClassKey,
    types::Opaque, //
};

/// A work queue. Dropping it waits for all queued items and frees it.
///
/// # Invariants
///
/// The pointer is a live work queue that this value owns.
pub(crate) struct WorkQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: The pointer is only handed to `queue_work_on()` and `destroy_workqueue()`, which may be called on
// any thread, so the queue may be dropped on another thread than the one that made it.
unsafe impl Send for WorkQueue {}
// SAFETY: A shared reference only reaches `queue_work_on()`, which takes the queue's own locks.
unsafe impl Sync for WorkQueue {}

impl WorkQueue {
    /// Make a queue whose items run on any processor and make progress under memory pressure.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn new(name: &'static CStr, high_priority: bool) -> Result<Self> {
        let mut flags = bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags_WQ_MEM_RECLAIM;
        if high_priority {
            flags |= bindings::wq_flags_WQ_HIGHPRI;
        }
        // SAFETY: The format takes one string, which is given and ends with a zero; the kernel copies it.
        let raw = unsafe {
            bindings::alloc_workqueue_noprof(c"%s".as_char_ptr(), flags, 0, name.as_char_ptr())
        };
        // INVARIANT: A new queue, which nobody else owns.
        NonNull::new(raw).map(Self).ok_or(ENOMEM)
    }
}

impl Drop for WorkQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the queue is live and ours. The kernel runs queued items first.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}

/// The method that a work item calls. An owner with several items tells them apart by `ID`.
pub(crate) trait Work<const ID: u32 = 0>: Sync {
    /// Do the work.
    ///
    /// Context: Process context, one call at a time for each item. May sleep.
    fn run(&self);
}

/// A work item. It runs on one processor at a time; queueing it while it waits does nothing, queueing it while
/// it runs lets it run once more. Dropping it waits for it.
///
/// # Invariants
///
/// `work` is the first field and initialised with [`Self::execute`] for the type that `owner` points to.
/// `owner` is live, pinned and whole whenever the item runs.
#[repr(C)]
#[pin_data(PinnedDrop)]
pub(crate) struct WorkItem {
    #[pin]
    work: Opaque<bindings::work_struct>,
    owner: NonNull<c_void>,
}

// SAFETY: The C functions on `work` take their own locks. `owner` never changes, and is only used as a shared
// reference to a type that `Work` requires to be `Sync`.
unsafe impl Sync for WorkItem {}
// SAFETY: No field is bound to the thread that made it; `owner` is used on the threads of the work queue only,
// as a shared reference to a `Sync` type.
unsafe impl Send for WorkItem {}

impl WorkItem {
    /// Make an item that will call `Work::<ID>::run` of `owner`.
    ///
    /// # Safety
    ///
    /// `owner` points to where a pinned `T` is or will be before the item is first queued. The owner cancels the
    /// item and lets nobody queue it again, or disables it, before any field that `run` uses is dropped.
    pub(crate) unsafe fn new<T: Work<ID>, const ID: u32>(
        owner: NonNull<T>,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            work <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is memory for a work item, and the function takes one of this type.
                unsafe {
                    bindings::init_work_with_key(
                        slot,
                        Some(Self::execute::<T, ID>),
                        false,
                        name.as_char_ptr(),
                        key.as_ptr(),
                    )
                }
            }),
            // INVARIANT: `execute` was given the type of `owner`; the caller promises the rest.
            owner: owner.cast(),
        })
    }

    /// Let the item run on `queue` soon.
    ///
    /// Context: Any context.
    pub(crate) fn enqueue(&self, queue: &WorkQueue) {
        // SAFETY: By their type invariants the item is initialised and the queue live. The item is cancelled
        // before it is freed, so the queue never holds an item that is gone.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32,
                queue.0.as_ptr(),
                self.work.get(),
            )
        };
    }

    /// Take the item off its queue and wait until it does not run any more. It may be queued again.
    ///
    /// Context: Process context, not from the item itself. May sleep.
    pub(crate) fn cancel(&self) {
        // SAFETY: By the type invariant the item is initialised.
        unsafe { bindings::cancel_work_sync(self.work.get()) };
    }

    /// Cancel the item for good: from now on queueing it does nothing.
    ///
    /// Context: Process context, not from the item itself. May sleep.
    pub(crate) fn disable(&self) {
        // SAFETY: By the type invariant the item is initialised.
        unsafe { bindings::disable_work_sync(self.work.get()) };
    }

    /// # Safety
    ///
    /// `work` is that of a [`WorkItem`] whose owner is a `T`; the kernel calls this because it was queued.
    unsafe extern "C" fn execute<T: Work<ID>, const ID: u32>(work: *mut bindings::work_struct) {
        // SAFETY: By the type invariant `work` is the first field of a `Self`. The item is there until it was
        // cancelled, and cancelling waits for this function.
        let this = unsafe { &*work.cast::<Self>() };
        // SAFETY: The caller says that the owner is a `T`; by the type invariant it is live and whole now.
        let owner = unsafe { this.owner.cast::<T>().as_ref() };
        owner.run();
    }
}

#[pinned_drop]
impl PinnedDrop for WorkItem {
    fn drop(self: Pin<&mut Self>) {
        self.cancel();
    }
}
