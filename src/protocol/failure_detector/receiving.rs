// SPDX-License-Identifier: GPL-2.0

//! Datagrams that come in: whether they count, and what they say of who sent them.

use super::detector::Detector;
use super::source::Silence;
use super::{DetectorReport, DetectorVerdict, FailureDetector};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{PeerAddress, ViewNumber};
use crate::protocol::limits::WATCHED_MAX;
use crate::protocol::time::Instant;
use crate::protocol::wire::gossip::GossipBody;
use crate::protocol::wire::heartbeat::DetectorBody;
use crate::protocol::wire::{Datagram, Header, Kind};

impl FailureDetector {
    /// A datagram came in, of whatever kind: called for each one, in the receive soft interrupt.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: PeerAddress,
        bytes: &[u8],
    ) -> DetectorVerdict {
        self.counters.count(Counter::DatagramsReceived);
        match self.receive(now, from, bytes) {
            Ok(verdict) => verdict,
            Err(counter) => {
                self.counters.count(counter);
                DetectorVerdict::Dropped(counter)
            }
        }
    }

    fn receive(
        &mut self,
        now: Instant,
        from: PeerAddress,
        bytes: &[u8],
    ) -> Result<DetectorVerdict, Counter> {
        let datagram = Datagram::parse(bytes, self.cluster)?;
        let header = datagram.header;
        if header.sender == self.own {
            return Err(Counter::DroppedFromSelf);
        }
        if header.view != ViewNumber::default() {
            self.heard_anybody_at = now;
        }
        if !header.kind.is_failure_detection() {
            let is_asked = header.kind == Kind::IndirectProbe
                && self.view != ViewNumber::default()
                && !self.is_other_view(&header);
            return Ok(if is_asked && self.check_sources(now) {
                DetectorVerdict::ForBoth
            } else {
                DetectorVerdict::ForEngine
            });
        }
        if header.kind == Kind::Gossip {
            let body = GossipBody::parse(datagram.body)?;
            self.look_at_view(now, &header, from)?;
            self.receive_gossip(now, &header, from, &body)?;
            return Ok(DetectorVerdict::Consumed);
        }
        let body = DetectorBody::parse(datagram.body)?;
        self.look_at_view(now, &header, from)?;
        match header.kind {
            Kind::Heartbeat => self.receive_heartbeat(now, &header, from)?,
            Kind::Probe => self.receive_probe(&header, from, body.number)?,
            _ => self.receive_answer(now, &header, from, body.number)?,
        }
        Ok(DetectorVerdict::Consumed)
    }

    /// Without a view there is nobody to listen to; another one is told to the engine.
    fn look_at_view(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
    ) -> Result<(), Counter> {
        if self.view == ViewNumber::default() {
            return Err(Counter::DroppedNonMember);
        }
        if self.is_other_view(header) {
            self.report_other_view(now, header, from);
        }
        if self.is_elsewhere(header) {
            return Err(Counter::DroppedOtherView);
        }
        Ok(())
    }

    /// A table of counters: all watched nodes whose counters have grown are well.
    fn receive_gossip(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
        body: &GossipBody<'_>,
    ) -> Result<(), Counter> {
        let is_other_view = self.is_other_view(header);
        let Detector::Gossip(gossip) = &mut self.detector else {
            return Err(Counter::DroppedUnexpected);
        };
        if is_other_view {
            return Err(Counter::DroppedOtherView);
        }
        gossip.merge(header.sender, from, body)?;
        self.counters.count(Counter::HeartbeatsReceived);
        for place in 0..WATCHED_MAX {
            let has_grown = match &mut self.detector {
                Detector::Gossip(gossip) => gossip.has_grown(place),
                Detector::Ring(_) => false,
            };
            if has_grown {
                self.note_sign_of_life(now, place);
            }
        }
        Ok(())
    }

    /// The watched node in this place has given a sign of life.
    fn note_sign_of_life(&mut self, now: Instant, place: usize) {
        let next_miss = self.detector.next_miss(now);
        let Some(Some(source)) = self.sources.get_mut(place) else {
            return;
        };
        source.last_heard = now;
        source.misses = source.misses.wrapping_shl(1);
        source.deadline = next_miss;
        if let Some(before) = source.last_heartbeat.replace(now) {
            let due = before.after(self.detector.period());
            self.delays.received(source.peer.identity, now.since(due));
        }
        if let Some(report) = source.hear() {
            self.report(report);
        }
    }

    fn receive_heartbeat(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
    ) -> Result<(), Counter> {
        if let Detector::Gossip(_) = self.detector {
            return Err(Counter::DroppedUnexpected);
        }
        let other_view = self.is_other_view(header);
        let watched = self.sources.iter_mut().enumerate();
        let mut watched = watched.filter_map(|(place, source)| Some((place, source.as_mut()?)));
        let Some((place, source)) =
            watched.find(|(_, source)| source.peer.identity.node == header.sender.node)
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
        self.counters.count(Counter::HeartbeatsReceived);
        self.note_sign_of_life(now, place);
        Ok(())
    }

    /// Somebody suspicions us. Whoever watches us by its view gets an answer, also while the views of
    /// both ends differ.
    fn receive_probe(
        &mut self,
        header: &Header,
        from: PeerAddress,
        number: u32,
    ) -> Result<(), Counter> {
        let node = header.sender.node;
        let known = self.detector.peer(node).or_else(|| {
            let mut sources = self.sources.iter().flatten().map(|source| source.peer);
            sources.find(|peer| peer.identity.node == node)
        });
        match known {
            Some(peer) if peer.identity.incarnation > header.sender.incarnation => {
                return Err(Counter::DroppedStaleIncarnation);
            }
            Some(peer) if peer.identity == header.sender && peer.address != from => {
                return Err(Counter::DroppedWrongAddress);
            }
            Some(_) => {}
            None if self.is_other_view(header) => {}
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
        let next_miss = self.detector.next_miss(now);
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
            // A later incarnation answers: the one that we watch is gone for certain.
            if source.silence != Silence::Dead {
                source.silence = Silence::Dead;
                let report = DetectorReport::Dead {
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

    fn is_other_view(&self, header: &Header) -> bool {
        (header.view, header.lineage) != (self.view, self.lineage)
    }

    /// Whether the sender is in another part of the cluster, whatever its place in this one: it may have been let in
    /// by two. Here it must not seem alive.
    fn is_elsewhere(&self, header: &Header) -> bool {
        header.view != ViewNumber::default() && header.lineage != self.lineage
    }

    fn report_other_view(&mut self, now: Instant, header: &Header, from: PeerAddress) {
        if now >= self.other_view_after {
            self.other_view_after = now.after(self.other_view_pause);
            self.report(DetectorReport::OtherView {
                sender: header.sender,
                from,
                view: header.mark(),
            });
        }
    }

    /// Queues a report. There is room for what all sources can say; an `OtherView` without room is
    /// lost, the next heartbeat repeats it.
    pub(super) fn report(&mut self, report: DetectorReport) {
        let _ = self.reports.push(report);
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(
    CONFIG_KUNIT = "y",
    kernel::macros::kunit_tests(kcgcs_detector_receiving)
)]
mod tests {
    use super::super::test_bench::{assignment, Bench, VIEW};
    use super::super::ANSWERS_MAX;
    use super::*;
    use crate::protocol::configuration::Configuration;
    use crate::protocol::identity::ViewMark;
    use crate::protocol::limits::HEARTBEAT_BYTES;
    use crate::protocol::test_support::{
        address, at, identity, identity_in, TestResult, Unexpected,
    };

    const DEFAULT: Configuration = Configuration::DEFAULT;
    const OTHER_VIEW: ViewNumber = ViewNumber(6);

    fn bench() -> Result<Bench, Unexpected> {
        Bench::new(at(1000), DEFAULT)
    }

    /// A bench whose node 2 is suspected: one probe is out, the time is 1335 ms.
    fn suspecting_bench() -> Result<Bench, Unexpected> {
        let mut bench = bench()?;
        bench.run(at(1335))?;
        Ok(bench)
    }

    #[test]
    fn only_the_watched_incarnation_at_its_address_is_heard() -> TestResult {
        // Who, from where, in which view, its counter, what becomes of it.
        let table = [
            (identity(2), address(2), VIEW, 1, DetectorVerdict::Consumed),
            (
                identity(2),
                address(2),
                OTHER_VIEW,
                1,
                DetectorVerdict::Consumed,
            ),
            (
                identity_in(2, 0),
                address(2),
                VIEW,
                1,
                DetectorVerdict::Dropped(Counter::DroppedStaleIncarnation),
            ),
            (
                identity_in(2, 2),
                address(2),
                VIEW,
                1,
                DetectorVerdict::Dropped(Counter::DroppedOtherView),
            ),
            (
                identity(2),
                address(3),
                VIEW,
                1,
                DetectorVerdict::Dropped(Counter::DroppedWrongAddress),
            ),
            (
                identity(2),
                address(2),
                VIEW,
                0,
                DetectorVerdict::Dropped(Counter::DroppedDuplicate),
            ),
            (
                identity(4),
                address(4),
                VIEW,
                1,
                DetectorVerdict::Dropped(Counter::DroppedUnwatched),
            ),
            (
                identity(4),
                address(4),
                OTHER_VIEW,
                1,
                DetectorVerdict::Dropped(Counter::DroppedOtherView),
            ),
            (
                identity(1),
                address(1),
                VIEW,
                1,
                DetectorVerdict::Dropped(Counter::DroppedFromSelf),
            ),
        ];
        for (sender, from, view, counter, expected) in table {
            let mut bench = bench()?;
            let head = (Kind::Heartbeat, sender, view);
            let verdict = bench.receive(at(1100), from, head, counter, 0);
            assert_eq!(verdict, expected);
            let heard = bench
                .failure_detector
                .counters()
                .value(Counter::HeartbeatsReceived);
            assert_eq!(heard, u64::from(verdict == DetectorVerdict::Consumed));
            if let DetectorVerdict::Dropped(counter) = verdict {
                assert_eq!(bench.failure_detector.counters().value(counter), 1);
            }
        }
        Ok(())
    }

    #[test]
    fn copies_and_overtaken_heartbeats_prove_nothing() -> TestResult {
        let mut bench = bench()?;
        let duplicate = DetectorVerdict::Dropped(Counter::DroppedDuplicate);
        assert_eq!(bench.hear(at(1001), 2, 7), DetectorVerdict::Consumed);
        let deadline = bench.failure_detector.next_deadline();
        assert_eq!(bench.hear(at(1002), 2, 7), duplicate);
        assert_eq!(bench.hear(at(1003), 2, 6), duplicate);
        assert_eq!(bench.failure_detector.next_deadline(), deadline);
        assert_eq!(bench.hear(at(1004), 2, u64::MAX), DetectorVerdict::Consumed);
        assert_eq!(bench.hear(at(1005), 2, u64::MAX), duplicate);
        Ok(())
    }

    #[test]
    fn a_copy_of_an_old_heartbeat_does_not_bring_the_dead_back() -> TestResult {
        let mut bench = bench()?;
        bench.hear(at(1001), 2, 7);
        bench.run(at(2000))?;
        assert_eq!(
            bench.hear(at(2001), 2, 7),
            DetectorVerdict::Dropped(Counter::DroppedDuplicate)
        );
        assert!(!bench.failure_detector.has_reports());
        Ok(())
    }

    #[test]
    fn datagrams_of_other_kinds_are_the_engines_also_without_a_view() -> TestResult {
        for mut bench in [bench()?, Bench::silent(at(1000), DEFAULT)?] {
            for kind in [Kind::Join, Kind::Report, Kind::Commit, Kind::GroupData] {
                let head = (kind, identity(2), VIEW);
                let verdict = bench.receive(at(1001), address(2), head, 1, 0);
                assert_eq!(verdict, DetectorVerdict::ForEngine);
            }
        }
        Ok(())
    }

    #[test]
    fn without_a_view_nobody_is_listened_to() -> TestResult {
        let mut bench = Bench::silent(at(1000), DEFAULT)?;
        for kind in [Kind::Heartbeat, Kind::Probe, Kind::ProbeReply] {
            let verdict = bench.receive(at(1001), address(2), (kind, identity(2), VIEW), 1, 1);
            assert_eq!(verdict, DetectorVerdict::Dropped(Counter::DroppedNonMember));
        }
        assert!(bench.sent(at(1001)).is_none() && !bench.failure_detector.has_reports());
        Ok(())
    }

    #[test]
    fn malformed_datagrams_are_counted_and_change_nothing() -> TestResult {
        let mut bench = bench()?;
        let deadline = bench.failure_detector.next_deadline();
        for length in 0..=HEARTBEAT_BYTES {
            let bytes = [0; HEARTBEAT_BYTES];
            let bytes = bytes.get(..length).ok_or(Unexpected)?;
            let verdict = bench
                .failure_detector
                .handle_datagram(at(1001), address(2), bytes);
            assert!(matches!(
                verdict,
                DetectorVerdict::Dropped(Counter::DroppedShort | Counter::DroppedMagic)
            ));
        }
        assert_eq!(bench.failure_detector.next_deadline(), deadline);
        let received = bench
            .failure_detector
            .counters()
            .value(Counter::DatagramsReceived);
        assert_eq!(received, HEARTBEAT_BYTES as u64 + 1);
        Ok(())
    }

    #[test]
    fn another_view_is_reported_once_in_a_while() -> TestResult {
        let mut bench = bench()?;
        let other = Some(DetectorReport::OtherView {
            sender: identity(4),
            from: address(4),
            view: ViewMark {
                number: OTHER_VIEW,
                lineage: 0,
            },
        });
        // The pause is that before a message is sent again, 30 ms.
        for (now_ms, expected) in [(1001, other), (1002, None), (1030, None), (1031, other)] {
            let head = (Kind::Heartbeat, identity(4), OTHER_VIEW);
            bench.receive(at(now_ms), address(4), head, now_ms, 0);
            assert_eq!(bench.failure_detector.poll_report(), expected);
        }
        Ok(())
    }

    #[test]
    fn a_probe_is_answered_with_its_number() -> TestResult {
        // Neighbours of this view, and whoever watches us by another one.
        for (sender, view) in [
            (identity(2), VIEW),
            (identity(3), VIEW),
            (identity(9), OTHER_VIEW),
        ] {
            let mut bench = bench()?;
            while bench.sent(at(1001)).is_some() {}
            let from = address(sender.node.number());
            let head = (Kind::Probe, sender, view);
            let verdict = bench.receive(at(1002), from, head, 1, 0xabcd);
            assert_eq!(verdict, DetectorVerdict::Consumed);
            let answer = bench.sent(at(1002)).ok_or(Unexpected)?;
            assert_eq!((answer.kind, answer.to), (Kind::ProbeReply, from));
            assert_eq!(answer.body.number, 0xabcd);
            assert_eq!(
                bench
                    .failure_detector
                    .counters()
                    .value(Counter::ProbesAnswered),
                1
            );
            assert!(bench.sent(at(1002)).is_none());
        }
        Ok(())
    }

    #[test]
    fn probes_of_strangers_and_earlier_incarnations_are_not_answered() -> TestResult {
        for (sender, from, counter) in [
            (identity(9), address(9), Counter::DroppedNonMember),
            (
                identity_in(2, 0),
                address(2),
                Counter::DroppedStaleIncarnation,
            ),
            (identity(2), address(9), Counter::DroppedWrongAddress),
        ] {
            let mut bench = bench()?;
            while bench.sent(at(1001)).is_some() {}
            let verdict = bench.receive(at(1002), from, (Kind::Probe, sender, VIEW), 1, 1);
            assert_eq!(verdict, DetectorVerdict::Dropped(counter));
            assert!(bench.sent(at(1002)).is_none());
        }
        Ok(())
    }

    #[test]
    fn answers_that_wait_are_bounded() -> TestResult {
        let mut bench = bench()?;
        while bench.sent(at(1001)).is_some() {}
        let head = (Kind::Probe, identity(2), VIEW);
        for number in 1..=ANSWERS_MAX as u32 + 2 {
            let verdict = bench.receive(at(1001), address(2), head, u64::from(number), number);
            let fits = number as usize <= ANSWERS_MAX;
            let expected = if fits {
                DetectorVerdict::Consumed
            } else {
                DetectorVerdict::Dropped(Counter::DroppedNoRoom)
            };
            assert_eq!(verdict, expected);
        }
        let sent = bench.count_sent(at(1001), Kind::ProbeReply, address(2));
        assert_eq!(sent, ANSWERS_MAX);
        let verdict = bench.receive(at(1002), address(2), head, 99, 99);
        assert_eq!(verdict, DetectorVerdict::Consumed);
        Ok(())
    }

    #[test]
    fn only_answers_to_probes_that_were_sent_count() -> TestResult {
        let unexpected = DetectorVerdict::Dropped(Counter::DroppedUnexpected);
        let mut calm = bench()?;
        assert_eq!(calm.answer(at(1001), 2, 1, 1), unexpected);
        let table = [
            (identity(2), address(2), 1, DetectorVerdict::Consumed),
            (identity(2), address(2), 0, unexpected),
            (identity(2), address(2), 2, unexpected),
            (
                identity(2),
                address(9),
                1,
                DetectorVerdict::Dropped(Counter::DroppedWrongAddress),
            ),
            (
                identity_in(2, 0),
                address(2),
                1,
                DetectorVerdict::Dropped(Counter::DroppedStaleIncarnation),
            ),
            (
                identity(9),
                address(9),
                1,
                DetectorVerdict::Dropped(Counter::DroppedUnwatched),
            ),
        ];
        for (sender, from, probe, expected) in table {
            let mut bench = suspecting_bench()?;
            let head = (Kind::ProbeReply, sender, VIEW);
            assert_eq!(bench.receive(at(1336), from, head, 1, probe), expected);
        }
        Ok(())
    }

    #[test]
    fn the_answer_of_a_later_incarnation_proves_the_watched_one_dead() -> TestResult {
        let mut bench = suspecting_bench()?;
        let head = (Kind::ProbeReply, identity_in(2, 2), VIEW);
        let dead = Some(DetectorReport::Dead {
            subject: identity(2),
            silence_ms: 340,
        });
        // It is told once.
        for expected in [dead, None] {
            let verdict = bench.receive(at(1340), address(2), head, 1, 1);
            assert_eq!(verdict, DetectorVerdict::Consumed);
            assert_eq!(bench.failure_detector.poll_report(), expected);
        }
        Ok(())
    }

    #[test]
    fn reports_without_room_are_left_out_and_the_first_ones_kept_in_order() -> TestResult {
        let mut bench = bench()?;
        bench
            .failure_detector
            .install(at(1000), &assignment(&[], &[]), &[]);
        let places = bench.failure_detector.reports.capacity() as u64;
        for number in 0..places + 5 {
            let now = at(1000 + 30 * number);
            let head = (Kind::Heartbeat, identity(9), ViewNumber(100 + number));
            bench.receive(now, address(9), head, number, 0);
        }
        for number in 0..places {
            let report = bench.failure_detector.poll_report();
            let expected = ViewNumber(100 + number);
            assert!(
                matches!(report, Some(DetectorReport::OtherView { view, .. }) if view.number == expected)
            );
        }
        assert_eq!(bench.failure_detector.poll_report(), None);
        Ok(())
    }
}
