// SPDX-License-Identifier: GPL-2.0

//! A member on this node: whether it is in its group, and the messages that it has submitted and that are not ordered
//! yet.
//!
//! ```text
//!  Joining --a view has it--> Member --leave--> Leaving --a view without it--> (gone)
//!     ^                        |    ^              ^
//!     +--- node excluded ------+    | a view has it|
//!     |                        |    |              |
//!     |  node changes its      +--> Merging        |
//!     |  component                                 |
//!     +------------------------------ leave -------+
//! ```

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::errors::CommandError;
use crate::protocol::identity::EndpointId;
use crate::protocol::limits::{
    ENDPOINT_PENDING_BYTES_MAX, ENDPOINT_PENDING_MESSAGES_MAX, ENDPOINT_WINDOW_FRAGMENTS_MAX,
    FRAGMENT_BYTES_MAX,
};
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::{Event, Order};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::group::{Fragment, Part};

/// The retransmission interval doubles up to this many times the first one.
const BACK_OFF_MAX: u64 = 8;

/// Whether a member is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) enum Standing {
    /// It has asked to join.
    Joining,
    /// It is in a view.
    Member,
    /// It is in a view of another component, and has asked to join here (see [`super::component_change`]).
    Merging,
    /// It has asked to leave, and gets no more views or messages.
    Leaving,
}

/// A submitted message.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Pending {
    pub(super) sequence: u64,
    pub(super) order: Order,
    /// The position in the present log that its sender had delivered when it sent this.
    after: u64,
    pub(super) payload: BoundedVec<u8>,
}

impl Pending {
    fn fragments(&self) -> u16 {
        let count = self.payload.len().div_ceil(FRAGMENT_BYTES_MAX).max(1);
        u16::try_from(count).unwrap_or(u16::MAX)
    }
}

/// A member on this node.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Local {
    pub(super) endpoint: EndpointId,
    pub(super) standing: Standing,
    /// Its end was reported already, or no consumer waits for it.
    pub(super) is_end_reported: bool,
    /// When to send the join or leave request again.
    pub(super) request_at: Instant,
    next_sequence: u64,
    pending: BoundedVec<Pending>,
    bytes: usize,
    /// The next fragment to send: the place of the pending message, and the fragment of it.
    cursor: (usize, u16),
    /// Fragments that were sent and are not ordered yet.
    in_flight: usize,
    resend_at: Option<Instant>,
    /// How often everything was sent again since a message was ordered.
    resends: u32,
    wants_writable: bool,
}

impl Local {
    /// A member that has not asked to join yet. Allocates.
    pub(super) fn new(endpoint: EndpointId, now: Instant) -> Result<Self, OutOfMemory> {
        Ok(Self {
            endpoint,
            standing: Standing::Joining,
            is_end_reported: false,
            request_at: now,
            next_sequence: 1,
            pending: BoundedVec::with_capacity(ENDPOINT_PENDING_MESSAGES_MAX)?,
            bytes: 0,
            cursor: (0, 0),
            in_flight: 0,
            resend_at: None,
            resends: 0,
            wants_writable: false,
        })
    }

    /// Report that the member has left, unless that was done before.
    pub(super) fn report_left(&self, outbox: &mut Outbox) {
        if !self.is_end_reported {
            outbox.event(Event::GroupLeft {
                endpoint: self.endpoint,
            });
        }
    }

    /// Queue a message. Its sender had delivered everything up to the position `after` of the present log.
    ///
    /// # Errors
    ///
    /// `WindowFull`: too much waits already. The payload is returned.
    pub(super) fn submit(
        &mut self,
        order: Order,
        after: u64,
        payload: BoundedVec<u8>,
    ) -> Result<(), (CommandError, BoundedVec<u8>)> {
        let bytes = self.bytes.saturating_add(payload.len());
        if self.pending.is_full() || bytes > ENDPOINT_PENDING_BYTES_MAX {
            self.wants_writable = true;
            return Err((CommandError::WindowFull, payload));
        }
        let pending = Pending {
            sequence: self.next_sequence,
            order,
            after,
            payload,
        };
        if self.pending.push(pending).is_ok() {
            self.next_sequence = self.next_sequence.saturating_add(1);
            self.bytes = bytes;
        }
        Ok(())
    }

