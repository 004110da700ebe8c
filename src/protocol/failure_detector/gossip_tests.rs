// SPDX-License-Identifier: GPL-2.0

//! Unit tests of the failure detector with gossip: what is told, what is believed, and what silence comes of it.

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_gossip))]
mod tests {
    use super::super::test_bench::{assignment, VIEW};
    use super::super::*;
    use crate::protocol::configuration::{Configuration, DetectorKind};
    use crate::protocol::limits::{DETECTOR_BYTES_MAX, GOSSIP_ENTRIES_MAX};
    use crate::protocol::test_support::{
        address, at, identity, identity_in, span, view, TestResult, Unexpected,
    };
    use crate::protocol::view::ClusterView;
    use crate::protocol::wire::gossip::{write_gossip, GossipBody};
    use crate::protocol::wire::Datagram;

    /// Rounds of 50 ms.
    const GOSSIP: Configuration = Configuration {
        heartbeat_interval_ms: 150,
        detector: DetectorKind::Gossip,
        ..Configuration::DEFAULT
    };
    /// How long a counter may stand still among five: three doublings and twelve rounds more, and the slack.
    const SILENCE: Duration = span(15 * 50 + 15);

    /// Node 1 of a view, which watches nodes 2 and 3.
    struct Bench {
        failure_detector: FailureDetector,
        cluster: u32,
        view: ClusterView,
    }

    /// What was told, and to whom.
    struct Told {
        to: PeerAddress,
        header: Header,
        first: usize,
        own_counter: u32,
        count: usize,
        counters: [u32; 8],
    }

    impl Bench {
        fn new(settings: Configuration, members: u16) -> Result<Self, Unexpected> {
            let valid = ValidConfiguration::new(settings, b"bench", address(1), &[])?;
            let mut bench = Self {
                failure_detector: FailureDetector::new(identity(1), &valid, at(1000), 7)?,
                cluster: valid.cluster(),
                view: view(1..=members)?,
            };
            bench.install(at(1000), &assignment(&[], &[2, 3]));
            Ok(bench)
        }

        fn install(&mut self, now: Instant, assignment: &DetectorAssignment) {
            self.failure_detector
                .install(now, assignment, self.view.members());
        }

        /// The next datagram, if it is gossip; probes are left out.
        fn told(&mut self, now: Instant) -> Option<Told> {
            let mut buffer = [0; DETECTOR_BYTES_MAX];
            loop {
                let transmit = self.failure_detector.poll_transmit(now, &mut buffer)?;
                let datagram =
                    Datagram::parse(buffer.get(..transmit.length)?, self.cluster).ok()?;
                if datagram.header.kind != Kind::Gossip {
                    continue;
                }
                let body = GossipBody::parse(datagram.body).ok()?;
                let mut counters = [0; 8];
                for (place, counter) in counters.iter_mut().zip(body.counters()) {
                    *place = counter;
                }
                return Some(Told {
                    to: transmit.to,
                    header: datagram.header,
                    first: usize::from(body.first),
                    own_counter: body.own_counter,
                    count: body.counters().count(),
                    counters,
                });
            }
        }

        /// A table comes in, of a sender in a view.
        fn hear_in(
            &mut self,
            now: Instant,
            (sender, from, view): (Identity, PeerAddress, ViewNumber),
            (own_counter, counters): (u32, &[u32]),
        ) -> DetectorVerdict {
            let header = Header {
                kind: Kind::Gossip,
                cluster: self.cluster,
                sender,
                view,
                lineage: 0,
                counter: 1,
            };
            let mut buffer = [0; DETECTOR_BYTES_MAX];
            let members = counters.len() as u16;
            let length = write_datagram(&mut buffer, &header, |writer| {
                write_gossip(writer, members, 0, own_counter, counters.iter().copied())
            });
            let bytes = buffer.get(..length.unwrap_or(0)).unwrap_or_default();
            self.failure_detector.handle_datagram(now, from, bytes)
        }

        /// A table of member 4 comes in.
        fn hear(&mut self, now: Instant, own_counter: u32, counters: &[u32]) -> DetectorVerdict {
            let head = (identity(4), address(4), VIEW);
            self.hear_in(now, head, (own_counter, counters))
        }

