// SPDX-License-Identifier: GPL-2.0

//! Work queues of our own, and work items that call a function of their owner in process context.
//!
//! `kernel::workqueue` offers neither queues of one's own nor waiting for an item to end, which
//! leaving a group and stopping a node need.

use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*,
    sync::LockClassKey,
    types::Opaque, //
};

/// A work queue. It is emptied and freed when it is dropped.
///
/// # Invariants
///
/// The pointer is a live work queue that this value owns.
pub(crate) struct WorkQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: The C functions on work queues may be called from any thread at the same time.
unsafe impl Send for WorkQueue {}
// SAFETY: As above.
unsafe impl Sync for WorkQueue {}

impl WorkQueue {
    /// Makes a queue whose items run on any processor, and go on under memory pressure.
    pub(crate) fn new(name: &'static CStr, high_priority: bool) -> Result<Self> {
        let mut flags = bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags_WQ_MEM_RECLAIM;
        if high_priority {
            flags |= bindings::wq_flags_WQ_HIGHPRI;
        }
        // SAFETY: The format takes one string, which is given and ends with a zero; the kernel
        // copies it.
        let raw = unsafe {
            bindings::alloc_workqueue_noprof(c"%s".as_char_ptr(), flags, 0, name.as_char_ptr())
        };
        // INVARIANT: A new queue.
        NonNull::new(raw).map(Self).ok_or(ENOMEM)
    }
}

impl Drop for WorkQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the queue is ours; items that are still queued run first.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}

/// A work item in a `T`. It runs on one processor at a time; queueing it while it waits does
/// nothing, queueing it while it runs lets it run once more. Dropping it waits for it.
///
/// # Invariants
///
/// `work` is the first field and initialised; `owner` holds this item and does not move.
#[repr(C)]
#[pin_data(PinnedDrop)]
pub(crate) struct WorkItem<T> {
    #[pin]
    work: Opaque<bindings::work_struct>,
    owner: NonNull<T>,
    run: fn(&T),
}

// SAFETY: The C functions used on `work` lock by themselves; the other fields never change, and `T`
// is only reached by shared reference, which `Sync` allows from any thread.
unsafe impl<T: Sync> Sync for WorkItem<T> {}
// SAFETY: As above; nothing is bound to a thread.
unsafe impl<T: Sync> Send for WorkItem<T> {}

impl<T: Sync> WorkItem<T> {
    /// Makes an item that will call `run(owner)`.
    ///
    /// # Safety
    ///
    /// `owner` is the pinned value that the item is made in. The owner cancels the item, and lets
    /// nobody queue it again, before any field that `run` uses is dropped.
    pub(crate) unsafe fn new(
        owner: NonNull<T>,
        run: fn(&T),
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            work <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is memory for a work item; name and key live for ever.
                unsafe {
                    bindings::init_work_with_key(
                        slot,
                        Some(Self::execute),
                        false,
                        name.as_char_ptr(),
                        key.as_ptr(),
                    )
                }
            }),
            owner,
            run,
        })
    }

    /// Lets the item run on `queue` soon.
    ///
    /// Context: Any context.
    pub(crate) fn enqueue(&self, queue: &WorkQueue) {
        // SAFETY: Both are live by their type invariants; an item is cancelled before it is freed.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32,
                queue.0.as_ptr(),
                self.work.get(),
            )
        };
    }

    /// Takes the item off its queue and waits until it does not run any more.
    ///
    /// Context: Process context, not from the item itself. May sleep.
    pub(crate) fn cancel(&self) {
        // SAFETY: By the type invariant the item is initialised.
        unsafe { bindings::cancel_work_sync(self.work.get()) };
    }

    /// # Safety
    ///
    /// `work` is that of an item of this type, called by the kernel.
    unsafe extern "C" fn execute(work: *mut bindings::work_struct) {
        // SAFETY: By the type invariant `work` is the first field of a `Self`, which is there until
        // the item was cancelled, and cancelling waits for this function.
        let this = unsafe { &*work.cast::<Self>() };
        // SAFETY: By the type invariant, and the promise given to `new`, the owner is still whole.
        (this.run)(unsafe { this.owner.as_ref() });
    }
}

#[pinned_drop]
impl<T> PinnedDrop for WorkItem<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the item is initialised.
        unsafe { bindings::cancel_work_sync(self.work.get()) };
    }
}
