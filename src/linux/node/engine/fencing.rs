// SPDX-License-Identifier: GPL-2.0

//! The engine's side of fencing: requests to the fence gate, and the handler's results for the protocol.

#![forbid(unsafe_code)]

use super::Engine;
use crate::{
    linux::{
        observability::event_log::log_line,
        runtime::clock, //
    },
    protocol::{
        errors::CommandError,
        identity::Identity,
        time::{
            Duration,
            Instant, //
        }, //
    }, //
};
use kernel::ffi::c_int;

impl Engine {
    /// Let views wait for a fence handler, `timeout` at most for each failed node; `None`: there is no handler.
    pub(in crate::linux::node) fn guard(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<(), CommandError> {
        self.administer(|node, now| {
            node.set_fence_timeout(now, timeout);
            Ok(())
        })
    }

    /// Report that the handler was not called for a node. The protocol asks again if the node is to be fenced
    /// after all.
    pub(in crate::linux::node) fn skip_fence(&mut self, subject: Identity) {
        self.report_fence_result(subject, false);
    }

    /// Report what the handler returned for a node: zero if the node is fenced.
    pub(in crate::linux::node) fn answer_fence(
        &mut self,
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
        self.report_fence_result(subject, result == 0);
    }

    fn report_fence_result(&mut self, subject: Identity, is_fenced: bool) {
        // An error says that this node has stopped meanwhile.
        let _ = self.administer(|node, now| {
            node.answer_fence(now, subject, is_fenced);
            Ok(())
        });
    }

    /// Ask the fence gate to have a failed node fenced.
    pub(super) fn want_fence(&mut self, now: Instant, subject: Identity) {
        log_line!(
            self.log,
            now,
            "node {:?} has failed: waits for the fence handler",
            subject.node
        );
        self.fence_gate.push(subject, self.cluster_member(subject));
    }
}
