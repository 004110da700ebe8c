// SPDX-License-Identifier: GPL-2.0

//! What administrators ask of the engine, and how it ends.

use super::Engine;
use crate::{
    linux::{
        consumers::cluster_notifier::News,
        observability::event_log::log_line,
        runtime::clock, //
    },
    protocol::{
        errors::CommandError,
        node::Node,
        time::Instant, //
    }, //
};

impl Engine {
    /// Carry out a command of an administrator.
    ///
    /// # Errors
    ///
    /// - [`CommandError::Stopped`]: the node has stopped or is leaving.
    /// - Any error of `command`.
    pub(crate) fn administer(
        &mut self,
        command: impl FnOnce(&mut Node, Instant) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        if self.is_stopped || self.is_leaving {
            return Err(CommandError::Stopped);
        }
        let now = clock::now();
        let result = command(&mut self.node, now);
        self.carry_out(now);
        self.link.wake();
        result
    }

    /// Send a leave request to the cluster.
    pub(in crate::linux::node) fn leave_cluster(&mut self) {
        if self.is_stopped || self.is_leaving {
            return;
        }
        let now = clock::now();
        self.is_leaving = true;
        log_line!(self.log, now, "leaving");
        self.node.leave_cluster(now);
        self.carry_out(now);
    }

    /// Stop for good: close all handles and announce the end.
    pub(in crate::linux::node) fn stop(&mut self) {
        let was_running = !self.is_stopped;
        self.is_stopped = true;
        self.close_handles();
        self.cluster_view = None;
        if was_running {
            log_line!(self.log, clock::now(), "stopped");
            self.notifier.push(News::Stopped);
        }
    }

    /// Stop because of a broken invariant. The machine goes on.
    pub(super) fn fail(&mut self) {
        if self.is_stopped {
            return;
        }
        log_line!(
            self.log,
            clock::now(),
            "failed: a broken invariant, see above; the node is stopped"
        );
        self.is_failed = true;
        self.is_stopped = true;
        self.bottom_half.silence();
        self.close_handles();
        self.cluster_view = None;
        self.notifier.push(News::Stopped);
        self.link.announce_left();
    }
}
