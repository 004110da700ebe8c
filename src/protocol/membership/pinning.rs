// SPDX-License-Identifier: GPL-2.0

//! Pinned views: an administrator who works on machines or on the network wants no view changes for a
//! while, whatever goes silent.
//!
//! ```text
//!            pin, or told so                       the time is over, or told so
//!  Free ------------------------> Pinned ---------------------------------------> Free
//!                                   |   ^
//!                                   +---+ a later pin: longer or shorter
//! ```
//!
//! Each member keeps the latest pin that it has heard of; whoever was asked by the administrator tells all
//! others several times. A pinned member starts no ballot and promises none, so while a quorum is pinned no
//! view is agreed on. What should change meanwhile is collected and comes in one view afterwards. A ballot
//! that this node had promised before goes on: it may have been decided already. Pins are counted within a
//! view, as all reports are.

use super::Membership;
use crate::protocol::errors::CommandError;
use crate::protocol::identity::{Identity, NodeId};
use crate::protocol::limits::PIN_SPAN_MS_MAX;
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::Event;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::membership::{Pin, ReportRecord};
use crate::protocol::wire::Kind;

/// How often a pin is told: the first times at growing intervals, since datagrams may be lost.
const TIMES_TOLD: u32 = 8;

/// The latest pin, and whom it is still to be told to.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) struct Pinning {
    /// Number and node of the latest pin: what comes with a lower pair is older.
    latest: (u32, Option<NodeId>),
    /// Until when views are pinned, if they are, and at which node that was said.
    pinned: Option<(Instant, NodeId)>,
    /// When this node tells its own pin again, and how often it has.
    telling: Option<(Instant, u32)>,
}

impl Pinning {
    /// Not pinned.
    pub(super) const fn new() -> Self {
        Self {
            latest: (0, None),
            pinned: None,
            telling: None,
        }
    }

    /// Until when views are pinned.
    pub(super) fn until(&self) -> Option<Instant> {
        self.pinned.map(|(until, _)| until)
    }

    /// When something here is to be done.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let telling = self.telling.map(|(at, _)| at);
        self.until().into_iter().chain(telling).min()
    }

    /// A view was installed: its members count pins anew, all from the same number on.
    pub(super) fn enter_view(&mut self, own: NodeId) {
        let is_own = self.telling.is_some();
        self.latest = if is_own { (1, Some(own)) } else { (0, None) };
    }

    /// Takes a pin if it is later than the one known; whether it is.
    fn take(&mut self, now: Instant, by: NodeId, pin: Pin) -> bool {
        let name = (pin.sequence, Some(by));
        if name <= self.latest {
            return false;
        }
        self.latest = name;
        let span = Duration::from_milliseconds(u64::from(pin.span_ms.min(PIN_SPAN_MS_MAX)));
        self.pinned = (pin.span_ms > 0).then(|| (now.after(span), by));
        true
    }
}

impl Membership {
    /// Whether views are pinned: for whoever has promised nothing, no view is agreed on.
    pub(super) fn is_pinned(&self) -> bool {
        self.pinning.until().is_some() && self.acceptor.promised().is_none()
    }

    /// How much longer views are pinned, and since which node asked for it.
    pub(in crate::protocol) fn pin(&self, now: Instant) -> Option<(Duration, NodeId)> {
        let (until, by) = self.pinning.pinned?;
        Some((until.since(now), by))
    }

    /// An administrator wants no views for `span_ms` from now on; zero: wants them again.
    ///
    /// # Errors
    ///
    /// There is no view, or no quorum that could be told. Nothing has changed.
    pub(in crate::protocol) fn set_pin(
        &mut self,
        now: Instant,
        span_ms: u32,
        outbox: &mut Outbox,
    ) -> Result<(), CommandError> {
        if self.view().is_none() || (!self.has_quorum() && span_ms > 0) {
            return Err(CommandError::NoQuorum);
        }
        let pin = Pin {
            sequence: self.pinning.latest.0.saturating_add(1),
            span_ms,
        };
        self.take_pin(now, self.own, pin, outbox);
        self.pinning.telling = Some((now, 0));
        self.advance(now, outbox);
        Ok(())
    }

    /// Somebody tells of a pin.
    pub(super) fn take_pin(&mut self, now: Instant, by: Identity, pin: Pin, outbox: &mut Outbox) {
        let was_pinned = self.pinning.pinned.is_some();
        if !self.pinning.take(now, by.node, pin) {
            return;
        }
        self.pinning.telling = None;
        if self.pinning.pinned.is_some() {
            outbox.event(Event::Pinned {
                by: by.node,
                span_ms: u64::from(pin.span_ms),
            });
        } else if was_pinned {
            outbox.event(Event::Unpinned);
        }
    }

    /// Ends a pin whose time is over, and tells the others of one that was asked for here.
    pub(super) fn advance_pin(&mut self, now: Instant, outbox: &mut Outbox) {
        if let Some((at, times)) = self.pinning.telling {
            if now >= at {
                self.tell_pin(now, outbox);
                let wait = self.configuration.retransmit();
                let factor = 1_u64.checked_shl(times).unwrap_or(u64::MAX);
                let next = times.saturating_add(1);
                self.pinning.telling =
                    (next < TIMES_TOLD).then(|| (now.after(wait.times(factor)), next));
            }
        }
        if self.pinning.until().is_some_and(|until| now >= until) {
            self.pinning.pinned = None;
            outbox.event(Event::Unpinned);
        }
    }

    fn tell_pin(&self, now: Instant, outbox: &mut Outbox) {
        let until = self.pinning.until();
        let left = until.map_or(0, |until| until.since(now).as_milliseconds());
        let pin = Pin {
            sequence: self.pinning.latest.0,
            span_ms: u32::try_from(left).unwrap_or(u32::MAX),
        };
        let others = self.view.members().iter();
        let others = others.filter(|member| member.identity != self.own);
        let record = ReportRecord::Pin(self.own, pin);
        outbox.send(
            others.map(|member| &member.address),
            Kind::Report,
            |writer| writer.write(&record),
        );
    }
}
