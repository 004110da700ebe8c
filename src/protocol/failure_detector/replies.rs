// SPDX-License-Identifier: GPL-2.0

//! Replies to probes that wait to be sent.

use crate::protocol::errors::Counter;
use crate::protocol::identity::PeerAddress;
use crate::protocol::limits::MONITORED_MAX;
use crate::protocol::wire::heartbeat::{DetectorBody, NEVER_HEARD};

/// Replies that may wait: one for each monitor of this node.
pub(super) const REPLIES_MAX: usize = MONITORED_MAX;

/// The replies that wait.
pub(super) struct ProbeReplies {
    /// Where each goes, and the number of the probe.
    waiting: [Option<(PeerAddress, u32)>; REPLIES_MAX],
}

impl ProbeReplies {
    /// No replies.
    pub(super) fn new() -> Self {
        Self {
            waiting: [None; REPLIES_MAX],
        }
    }

    /// Queue the reply to a probe.
    ///
    /// # Errors
    ///
    /// `DroppedNoRoom`: too many wait. The prober repeats its probe.
    pub(super) fn push(&mut self, to: PeerAddress, number: u32) -> Result<(), Counter> {
        match self.waiting.iter_mut().find(|reply| reply.is_none()) {
            Some(free) => {
                *free = Some((to, number));
                Ok(())
            }
            None => Err(Counter::DroppedNoRoom),
        }
    }

    /// Take a reply out: where it goes, and its body.
    pub(super) fn take(&mut self) -> Option<(PeerAddress, DetectorBody)> {
        let (to, number) = self.waiting.iter_mut().find_map(Option::take)?;
        let body = DetectorBody {
            number,
            heard_age_ms: NEVER_HEARD,
        };
        Some((to, body))
    }
}
