// SPDX-License-Identifier: GPL-2.0

//! Reports that wait for the engine.

use super::headers::Received;
use super::values::DetectorReport;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::Identity;
use crate::protocol::limits::MONITORED_MAX;
use crate::protocol::time::{Duration, Instant};

/// Reports that may wait: all that can be due about the monitored nodes at once, and some other views.
pub(super) const REPORTS_MAX: usize = 2 * MONITORED_MAX + 8;

/// A queue of reports, the oldest first.
pub(super) struct Reports {
    queue: BoundedVec<DetectorReport>,
    /// No other view is reported before this time.
    other_view_after: Instant,
    other_view_pause: Duration,
}

impl Reports {
    /// An empty queue. `other_view_pause` is the least time between two reports of other views. Allocates.
    pub(super) fn new(now: Instant, other_view_pause: Duration) -> Result<Self, OutOfMemory> {
        Ok(Self {
            queue: BoundedVec::with_capacity(REPORTS_MAX)?,
            other_view_after: now,
            other_view_pause,
        })
    }

    /// Queue a report. All that is due about monitored nodes fits. An `OtherView` that does not fit is lost; the
    /// next heartbeat of its sender repeats it.
    pub(super) fn push(&mut self, report: DetectorReport) {
        let _ = self.queue.push(report);
    }

    /// Queue a report about a node in another view, unless there was one a short time ago.
    pub(super) fn push_other_view(&mut self, received: &Received) {
        if received.now >= self.other_view_after {
            self.other_view_after = received.now.after(self.other_view_pause);
            self.push(DetectorReport::OtherView {
                sender: received.sender(),
                from: received.from,
                view: received.header.mark(),
            });
        }
    }

    /// Forget the reports about nodes that are not monitored any more.
    pub(super) fn retain_about(&mut self, is_monitored: impl Fn(Identity) -> bool) {
        self.queue.retain(|report| match report {
            DetectorReport::Silent { subject, .. }
            | DetectorReport::Heard { subject }
            | DetectorReport::Dead { subject, .. } => is_monitored(*subject),
            DetectorReport::OtherView { .. } => true,
        });
    }

    /// Take the oldest report out.
    pub(super) fn take(&mut self) -> Option<DetectorReport> {
        self.queue.remove(0)
    }

    /// Whether no report waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
