// SPDX-License-Identifier: GPL-2.0

//! Pinned views: an administrator who works on machines or on the network wants no view change for a while, whatever goes
//! silent.
//!
//! ```text
//!            pin, or told of one                   the time is over, or told so
//!  Free ------------------------> Pinned ---------------------------------------> Free
//!                                   |   ^
//!                                   +---+ a later pin: longer or shorter
//! ```
//!
//! Each member keeps the latest pin that it has heard of. The member that the administrator asked tells all others several
//! times. A pinned member starts no ballot and promises none, so no view is agreed on while a quorum is pinned. Changes are
//! collected meanwhile and come in one view afterwards. A ballot that the member promised before goes on: it may have
//! been decided already. Pins are counted within a view, as all reports are.

use crate::protocol::identity::{Identity, NodeId};
use crate::protocol::limits::PIN_SPAN_MS_MAX;
use crate::protocol::membership::local::LocalNode;
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::Event;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::membership::{write_report, Pin, ReportRecord};
use crate::protocol::wire::Kind;

/// How often a pin is told, at growing intervals, since datagrams may be lost.
const TIMES_TOLD: u32 = 8;

/// The latest pin, and when the others are told of it again.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) struct Pinning {
    /// Number and node of the latest pin: a lower pair is older.
    latest: (u32, Option<NodeId>),
    /// Until when views are pinned, if they are, and at which node that was asked for.
    pinned: Option<(Instant, NodeId)>,
    /// When this node tells of its own pin again, and how often it has.
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

    /// How much longer views are pinned, and which node asked for it.
    pub(super) fn pinned(&self, now: Instant) -> Option<(Duration, NodeId)> {
        self.pinned.map(|(until, by)| (until.since(now), by))
    }

    /// When [`Self::advance`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let telling = self.telling.map(|(at, _)| at);
        self.until().into_iter().chain(telling).min()
    }

    /// A view was installed: its members count pins anew, all from the same number on.
    pub(super) fn enter_view(&mut self, own: NodeId) {
        let is_own = self.telling.is_some();
        self.latest = if is_own { (1, Some(own)) } else { (0, None) };
    }

    /// Pin views for `span_ms` from now on, and begin to tell the others. Zero ends a pin.
    pub(super) fn set_own(
        &mut self,
        now: Instant,
        own: Identity,
        span_ms: u32,
        outbox: &mut Outbox,
    ) {
        let pin = Pin {
            sequence: self.latest.0.saturating_add(1),
            span_ms,
        };
        self.handle_pin(now, own, pin, outbox);
        self.telling = Some((now, 0));
    }

    /// Take in a pin of member `by`, if it is later than the one known.
    pub(super) fn handle_pin(&mut self, now: Instant, by: Identity, pin: Pin, outbox: &mut Outbox) {
        let was_pinned = self.pinned.is_some();
        let name = (pin.sequence, Some(by.node));
        if name <= self.latest {
            return;
        }
        self.latest = name;
        let span = Duration::from_milliseconds(u64::from(pin.span_ms.min(PIN_SPAN_MS_MAX)));
        self.pinned = (pin.span_ms > 0).then(|| (now.after(span), by.node));
        self.telling = None;
        if self.pinned.is_some() {
            outbox.event(Event::Pinned {
                by: by.node,
                span_ms: u64::from(pin.span_ms),
            });
        } else if was_pinned {
            outbox.event(Event::Unpinned);
        }
    }

    /// End a pin whose time is over, and tell the others of one that was asked for here.
    pub(super) fn advance(&mut self, now: Instant, local: &LocalNode, outbox: &mut Outbox) {
        if let Some((at, times)) = self.telling {
            if now >= at {
                self.tell(now, local, outbox);
                let wait = local.configuration().retransmit();
                let factor = 1_u64.checked_shl(times).unwrap_or(u64::MAX);
                let next = times.saturating_add(1);
                self.telling = (next < TIMES_TOLD).then(|| (now.after(wait.times(factor)), next));
            }
        }
        if self.until().is_some_and(|until| now >= until) {
            self.pinned = None;
            outbox.event(Event::Unpinned);
        }
    }

    fn tell(&self, now: Instant, local: &LocalNode, outbox: &mut Outbox) {
        let until = self.until();
        let left = until.map_or(0, |until| until.since(now).as_milliseconds());
        let pin = Pin {
            sequence: self.latest.0,
            span_ms: u32::try_from(left).unwrap_or(u32::MAX),
        };
        let record = ReportRecord::Pin(local.own(), pin);
        let others = local.others().map(|member| &member.address);
        outbox.send(others, Kind::Report, |writer| write_report(writer, &record));
    }
}
