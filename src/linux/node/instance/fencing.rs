// SPDX-License-Identifier: GPL-2.0

//! What connects the fence gate of a node with its engine: the engine asks for failed nodes to be fenced, and is
//! given the handler's results.

use super::{
    Instance,
    FENCE_WORK, //
};
use crate::linux::{
    ffi,
    runtime::work_item::Work, //
};
use kernel::{
    ffi::c_void,
    prelude::*, //
};

impl Instance {
    /// Register a fence handler.
    ///
    /// Context: Process context. May sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: no handler, or its timeout is out of range.
    /// - `EBUSY`: another handler is registered.
    /// - `ENETDOWN`: the node goes away.
    ///
    /// # Safety
    ///
    /// The handler may be called until [`Self::unregister_fence`] has returned or the node is gone.
    pub(crate) unsafe fn register_fence(
        &self,
        ops: &ffi::kcgcs_fence_ops,
        context: *mut c_void,
    ) -> Result {
        // SAFETY: The caller promises that the handler may be called until then; the gate is ended before the
        // node is gone.
        let timeout = unsafe { self.fence_gate.register(ops, context)? };
        let guarded = self.with_engine(|engine| engine.guard(Some(timeout)));
        if guarded.is_err() {
            // The node goes away, and asks nobody any more.
            self.fence_gate.unregister();
        }
        guarded.map_err(|_| ENETDOWN)
    }

    /// Remove the fence handler and wait for a call of it to end.
    ///
    /// Context: Process context, not from the handler. May sleep.
    ///
    /// # Errors
    ///
    /// - `ENOENT`: no handler is registered.
    pub(crate) fn unregister_fence(&self) -> Result {
        // The engine learns it first: a view that waits for the handler then goes on without it. An error says that
        // the node goes away, where no view waits.
        let _ = self.with_engine(|engine| engine.guard(None));
        if self.fence_gate.unregister() {
            Ok(())
        } else {
            Err(ENOENT)
        }
    }
}

impl Work<FENCE_WORK> for Instance {
    /// Call the handler for all failed nodes that wait.
    fn run(&self) {
        while let Some((subject, member)) = self.fence_gate.pop() {
            // The node may be alive after all: it may have been heard while the handler was busy with another one.
            let is_wanted = self.with_engine(|engine| {
                let is_wanted = engine.node().wants_fence(subject);
                if !is_wanted {
                    engine.skip_fence(subject);
                }
                is_wanted
            });
            if !is_wanted {
                continue;
            }
            if let Some(result) = self.fence_gate.call(&member) {
                self.with_engine(|engine| engine.answer_fence(subject, result));
            }
        }
    }
}
