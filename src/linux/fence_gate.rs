// SPDX-License-Identifier: GPL-2.0

//! The fence gate of a node: the handler that another module has registered, called from a work item for
//! one failed node after the other.

use super::{
    callback_types::Member,
    ffi,
    instance::Instance,
    ring_buffer::RingBuffer, //
};
use crate::{
    platform::OutOfMemory,
    protocol::{
        identity::Identity,
        limits::NODES_MAX,
        time::Duration, //
    }, //
};
use kernel::{
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// Longest time, in milliseconds, that a handler may ask for: an hour.
const TIMEOUT_MS_MAX: c_uint = 3_600_000;

/// A handler, as it was registered.
#[derive(Clone, Copy)]
struct Handler {
    fence: unsafe extern "C" fn(*mut c_void, *const Member) -> c_int,
    context: *mut c_void,
}

// SAFETY: The context is only handed back to the handler, one call at a time.
unsafe impl Send for Handler {}

/// The handler of one node, and the failed nodes that wait for it.
#[pin_data]
pub(super) struct FenceGate {
    /// Held while the handler is called, so that whoever takes it away waits for that.
    #[pin]
    handler: Mutex<Option<Handler>>,
    #[pin]
    wanted: Mutex<RingBuffer<(Identity, Member)>>,
}

impl FenceGate {
    /// The queue that [`Self::new`] takes.
    pub(super) fn queue() -> Result<RingBuffer<(Identity, Member)>, OutOfMemory> {
        RingBuffer::with_capacity(NODES_MAX)
    }

    /// A gate without a handler: it is open.
    pub(super) fn new(wanted: RingBuffer<(Identity, Member)>) -> impl PinInit<Self> {
        pin_init!(Self {
            handler <- new_mutex!(None, "kcgcs_fence_handler"),
            wanted <- new_mutex!(wanted, "kcgcs_fence_wanted"),
        })
    }

    /// A failed node waits for the handler. What there is no room for is asked for again.
    ///
    /// Context: Process context.
    pub(super) fn push(&self, subject: Identity, member: Member) {
        let _ = self.wanted.lock().push((subject, member));
    }

    /// Registers a handler.
    ///
    /// Context: Process context. May sleep.
    ///
    /// # Safety
    ///
    /// The handler may be called until [`Self::unregister`] has returned or the node is gone.
    pub(super) unsafe fn register(
        instance: &Instance,
        ops: &ffi::kcgcs_fence_ops,
        context: *mut c_void,
    ) -> Result {
        let fence = ops.fence.ok_or(EINVAL)?;
        if ops.timeout_ms == 0 || ops.timeout_ms > TIMEOUT_MS_MAX {
            return Err(EINVAL);
        }
        {
            let mut handler = instance.fence_gate.handler.lock();
            if handler.is_some() {
                return Err(EBUSY);
            }
            *handler = Some(Handler { fence, context });
        }
        let timeout = Duration::from_milliseconds(u64::from(ops.timeout_ms));
        let guarded = instance.with_engine(|engine, instance| engine.guard(instance, Some(timeout)));
        if guarded.is_err() {
            // The node goes away, and asks nobody any more.
            *instance.fence_gate.handler.lock() = None;
        }
        guarded.map_err(|_| ENETDOWN)
    }

    /// Takes the handler away; waits for a call of it to end.
    ///
    /// Context: Process context, not from the handler. May sleep.
    pub(super) fn unregister(instance: &Instance) -> Result {
        // Whoever waits for the handler waits no more, so the engine is told first.
        let _ = instance.with_engine(|engine, instance| engine.guard(instance, None));
        let handler = instance.fence_gate.handler.lock().take();
        handler.map(|_| ()).ok_or(ENOENT)
    }

    /// Calls the handler for all that wait.
    ///
    /// Context: Process context. May sleep.
    pub(super) fn call(instance: &Instance) {
        loop {
            let Some((subject, member)) = instance.fence_gate.wanted.lock().pop() else {
                return;
            };
            // It may be alive after all: it was heard while the handler was busy with another node.
            let is_wanted = instance.with_engine(|engine, instance| {
                let is_wanted = engine.node().wants_fence(subject);
                if !is_wanted {
                    engine.skip_fence(instance, subject);
                }
                is_wanted
            });
            if !is_wanted {
                continue;
            }
            let result = {
                let handler = instance.fence_gate.handler.lock();
                let Some(handler) = *handler else {
                    continue;
                };
                // SAFETY: It is still registered, and stays so while the lock is held; the member is
                // there until it returns.
                unsafe { (handler.fence)(handler.context, &member) }
            };
            instance.with_engine(|engine, instance| engine.answer_fence(instance, subject, result));
        }
    }

    /// The node is gone: nobody is called any more.
    pub(super) fn end(&self) {
        *self.handler.lock() = None;
    }
}
