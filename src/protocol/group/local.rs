// SPDX-License-Identifier: GPL-2.0

//! A member on this node: whether it is in its group, and the messages that it has submitted and that are not ordered
//! yet.
//!
//! ```text
//!                                        +--> Draining --all hold all-----+
//!                                        |                               v
//!  Joining --a view has it--> Member --leave, or leave and discard--> Leaving --a view without it--> (gone)
//!     ^                        |    ^                                    ^
//!     +--- node excluded ------+    | a view has it                      |
//!     |                        |    |                                    |
//!     |  node changes its      +--> Merging                              |
//!     |  component                                                       |
//!     +------------------------------ leave -----------------------------+
//! ```
//!
//! Each message that was accepted has one end: it is ordered ([`Event::Sent`]), or it is counted as lost, and the
//! member gets the count with its next view or with its last event. If the node is excluded, messages count as lost,
//! too, that were ordered and that not all participants are known to hold: the others may have gone on without them.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::errors::CommandError;
use crate::protocol::group_properties::GroupProperties;
use crate::protocol::identity::{EndpointId, Identity, ViewName};
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
    /// It has been told to leave, and is still a member of the group's views, until its messages are ordered. It gets no
    /// more views or messages.
    Draining,
    /// It has asked to leave, and gets no more views or messages.
    Leaving,
}

/// What happens to the messages of a member that leaves and that are not ordered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveMode {
    /// They are sent and ordered first.
    SendFirst,
    /// They are not sent any more. Those that are on their way may still be ordered.
    Discard,
}

/// A submitted message.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Pending {
    pub(super) sequence: u64,
    pub(super) order: Order,
    /// The position in the present log that its sender had delivered when it sent this.
    after: u64,
    /// The view that the consumer had been shown last when it submitted the message.
    pub(super) call_view: ViewName,
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
    /// The properties that it asks its group for.
    pub(super) properties: GroupProperties,
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
    /// `Event::Block` is due; there was no room for it.
    is_block_due: bool,
    /// Messages that were accepted and dropped since the member was last told.
    lost: u64,
}

impl Local {
    /// A member that has not asked to join yet. Allocates.
    pub(super) fn new(
        endpoint: EndpointId,
        properties: GroupProperties,
        now: Instant,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            endpoint,
            standing: Standing::Joining,
            properties,
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
            is_block_due: false,
            lost: 0,
        })
    }

    /// Report that the member has left, unless that was done before. What is not ordered is lost.
    pub(super) fn report_left(&mut self, outbox: &mut Outbox) {
        self.forget_messages();
        if !self.is_end_reported {
            outbox.event(Event::GroupLeft {
                endpoint: self.endpoint,
                lost: self.take_lost(),
            });
        }
    }

    /// Report to the member that it is excluded, and how many of its messages other members may lack.
    pub(super) fn report_exclusion(&mut self, own: Identity, outbox: &mut Outbox) {
        outbox.event(Event::GroupExcluded {
            endpoint: self.endpoint,
            own,
            lost: self.take_lost(),
        });
    }

    /// Whether the member is in the group's views and may have messages to send.
    pub(super) fn is_sending(&self) -> bool {
        matches!(self.standing, Standing::Member | Standing::Draining)
    }

    /// How many messages are not ordered yet.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How many messages were lost since the member was last told, which it is now.
    pub(super) fn take_lost(&mut self) -> u64 {
        core::mem::take(&mut self.lost)
    }

    /// A message that was ordered may be lost.
    pub(super) fn count_lost(&mut self) {
        self.lost = self.lost.saturating_add(1);
    }

    /// Whether the member was told to leave and all its messages are ordered. `are_all_held`: all participants hold what
    /// members of this node have sent.
    pub(super) fn is_drained(&self, are_all_held: bool) -> bool {
        self.standing == Standing::Draining && self.pending.is_empty() && are_all_held
    }

    /// The view is about to change: report it to the member, when there is room.
    pub(super) fn want_block(&mut self) {
        self.is_block_due = self.standing == Standing::Member;
    }

    /// Whether the member is still to be told that the view is about to change.
    pub(super) fn is_block_due(&self) -> bool {
        self.is_block_due && self.standing == Standing::Member
    }

    /// The same; returns true once.
    pub(super) fn take_block(&mut self) -> bool {
        let is_due = self.is_block_due();
        self.is_block_due = false;
        is_due
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
        call_view: ViewName,
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
            call_view,
            payload,
        };
        if self.pending.push(pending).is_ok() {
            self.next_sequence = self.next_sequence.saturating_add(1);
            self.bytes = bytes;
        }
        Ok(())
    }

    /// Drop all messages, and count them as lost.
    pub(super) fn forget_messages(&mut self) {
        let count = u64::try_from(self.pending.len()).unwrap_or(u64::MAX);
        self.lost = self.lost.saturating_add(count);
        self.pending.clear();
        self.bytes = 0;
        self.resends = 0;
        self.send_again();
    }

    /// Start a new incarnation, in which nothing of the old one is sent.
    pub(super) fn start_anew(&mut self) {
        self.forget_messages();
        self.next_sequence = 1;
        self.is_block_due = false;
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

    /// Whether the message with this sequence number waits to be ordered.
    pub(super) fn is_pending(&self, sequence: u64) -> bool {
        let first = self.pending.first();
        first.is_some_and(|message| message.sequence <= sequence)
    }

    /// Whether messages wait to be ordered.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether there is a fragment to send now.
    pub(super) fn has_more(&self) -> bool {
        self.is_sending() && self.next_fragment().is_some()
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
