// SPDX-License-Identifier: GPL-2.0

//! The fence gate of a node: the fence handler that another module has registered, and the failed nodes that wait
//! for it. A work item calls the handler for one failed node after the other (`node/instance/fencing.rs`).

use super::callback_types::Member;
use crate::{
    linux::{
        ffi,
        runtime::{
            ring_buffer::RingBuffer,
            work_item::{
                Work,
                WorkItem,
                WorkQueue, //
            }, //
        }, //
    },
    protocol::{
        identity::Identity,
        limits::NODES_MAX,
        time::Duration, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// Longest time, in milliseconds, that a handler may ask for: an hour.
const TIMEOUT_MS_MAX: c_uint = 3_600_000;

/// A handler, as it was registered.
#[derive(Clone, Copy)]
struct Handler {
    fence: unsafe extern "C" fn(*mut c_void, *const Member) -> c_int,
    context: *mut c_void,
}

// SAFETY: The context is only handed back to the handler, one call at a time; `include/kcgcs.h` says that the
// handler is called in process context, on any thread.
unsafe impl Send for Handler {}

/// The handler of one node, and the failed nodes that wait for it.
#[pin_data]
pub(crate) struct FenceGate {
    #[pin]
    work: WorkItem,
    /// Like other consumers the handler may sleep for long: it runs on their queue.
    queue: Arc<WorkQueue>,
    /// Held while the handler is called, so that unregistering it waits for the call to end.
    #[pin]
    handler: Mutex<Option<Handler>>,
    #[pin]
    waiting: Mutex<RingBuffer<(Identity, Member)>>,
}

impl FenceGate {
    /// Make a gate without a handler. `owner` empties it in its method `Work::<ID>::run`, which runs on `queue`.
    ///
    /// Context: Process context. May sleep.
    ///
    /// # Safety
    ///
    /// `owner` points to where a pinned `T` is or will be before the first [`Self::push`]. The owner calls
    /// [`Self::end`] before any field that `run` uses is dropped.
    pub(crate) unsafe fn new<T: Work<ID>, const ID: u32>(
        owner: NonNull<T>,
        queue: Arc<WorkQueue>,
    ) -> Result<Arc<Self>> {
        let waiting = RingBuffer::with_capacity(NODES_MAX).map_err(|_| ENOMEM)?;
        Arc::pin_init(
            pin_init!(Self {
                // SAFETY: The caller promises what is required of the owner; `end` disables the item.
                work <- unsafe {
                    WorkItem::new::<T, ID>(owner, c"kcgcs fence", static_lock_class!())
                },
                queue,
                handler <- new_mutex!(None, "kcgcs_fence_handler"),
                waiting <- new_mutex!(waiting, "kcgcs_fence_waiting"),
            }),
            GFP_KERNEL,
        )
    }

    /// Let a failed node wait for the handler. Without room it is dropped: the protocol asks for it again.
    ///
    /// Context: Process context.
    pub(crate) fn push(&self, subject: Identity, member: Member) {
        let _ = self.waiting.lock().push((subject, member));
        self.work.enqueue(&self.queue);
    }

    /// Take the failed node that has waited longest.
    ///
    /// Context: Process context.
    pub(crate) fn pop(&self) -> Option<(Identity, Member)> {
        self.waiting.lock().pop()
    }

    /// Register a handler. Returns how long it may take for one node.
    ///
    /// Context: Process context. May sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: no handler, or its timeout is not 1 to [`TIMEOUT_MS_MAX`] milliseconds.
    /// - `EBUSY`: another handler is registered.
    ///
    /// # Safety
    ///
    /// The handler may be called until [`Self::unregister`] or [`Self::end`] has returned.
    pub(crate) unsafe fn register(
        &self,
        ops: &ffi::kcgcs_fence_ops,
        context: *mut c_void,
    ) -> Result<Duration> {
        let fence = ops.fence.ok_or(EINVAL)?;
        if ops.timeout_ms == 0 || ops.timeout_ms > TIMEOUT_MS_MAX {
            return Err(EINVAL);
        }
        let mut handler = self.handler.lock();
        if handler.is_some() {
            return Err(EBUSY);
        }
        *handler = Some(Handler { fence, context });
        Ok(Duration::from_milliseconds(u64::from(ops.timeout_ms)))
    }

    /// Remove the handler and wait for a call of it to end. Returns whether there was one.
    ///
    /// Context: Process context, not from the handler. May sleep.
    pub(crate) fn unregister(&self) -> bool {
        self.handler.lock().take().is_some()
    }

    /// Call the handler for a failed node. Returns its result; `None`: no handler is registered.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn call(&self, member: &Member) -> Option<c_int> {
        let handler = self.handler.lock();
        let registered = (*handler)?;
        // SAFETY: The handler is registered, and stays so while the lock is held. The member lives until the
        // handler has returned.
        Some(unsafe { (registered.fence)(registered.context, member) })
    }

    /// Call nobody any more: the node is gone. Waits for a call of the handler to end.
    ///
    /// Context: Process context, not from the handler. May sleep.
    pub(crate) fn end(&self) {
        self.work.disable();
        *self.handler.lock() = None;
    }
}