        /// On time at each deadline up to and with `until`. Node 3 is well, as member 4 tells. Says what was
        /// reported last.
        fn run(&mut self, until: Instant) -> Option<DetectorReport> {
            let mut last = None;
            while let Some(now) = self
                .failure_detector
                .next_deadline()
                .filter(|at| *at <= until)
            {
                let growing = (now.as_nanoseconds() / 1_000_000) as u32;
                self.hear(now, growing, &[0, 0, growing, 0, 0]);
                self.failure_detector.handle_timer(now);
                while self.told(now).is_some() {}
                while let Some(report) = self.failure_detector.poll_report() {
                    last = Some(report);
                }
            }
            last
        }

        fn count(&self, counter: Counter) -> u64 {
            self.failure_detector.counters().value(counter)
        }
    }

    #[test]
    fn in_each_round_one_member_that_is_drawn_is_told_all_counters() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        bench.hear(at(1000), 70, &[9, 20, 30, 0, 0]);
        let mut times_told = [0_u32; 5];
        for round in 1..=200 {
            let now = bench
                .failure_detector
                .next_deadline()
                .ok_or(Unexpected)?
                .max(at(1000));
            let told = bench.told(now).ok_or(Unexpected)?;
            assert!(bench.told(now).is_none());
            assert_eq!((told.header.sender, told.header.view), (identity(1), VIEW));
            assert_eq!((told.first, told.count), (0, 5));
            assert_eq!(told.own_counter, round);
            // Nobody else knows better what this node's own counter is.
            assert_eq!(told.counters, [round, 20, 30, 70, 0, 0, 0, 0]);
            let place = (2..=5).position(|number| told.to == address(number));
            *times_told
                .get_mut(place.ok_or(Unexpected)?)
                .ok_or(Unexpected)? += 1;
            bench.hear(now, 70, &[9, 20, 30, 0, 0]);
            if round == 200 {
                // The first one is told at once, the others in steps of 50 ms.
                assert!(now > at(1000 + 197 * 50) && now <= at(1000 + 199 * 50));
            }
            bench.keep_quiet(now);
        }
        let [a, b, c, d, none] = times_told;
        assert!([a, b, c, d].iter().all(|count| (25..80).contains(count)) && none == 0);
        Ok(())
    }

    impl Bench {
        /// All that are watched are well, whatever was heard of them.
        fn keep_quiet(&mut self, now: Instant) {
            let assignment = assignment(&[], &[]);
            self.install_without_round(now, &assignment);
        }

        fn install_without_round(&mut self, now: Instant, assignment: &DetectorAssignment) {
            self.install(now, assignment);
            if let Detector::Gossip(gossip) = &mut self.failure_detector.detector {
                gossip.skip_round(now);
            }
        }
    }

    #[test]
    fn a_counter_that_stands_still_becomes_death_when_no_probe_is_answered() -> TestResult {
        for (probe_count, told_after_ms) in [(4, Some(25)), (1, None), (0, None)] {
            let settings = Configuration {
                probe_count,
                ..GOSSIP
            };
            let mut bench = Bench::new(settings, 5)?;
            bench.hear(at(1100), 1, &[0, 7, 0, 0, 0]);
            let suspected = at(1100).after(SILENCE);
            let before = Instant::from_nanoseconds(suspected.as_nanoseconds() - 1);
            assert_eq!(bench.run(before), None);
            assert_eq!(bench.count(Counter::ProbesSent), 0);
            if let Some(wait_ms) = told_after_ms {
                let told = bench.run(suspected.after(span(wait_ms)));
                assert!(matches!(told, Some(DetectorReport::Silent { .. })));
            }
            let wait = span(25 * u64::from(probe_count));
            let silence_ms = SILENCE.plus(wait).as_milliseconds();
            let subject = identity(2);
            let dead = Some(DetectorReport::Dead {
                subject,
                silence_ms,
            });
            assert_eq!(bench.run(suspected.after(wait)), dead);
            assert_eq!(bench.count(Counter::ProbesSent), u64::from(probe_count));
            assert_eq!(bench.run(at(9000)), None);
            // It was only slow: a counter that goes on brings it back.
            bench.hear(at(9000), 1, &[0, 8, 0, 0, 0]);
            let heard = Some(DetectorReport::Heard { subject });
            assert_eq!(bench.failure_detector.poll_report(), heard);
        }
        Ok(())
    }

    #[test]
    fn copies_and_what_is_older_are_no_sign_of_life() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        bench.hear(at(1100), 1, &[0, 7, 3, 0, 0]);
        for now_ms in [1200, 1300, 1400] {
            assert_eq!(
                bench.hear(at(now_ms), 1, &[0, 7, 2, 0, 0]),
                DetectorVerdict::Consumed
            );
            assert_eq!(
                bench.hear(at(now_ms), 1, &[0, 0, 0, 0, 0]),
                DetectorVerdict::Consumed
            );
        }
        let mut silences = [None; 2];
        let mut place = silences.iter_mut();
        bench
            .failure_detector
            .for_each_source(at(1400), &mut |_, silence| {
                if let Some(place) = place.next() {
                    *place = Some(silence);
                }
            });
        assert_eq!(silences, [Some(span(300)); 2]);
        Ok(())
    }

    #[test]
    fn a_member_is_heard_directly_too_whatever_part_it_tells() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        let head = (identity(2), address(2), VIEW);
        bench.hear_in(at(1500), head, (3, &[0, 0, 0, 0, 0]));
        let mut least = span(9000);
        bench
            .failure_detector
            .for_each_source(at(1500), &mut |_, silence| least = least.min(silence));
        assert_eq!(least, Duration::ZERO);
        Ok(())
    }

    #[test]
    fn only_members_that_have_the_same_view_are_believed() -> TestResult {
        let dropped = DetectorVerdict::Dropped;
        let other = ViewNumber(6);
        let all = &[0, 9, 9, 9, 9][..];
        let table = [
            (
                identity(4),
                address(4),
                VIEW,
                all,
                DetectorVerdict::Consumed,
            ),
            (
                identity(4),
                address(4),
                other,
                all,
                dropped(Counter::DroppedOtherView),
            ),
            (
                identity(9),
                address(9),
                VIEW,
                all,
                dropped(Counter::DroppedNonMember),
            ),
            (
                identity_in(4, 2),
                address(4),
                VIEW,
                all,
                dropped(Counter::DroppedNonMember),
            ),
            (
                identity_in(4, 0),
                address(4),
                VIEW,
                all,
                dropped(Counter::DroppedStaleIncarnation),
            ),
            (
                identity(4),
                address(5),
                VIEW,
                all,
                dropped(Counter::DroppedWrongAddress),
            ),
            (
                identity(1),
                address(1),
                VIEW,
                all,
                dropped(Counter::DroppedFromSelf),
            ),
            (
                identity(4),
                address(4),
                VIEW,
                &[0, 9, 9, 9],
                dropped(Counter::DroppedValue),
            ),
        ];
        for (sender, from, view, counters, expected) in table {
            let mut bench = Bench::new(GOSSIP, 5)?;
            while bench.told(at(1000)).is_some() {}
            let verdict = bench.hear_in(at(1100), (sender, from, view), (9, counters));
            assert_eq!(verdict, expected);
            assert_eq!(bench.failure_detector.has_reports(), view == other);
            let is_heard = verdict == DetectorVerdict::Consumed;
            assert_eq!(
                bench.count(Counter::HeartbeatsReceived),
                u64::from(is_heard)
            );
            let told = bench.told(at(1200)).ok_or(Unexpected)?;
            let [_, second, ..] = told.counters;
            assert_eq!(second, if is_heard { 9 } else { 0 });
        }
        Ok(())
    }

    #[test]
    fn heartbeats_and_gossip_do_not_understand_each_other() -> TestResult {
        let unexpected = DetectorVerdict::Dropped(Counter::DroppedUnexpected);
        let mut ring = Bench::new(Configuration::DEFAULT, 5)?;
        assert_eq!(ring.hear(at(1001), 1, &[0, 1, 1, 0, 0]), unexpected);
        let mut gossip = super::super::test_bench::Bench::new(at(1000), GOSSIP)?;
        assert_eq!(gossip.hear(at(1001), 2, 1), unexpected);
        Ok(())
    }

    #[test]
    fn a_view_too_large_for_one_datagram_is_told_in_parts() -> TestResult {
        let members = 2 * GOSSIP_ENTRIES_MAX as u16 + 10;
        let mut bench = Bench::new(GOSSIP, members)?;
        let mut now = at(1000);
        let mut parts = [0_u32; 3];
        for _ in 0..9 {
            let told = bench.told(now).ok_or(Unexpected)?;
            let part = told.first / GOSSIP_ENTRIES_MAX;
            let expected = if part == 2 { 10 } else { GOSSIP_ENTRIES_MAX };
            assert_eq!(told.count, expected);
            *parts.get_mut(part).ok_or(Unexpected)? += 1;
            now = now.after(span(50));
        }
        assert_eq!(parts, [3, 3, 3]);
        Ok(())
    }

    #[test]
    fn counters_go_on_in_the_next_view_but_not_in_the_next_incarnation() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        bench.hear(at(1100), 40, &[0, 20, 30, 0, 50]);
        let told = bench.told(at(1100)).ok_or(Unexpected)?;
        assert_eq!(told.own_counter, 1);
        // Member 3 goes, 6 comes.
        bench.view = view([1, 2, 4, 5, 6])?;
        let mut next = assignment(&[], &[2]);
        next.view = ViewNumber(6);
        bench.install(at(1200), &next);
        let told = bench.told(at(1200)).ok_or(Unexpected)?;
        assert_eq!(told.counters, [2, 20, 40, 50, 0, 0, 0, 0]);
        next.own = identity_in(1, 2);
        bench.install(at(1300), &next);
        let told = bench.told(at(1300)).ok_or(Unexpected)?;
        assert_eq!(told.own_counter, 1);
        Ok(())
    }

    #[test]
    fn a_new_view_leaves_a_silent_member_half_of_the_time_at_least() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        while bench.told(at(1000)).is_some() {}
        let mut next = assignment(&[], &[2]);
        next.view = ViewNumber(6);
        let deadline = at(1000).after(SILENCE);
        for (now, expected) in [
            (at(1100), deadline),
            (at(1700), at(1700).after(SILENCE.divided_by(2))),
        ] {
            bench.install_without_round(now, &next);
            let mut waits = bench
                .failure_detector
                .sources
                .iter()
                .flatten()
                .map(|source| source.deadline);
            assert_eq!(waits.next(), Some(expected));
        }
        Ok(())
    }

    #[test]
    fn a_late_timer_moves_all_deadlines_and_accuses_nobody() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        while bench.told(at(1000)).is_some() {}
        let now = at(60_000);
        bench.failure_detector.handle_timer(now);
        while bench.told(now).is_some() {}
        assert_eq!(bench.count(Counter::TimerLate), 1);
        assert_eq!(bench.count(Counter::ProbesSent), 0);
        assert!(!bench.failure_detector.has_reports());
        // One round was late, and no other one is made up for.
        assert_eq!(bench.count(Counter::HeartbeatsSent), 2);
        let lateness = bench
            .failure_detector
            .neighbour_delays(2)
            .and_then(|known| known.sent);
        let counted = lateness.ok_or(Unexpected)?.buckets.iter().sum::<u32>();
        assert_eq!(counted, 2);
        Ok(())
    }

    #[test]
    fn who_hears_nobody_tells_nobody_anything() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        let mut sent = [0; 2];
        for (limit, count) in [at(7000), at(14_000)].into_iter().zip(sent.iter_mut()) {
            while let Some(now) = bench
                .failure_detector
                .next_deadline()
                .filter(|at| *at <= limit)
            {
                bench.failure_detector.handle_timer(now);
                while bench.told(now).is_some() {}
            }
            *count = bench.count(Counter::HeartbeatsSent);
        }
        let [first, all] = sent;
        assert!((30..80).contains(&first) && all == first);
        assert!(bench.count(Counter::HeartbeatsWithheld) > 100);
        bench.hear(at(14_001), 5, &[0, 5, 5, 0, 0]);
        assert!(bench.told(at(14_100)).is_some());
        Ok(())
    }

    #[test]
    fn nobody_is_told_anything_where_there_is_nobody() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 1)?;
        bench.install(at(1000), &assignment(&[], &[]));
        assert_eq!(bench.failure_detector.next_deadline(), None);
        assert!(bench.told(at(9000)).is_none());
        bench.view.clear();
        bench.install(at(9000), &DetectorAssignment::silent(identity(1)));
        assert_eq!(bench.failure_detector.next_deadline(), None);
        assert_eq!(bench.failure_detector.neighbour_delays(0), None);
        Ok(())
    }

    #[test]
    fn counters_wrap_around() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        // What comes, what is believed from then on.
        for (counter, believed) in [
            (u32::MAX - 1, u32::MAX - 1),
            (5, 5),
            (u32::MAX, 5),
            (0, 5),
            (5 + u32::MAX / 2, 5 + u32::MAX / 2),
            (4, 5 + u32::MAX / 2),
            (u32::MAX, u32::MAX),
            (3, 3),
        ] {
            bench.hear(at(1100), 1, &[0, counter, 0, 0, 0]);
            let now = bench
                .failure_detector
                .next_deadline()
                .ok_or(Unexpected)?
                .max(at(1100));
            let told = bench.told(now).ok_or(Unexpected)?;
            let [_, second, ..] = told.counters;
            assert_eq!(second, believed);
        }
        Ok(())
    }
}
