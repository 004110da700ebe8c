// SPDX-License-Identifier: GPL-2.0

//! Bringing decided views to all members, and to nodes that join or have missed some.
//!
//! ```text
//!  decided view ---> announcement: commits to voters, whole views to new members, until all have installed it
//!  join, view request, an old view number in a heartbeat ---> view transfer, in parts ---> assembly at the receiver
//!  departures: which incarnations left and why; parts of views carry them
//! ```

mod announcement;
mod departures;
mod rate_limit;
mod view_transfer;

use self::announcement::Announcement;
use self::departures::Departures;
use self::rate_limit::RateLimit;
use self::view_transfer::{Assembly, Transfers};
use super::local::LocalNode;
use crate::platform::{OutOfMemory, Owned};
use crate::protocol::identity::{Identity, Incarnation, PeerAddress, ViewNumber};
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::ChangeReason;
use crate::protocol::time::Instant;
use crate::protocol::view::{ClusterView, MemberRecord};
use crate::protocol::wire::membership::{
    write_not_member, Ballot, Change, NotMember, NotMemberReason, ViewPart,
};
use crate::protocol::wire::Kind;

/// Views on their way to others and to this node.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Dissemination {
    announcement: Announcement,
    transfers: Transfers,
    assembly: Owned<Assembly>,
    departures: Departures,
    answered: RateLimit,
    /// The address that a view was last requested from, and when.
    requested: Option<(PeerAddress, Instant)>,
}

impl Dissemination {
    /// Nothing on its way. Allocates room for the largest view.
    #[inline(never)]
    pub(super) fn new(local: &LocalNode) -> Result<Self, OutOfMemory> {
        Ok(Self {
            announcement: Announcement::new(local.configuration().retransmit())?,
            transfers: Transfers::new()?,
            assembly: Owned::try_new(Assembly::empty(local.own().node)?)?,
            departures: Departures::new()?,
            answered: RateLimit::new()?,
            requested: None,
        })
    }

    /// Another view was installed: what was on its way of the one before is void. Its announcement goes on.
    pub(super) fn install(&mut self) {
        self.assembly.clear();
        self.transfers.clear();
        self.answered.clear();
        self.requested = None;
    }

    /// The view was given up: forget everything.
    pub(super) fn clear(&mut self) {
        self.install();
        self.announcement.clear();
        self.departures.clear();
    }

    // ---- announcing -------------------------------------------------------------------------------

    /// Begin to announce view `number`, decided under `ballot`.
    pub(super) fn begin_announcement(&mut self, now: Instant, ballot: Ballot, number: ViewNumber) {
        self.announcement.begin(now, ballot, number);
    }

    /// Announce the view to one more member. A new member gets the whole view.
    pub(super) fn announce_to(&mut self, member: &MemberRecord, is_new: bool) {
        self.announcement
            .add(member.identity, member.address, is_new);
    }

    /// Take in that `from` has installed view `number`.
    pub(super) fn handle_installed(&mut self, from: Identity, number: ViewNumber) {
        self.announcement.take_installed(from, number);
    }

    /// Whether all members have installed the announced view, or were told often enough.
    pub(super) fn is_announced(&self) -> bool {
        self.announcement.next_deadline().is_none()
    }

    // ---- sending whole views ----------------------------------------------------------------------

    /// Begin to send the present view to `to`.
    pub(super) fn send_view(&mut self, to: PeerAddress) {
        self.transfers.begin(to);
    }

    /// Help a node at `from` that has shown an older view: a member gets the view, any other node is told that it is
    /// out. One answer for many datagrams.
    pub(super) fn answer_older_view(
        &mut self,
        now: Instant,
        local: &LocalNode,
        sender: Identity,
        from: PeerAddress,
        outbox: &mut Outbox,
    ) {
        let pause = local.configuration().retransmit();
        let view = local.view_or_empty();
        let is_member = view.has(sender);
        // Just after a change the coordinator's own announcement is on its way.
        if is_member && now < local.installed_at().after(pause) {
            return;
        }
        if !self.answered.is_due(now, from, pause) {
            return;
        }
        if is_member {
            self.transfers.begin(from);
            return;
        }
        let not_member = NotMember {
            number: view.number,
            is_primary: view.is_primary,
            reason: NotMemberReason::Gone(self.departures.reason(sender)),
        };
        outbox.send([&from], Kind::NotMember, |writer| {
            write_not_member(writer, &not_member)
        });
    }

    /// Send what is due to those that have not answered the announcement.
    pub(super) fn advance(&mut self, now: Instant, outbox: &mut Outbox) {
        self.announcement.send_due(now, &mut self.transfers, outbox);
    }

    /// Send the parts of views that had to wait for room.
    pub(super) fn pump(&mut self, local: &LocalNode, outbox: &mut Outbox) {
        self.transfers
            .pump(local.view_or_empty(), &self.departures, outbox);
    }

    /// When [`Self::advance`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.announcement.next_deadline()
    }

    // ---- receiving whole views --------------------------------------------------------------------

    /// Request the view of the node at `from`, unless that was done just now.
    pub(super) fn request_view(
        &mut self,
        now: Instant,
        local: &LocalNode,
        from: PeerAddress,
        outbox: &mut Outbox,
    ) {
        let pause = local.configuration().retransmit();
        let is_too_soon = self
            .requested
            .is_some_and(|(asked, at)| asked == from && now < at.after(pause));
        if !is_too_soon {
            self.requested = Some((from, now));
            outbox.send([&from], Kind::ViewRequest, |_| Some(()));
        }
    }

    /// Whether a view was requested from this address.
    pub(super) fn has_requested_from(&self, from: PeerAddress) -> bool {
        self.requested.is_some_and(|(asked, _)| asked == from)
    }

    /// Add a part of a view. Returns the whole view once all its parts are there.
    pub(super) fn handle_view_part(&mut self, part: &ViewPart<'_>) -> Option<&ClusterView> {
        for (subject, reason) in part.departures {
            self.departures.add(subject, reason);
        }
        self.assembly.add(part)
    }

    /// Forget the parts of the view that was assembled.
    pub(super) fn clear_assembly(&mut self) {
        self.assembly.clear();
    }

    // ---- departures -------------------------------------------------------------------------------

    /// Remember which nodes leave by these changes.
    pub(super) fn note_changes(&mut self, changes: &[Change]) {
        self.departures.add_all(changes);
    }

    /// Remember that `subject` has left.
    pub(super) fn note_departure(&mut self, subject: Identity, reason: ChangeReason) {
        self.departures.add(subject, reason);
    }

    /// Why `subject` left. Failed, if that is not known.
    pub(super) fn departure_reason(&self, subject: Identity) -> ChangeReason {
        self.departures.reason(subject)
    }

    /// Whether `subject` or a later incarnation of it left: it must not come back under this incarnation.
    pub(super) fn has_departed(&self, subject: Identity) -> bool {
        self.departures.has(subject)
    }

    /// The incarnation in which the node of `subject` left last.
    pub(super) fn last_incarnation(&self, subject: Identity) -> Option<Incarnation> {
        self.departures.last_incarnation(subject)
    }

    /// Whether an administrator evicted this incarnation of the node of `subject`, or a later one.
    pub(super) fn was_evicted_since(&self, subject: Identity, incarnation: Incarnation) -> bool {
        self.departures.was_evicted_since(subject, incarnation)
    }

    /// The nodes that left lately and why, the oldest first.
    pub(super) fn departed(&self) -> &[(Identity, ChangeReason)] {
        self.departures.all()
    }
}
