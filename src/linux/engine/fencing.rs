// SPDX-License-Identifier: GPL-2.0

//! What passes between the protocol and the fence gate.

#![forbid(unsafe_code)]

use super::{
    super::{
        clock,
        event_log::log_line,
        instance::Instance, //
    },
    Engine, //
};
use crate::protocol::{
    errors::CommandError,
    identity::Identity,
    time::{
        Duration,
        Instant, //
    }, //
};
use kernel::ffi::c_int;

impl Engine {
    /// A handler was registered, or is none any more.
    pub(in crate::linux) fn guard(
        &mut self,
        instance: &Instance,
        timeout: Option<Duration>,
    ) -> Result<(), CommandError> {
        self.administer(instance, |node, now| {
            node.set_fence_timeout(now, timeout);
            Ok(())
        })
    }

    /// The handler is not called: should it be needed after all, it is asked for again.
    pub(in crate::linux) fn skip_fence(&mut self, instance: &Instance, subject: Identity) {
        self.tell_fence_answer(instance, subject, false);
    }

    /// The handler has returned.
    pub(in crate::linux) fn answer_fence(
        &mut self,
        instance: &Instance,
        subject: Identity,
        result: c_int,
    ) {
        let (now, node) = (clock::now(), subject.node);
        if result == 0 {
            log_line!(self.log, now, "the fence handler has fenced node {:?}", node);
        } else {
            log_line!(
                self.log,
                now,
                "the fence handler cannot fence node {:?}: error {}",
                node,
                result
            );
        }
        self.tell_fence_answer(instance, subject, result == 0);
    }

    fn tell_fence_answer(&mut self, instance: &Instance, subject: Identity, is_fenced: bool) {
        // An error says that the node has stopped meanwhile.
        let _ = self.administer(instance, |node, now| {
            node.answer_fence(now, subject, is_fenced);
            Ok(())
        });
    }

    /// A failed node is to be fenced.
    pub(super) fn want_fence(&mut self, now: Instant, subject: Identity, instance: &Instance) {
        log_line!(
            self.log,
            now,
            "node {:?} has failed: waits for the fence handler",
            subject.node
        );
        instance.fence_gate.push(subject, self.cluster_member(subject));
        instance.wake_fence_gate();
    }
}