    /// Drop all messages: the member starts a new incarnation.
    pub(super) fn forget_messages(&mut self) {
        self.pending.clear();
        self.bytes = 0;
        self.next_sequence = 1;
        self.resends = 0;
        self.send_again();
    }

    /// Send everything that is not ordered again: the cluster view is new, or no message was ordered for an interval.
    pub(super) fn send_again(&mut self) {
        self.cursor = (0, 0);
        self.in_flight = 0;
        self.resend_at = None;
    }

    /// A new log begins: send everything again that was not ordered in the one before. All that the messages depend on
    /// was delivered in that.
    pub(super) fn begin_log(&mut self) {
        for message in self.pending.as_mut_slice() {
            message.after = 0;
        }
        self.send_again();
    }

    /// The message with this sequence number was ordered: take it out.
    pub(super) fn ordered(&mut self, sequence: u64) -> Option<Pending> {
        if self.pending.first()?.sequence != sequence {
            return None;
        }
        let message = self.pending.remove(0)?;
        self.bytes = self.bytes.saturating_sub(message.payload.len());
        let fragments = usize::from(message.fragments());
        match self.cursor.0.checked_sub(1) {
            Some(place) => {
                self.cursor.0 = place;
                self.in_flight = self.in_flight.saturating_sub(fragments);
            }
            None => self.send_again(),
        }
        // The other messages get a whole interval again.
        self.resend_at = None;
        self.resends = 0;
        Some(message)
    }

    /// Whether the member was refused a message and has room now. Returns true once.
    pub(super) fn take_writable(&mut self) -> bool {
        let has_room = self.pending.len() <= ENDPOINT_PENDING_MESSAGES_MAX / 2
            && self.bytes <= ENDPOINT_PENDING_BYTES_MAX / 2;
        let is_due = self.wants_writable && has_room;
        if is_due {
            self.wants_writable = false;
        }
        is_due
    }

    /// The next fragment to send if the window has room for it.
    pub(super) fn next_fragment(&self) -> Option<Fragment<'_>> {
        if self.in_flight >= ENDPOINT_WINDOW_FRAGMENTS_MAX {
            return None;
        }
        let message = self.pending.get(self.cursor.0)?;
        let start = usize::from(self.cursor.1).saturating_mul(FRAGMENT_BYTES_MAX);
        let end = start
            .saturating_add(FRAGMENT_BYTES_MAX)
            .min(message.payload.len());
        Some(Fragment {
            endpoint: self.endpoint,
            oldest: self.pending.first()?.sequence,
            part: Part {
                order: message.order,
                sequence: message.sequence,
                fragment: self.cursor.1,
                fragments: message.fragments(),
                after: message.after,
            },
            bytes: message.payload.get(start..end).unwrap_or_default(),
        })
    }

    /// Whether messages wait to be ordered.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether there is a fragment to send now.
    pub(super) fn has_more(&self) -> bool {
        self.standing == Standing::Member && self.next_fragment().is_some()
    }

    /// The fragment that [`Self::next_fragment`] returned was sent.
    pub(super) fn fragment_sent(&mut self, now: Instant, interval: Duration) {
        let interval = self.resend_interval(interval);
        let fragments = self
            .pending
            .get(self.cursor.0)
            .map_or(1, Pending::fragments);
        self.in_flight = self.in_flight.saturating_add(1);
        self.cursor.1 = self.cursor.1.saturating_add(1);
        if self.cursor.1 >= fragments {
            self.cursor = (self.cursor.0.saturating_add(1), 0);
        }
        if self.resend_at.is_none() {
            self.resend_at = Some(now.after(interval));
        }
    }

    /// How long to wait until a message is ordered. The interval doubles while none is, since then the group waits for a
    /// node, and more copies would not help.
    fn resend_interval(&self, interval: Duration) -> Duration {
        let doublings = self.resends.saturating_sub(1);
        let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
        interval.times(factor.min(BACK_OFF_MAX))
    }

    /// Send everything again if no message was ordered for an interval.
    pub(super) fn check_progress(&mut self, now: Instant, interval: Duration) {
        if self.in_flight > 0 {
            let interval = self.resend_interval(interval);
            match self.resend_at {
                Some(at) if now >= at => {
                    self.send_again();
                    self.resends = self.resends.saturating_add(1);
                }
                Some(_) => {}
                None => self.resend_at = Some(now.after(interval)),
            }
        }
    }

    /// When [`Self::check_progress`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.resend_at
    }
}
