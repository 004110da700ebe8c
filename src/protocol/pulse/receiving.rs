// SPDX-License-Identifier: GPL-2.0

//! Datagrams that come in: whether they count, and what they say of who sent them.

use super::source::Silence;
use super::{Pulse, PulseReport, PulseVerdict};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{PeerAddress, ViewNumber};
use crate::protocol::time::Instant;
use crate::protocol::wire::pulse::PulseBody;
use crate::protocol::wire::{Datagram, Header, Kind};

impl Pulse {
    /// A datagram came in, of whatever kind: called for each one, in the receive soft interrupt.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: PeerAddress,
        bytes: &[u8],
    ) -> PulseVerdict {
        self.counters.count(Counter::DatagramsReceived);
        match self.receive(now, from, bytes) {
            Ok(verdict) => verdict,
            Err(counter) => {
                self.counters.count(counter);
                PulseVerdict::Dropped(counter)
            }
        }
    }

    fn receive(
        &mut self,
        now: Instant,
        from: PeerAddress,
        bytes: &[u8],
    ) -> Result<PulseVerdict, Counter> {
        let datagram = Datagram::parse(bytes, self.cluster)?;
        let header = datagram.header;
        if header.sender == self.own {
            return Err(Counter::DroppedFromSelf);
        }
        if !header.kind.is_pulse() {
            return Ok(PulseVerdict::ForEngine);
        }
        let body = PulseBody::parse(datagram.body)?;
        if self.view == ViewNumber::default() {
            // Without a view there is nobody to listen to.
            return Err(Counter::DroppedNonMember);
        }
        if header.view != self.view {
            self.report_other_view(now, &header, from);
        }
        match header.kind {
            Kind::Heartbeat => self.receive_heartbeat(now, &header, from)?,
            Kind::Probe => self.receive_probe(&header, from, body.number)?,
            _ => self.receive_answer(now, &header, from, body.number)?,
        }
        Ok(PulseVerdict::Consumed)
    }

    fn receive_heartbeat(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
    ) -> Result<(), Counter> {
        let other_view = header.view != self.view;
        let next_miss = now.after(self.interval).after(self.slack);
        let Some(source) = self
            .sources
            .iter_mut()
            .flatten()
            .find(|source| source.peer.identity.node == header.sender.node)
        else {
            return Err(if other_view {
                Counter::DroppedOtherView
            } else {
                Counter::DroppedUnwatched
            });
        };
        if header.sender.incarnation < source.peer.identity.incarnation {
            return Err(Counter::DroppedStaleIncarnation);
        }
        if header.sender.incarnation > source.peer.identity.incarnation {
            return Err(Counter::DroppedOtherView);
        }
        if from != source.peer.address {
            return Err(Counter::DroppedWrongAddress);
        }
        if header.counter <= source.last_counter {
            return Err(Counter::DroppedDuplicate);
        }
        source.last_counter = header.counter;
        source.last_heard = now;
        source.misses = source.misses.wrapping_shl(1);
        source.deadline = next_miss;
        let heard = source.hear();
        self.counters.count(Counter::HeartbeatsReceived);
        if let Some(report) = heard {
            self.report(report);
        }
        Ok(())
    }

    /// Somebody doubts us. Whoever watches us by its view gets an answer, also while the views of
    /// both ends differ.
    fn receive_probe(
        &mut self,
        header: &Header,
        from: PeerAddress,
        number: u32,
    ) -> Result<(), Counter> {
        let known = self
            .targets
            .iter()
            .flatten()
            .map(|target| target.peer)
            .chain(self.sources.iter().flatten().map(|source| source.peer))
            .find(|peer| peer.identity.node == header.sender.node);
        match known {
            Some(peer) if peer.identity.incarnation > header.sender.incarnation => {
                return Err(Counter::DroppedStaleIncarnation);
            }
            Some(peer) if peer.identity == header.sender && peer.address != from => {
                return Err(Counter::DroppedWrongAddress);
            }
            Some(_) => {}
            None if header.view != self.view => {}
            None => return Err(Counter::DroppedNonMember),
        }
        match self.answers.iter_mut().find(|answer| answer.is_none()) {
            Some(free) => {
                *free = Some((from, number));
                Ok(())
            }
            None => Err(Counter::DroppedNoRoom),
        }
    }

    fn receive_answer(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
        number: u32,
    ) -> Result<(), Counter> {
        let next_miss = now.after(self.interval).after(self.slack);
        let Some(source) = self
            .sources
            .iter_mut()
            .flatten()
            .find(|source| source.peer.identity.node == header.sender.node)
        else {
            return Err(Counter::DroppedUnwatched);
        };
        if from != source.peer.address {
            return Err(Counter::DroppedWrongAddress);
        }
        if header.sender.incarnation < source.peer.identity.incarnation {
            return Err(Counter::DroppedStaleIncarnation);
        }
        if number == 0 || number > source.probes_sent || source.silence == Silence::Watching {
            return Err(Counter::DroppedUnexpected);
        }
        if header.sender.incarnation > source.peer.identity.incarnation {
            // A later life answers: the one that we watch is gone for certain.
            if source.silence != Silence::Dead {
                source.silence = Silence::Dead;
                let report = PulseReport::Dead {
                    subject: source.peer.identity,
                    silence_ms: now.since(source.last_heard).as_milliseconds(),
                };
                self.report(report);
            }
            return Ok(());
        }
        if header.counter <= source.last_counter {
            return Err(Counter::DroppedDuplicate);
        }
        source.last_counter = header.counter;
        source.last_heard = now;
        source.deadline = next_miss;
        if let Some(report) = source.hear() {
            self.report(report);
        }
        Ok(())
    }

    fn report_other_view(&mut self, now: Instant, header: &Header, from: PeerAddress) {
        if now >= self.other_view_after {
            self.other_view_after = now.after(self.other_view_pause);
            self.report(PulseReport::OtherView {
                sender: header.sender,
                from,
                view: header.view,
            });
        }
    }

    /// Queues a report. There is room for what all sources can say; an `OtherView` without room is
    /// lost, the next heartbeat repeats it.
    pub(super) fn report(&mut self, report: PulseReport) {
        if let Some(free) = self.reports.iter_mut().find(|place| place.is_none()) {
            *free = Some(report);
        }
    }
}
