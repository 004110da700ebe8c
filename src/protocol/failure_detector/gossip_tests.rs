// SPDX-License-Identifier: GPL-2.0

//! Unit tests of the failure detector with gossip: what is sent, what is merged, and when a node is suspected.

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_detector_gossip))]
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
    use crate::protocol::wire::{Datagram, Header};

    /// Rounds of 50 ms.
    const GOSSIP: Configuration = Configuration {
        heartbeat_interval_ms: 150,
        detector: DetectorKind::Gossip,
        ..Configuration::DEFAULT
    };
    /// How long a counter may stand still among five members: three doublings and twelve more rounds, and the slack.
    const SILENCE: Duration = span(15 * 50 + 15);

    /// Node 1 of a view, which monitors nodes 2 and 3.
    struct Bench {
        detector: FailureDetector,
        cluster: u32,
        view: ClusterView,
    }

    /// A table that was sent.
    struct Table {
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
                detector: FailureDetector::new(identity(1), &valid, at(1000), 7)?,
                cluster: valid.cluster(),
                view: view(1..=members)?,
            };
            bench.install(at(1000), &assignment(&[], &[2, 3]));
            Ok(bench)
        }

        fn install(&mut self, now: Instant, assignment: &DetectorAssignment) {
            self.detector.install(now, assignment, self.view.members());
        }

        /// The next table that is sent. Probes are skipped.
        fn sent(&mut self, now: Instant) -> Option<Table> {
            let mut buffer = [0; DETECTOR_BYTES_MAX];
            loop {
                let transmit = self.detector.poll_transmit(now, &mut buffer)?;
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
                return Some(Table {
                    to: transmit.to,
                    header: datagram.header,
                    first: usize::from(body.first),
                    own_counter: body.own_counter,
                    count: body.counters().count(),
                    counters,
                });
            }
        }

        /// A table arrives from a sender in a view.
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
            self.detector.handle_datagram(now, from, bytes)
        }

        /// A table arrives from member 4.
        fn hear(&mut self, now: Instant, own_counter: u32, counters: &[u32]) -> DetectorVerdict {
            let head = (identity(4), address(4), VIEW);
            self.hear_in(now, head, (own_counter, counters))
        }

        /// Handle the timer at each deadline up to and including `until`. Node 3 is alive, as the tables of member 4
        /// show. Returns the last report.
        fn run(&mut self, until: Instant) -> Option<DetectorReport> {
            let mut last = None;
            while let Some(now) = self.detector.next_deadline().filter(|at| *at <= until) {
                let growing = (now.as_nanoseconds() / 1_000_000) as u32;
                self.hear(now, growing, &[0, 0, growing, 0, 0]);
                self.detector.handle_timer(now);
                while self.sent(now).is_some() {}
                while let Some(report) = self.detector.poll_report() {
                    last = Some(report);
                }
            }
            last
        }

        fn count(&self, counter: Counter) -> u64 {
            self.detector.counters().value(counter)
        }
    }

    #[test]
    fn in_each_round_one_random_member_gets_all_counters() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        bench.hear(at(1000), 70, &[9, 20, 30, 0, 0]);
        let mut times_drawn = [0_u32; 5];
        for round in 1..=200 {
            let now = bench
                .detector
                .next_deadline()
                .ok_or(Unexpected)?
                .max(at(1000));
            let sent = bench.sent(now).ok_or(Unexpected)?;
            assert!(bench.sent(now).is_none());
            assert_eq!((sent.header.sender, sent.header.view), (identity(1), VIEW));
            assert_eq!((sent.first, sent.count), (0, 5));
            assert_eq!(sent.own_counter, round);
            // No other node changes this node's own counter.
            assert_eq!(sent.counters, [round, 20, 30, 70, 0, 0, 0, 0]);
            let place = (2..=5).position(|number| sent.to == address(number));
            *times_drawn
                .get_mut(place.ok_or(Unexpected)?)
                .ok_or(Unexpected)? += 1;
            bench.hear(now, 70, &[9, 20, 30, 0, 0]);
            if round == 200 {
                // The first round is at once, the others follow in steps of 50 ms.
                assert!(now > at(1000 + 197 * 50) && now <= at(1000 + 199 * 50));
            }
            bench.keep_quiet(now);
        }
        let [a, b, c, d, none] = times_drawn;
        assert!([a, b, c, d].iter().all(|count| (25..80).contains(count)) && none == 0);
        Ok(())
    }

    impl Bench {
        /// Monitor no node, so that there are no other deadlines than rounds.
        fn keep_quiet(&mut self, now: Instant) {
            let assignment = assignment(&[], &[]);
            self.install_without_round(now, &assignment);
        }

        fn install_without_round(&mut self, now: Instant, assignment: &DetectorAssignment) {
            self.install(now, assignment);
            self.detector.scheme.skip_due(now);
        }
    }

    #[test]
    fn a_node_whose_counter_stands_still_is_probed_then_reported_as_dead() -> TestResult {
        for (probe_count, silent_after_ms) in [(4, Some(25)), (1, None), (0, None)] {
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
            if let Some(wait_ms) = silent_after_ms {
                let report = bench.run(suspected.after(span(wait_ms)));
                assert!(matches!(report, Some(DetectorReport::Silent { .. })));
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
            // The node was only slow: its counter grows again.
            bench.hear(at(9000), 1, &[0, 8, 0, 0, 0]);
            let heard = Some(DetectorReport::Heard { subject });
            assert_eq!(bench.detector.poll_report(), heard);
        }
        Ok(())
    }

    #[test]
    fn equal_and_older_counters_prove_nothing() -> TestResult {
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
            .detector
            .for_each_monitored(at(1400), &mut |_, silence| {
                if let Some(place) = place.next() {
                    *place = Some(silence);
                }
            });
        assert_eq!(silences, [Some(span(300)); 2]);
        Ok(())
    }

    #[test]
    fn a_table_proves_its_sender_alive_whatever_part_it_carries() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        let head = (identity(2), address(2), VIEW);
        bench.hear_in(at(1500), head, (3, &[0, 0, 0, 0, 0]));
        let mut least = span(9000);
        bench
            .detector
            .for_each_monitored(at(1500), &mut |_, silence| least = least.min(silence));
        assert_eq!(least, Duration::ZERO);
        Ok(())
    }

    #[test]
    fn only_tables_of_members_in_the_same_view_are_merged() -> TestResult {
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
            while bench.sent(at(1000)).is_some() {}
            let verdict = bench.hear_in(at(1100), (sender, from, view), (9, counters));
            assert_eq!(verdict, expected);
            assert_eq!(bench.detector.has_reports(), view == other);
            let is_heard = verdict == DetectorVerdict::Consumed;
            assert_eq!(
                bench.count(Counter::HeartbeatsReceived),
                u64::from(is_heard)
            );
            let sent = bench.sent(at(1200)).ok_or(Unexpected)?;
            let [_, second, ..] = sent.counters;
            assert_eq!(second, if is_heard { 9 } else { 0 });
        }
        Ok(())
    }

    #[test]
    fn a_node_refuses_the_heartbeats_of_the_other_scheme() -> TestResult {
        let unexpected = DetectorVerdict::Dropped(Counter::DroppedUnexpected);
        let mut ring = Bench::new(Configuration::DEFAULT, 5)?;
        assert_eq!(ring.hear(at(1001), 1, &[0, 1, 1, 0, 0]), unexpected);
        let mut gossip = super::super::test_bench::Bench::new(at(1000), GOSSIP)?;
        assert_eq!(gossip.hear(at(1001), 2, 1), unexpected);
        Ok(())
    }

    #[test]
    fn a_table_too_large_for_one_datagram_is_sent_in_parts() -> TestResult {
        let members = 2 * GOSSIP_ENTRIES_MAX as u16 + 10;
        let mut bench = Bench::new(GOSSIP, members)?;
        let mut now = at(1000);
        let mut parts = [0_u32; 3];
        for _ in 0..9 {
            let sent = bench.sent(now).ok_or(Unexpected)?;
            let part = sent.first / GOSSIP_ENTRIES_MAX;
            let expected = if part == 2 { 10 } else { GOSSIP_ENTRIES_MAX };
            assert_eq!(sent.count, expected);
            *parts.get_mut(part).ok_or(Unexpected)? += 1;
            now = now.after(span(50));
        }
        assert_eq!(parts, [3, 3, 3]);
        Ok(())
    }

    #[test]
    fn counters_continue_in_the_next_view_but_not_in_the_next_incarnation() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        bench.hear(at(1100), 40, &[0, 20, 30, 0, 50]);
        let sent = bench.sent(at(1100)).ok_or(Unexpected)?;
        assert_eq!(sent.own_counter, 1);
        // Member 3 leaves, member 6 joins.
        bench.view = view([1, 2, 4, 5, 6])?;
        let mut next = assignment(&[], &[2]);
        next.view = ViewNumber(6);
        bench.install(at(1200), &next);
        let sent = bench.sent(at(1200)).ok_or(Unexpected)?;
        assert_eq!(sent.counters, [2, 20, 40, 50, 0, 0, 0, 0]);
        next.own = identity_in(1, 2);
        bench.install(at(1300), &next);
        let sent = bench.sent(at(1300)).ok_or(Unexpected)?;
        assert_eq!(sent.own_counter, 1);
        Ok(())
    }

    #[test]
    fn a_new_view_gives_a_silent_member_at_least_half_of_the_timeout() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        while bench.sent(at(1000)).is_some() {}
        let mut next = assignment(&[], &[2]);
        next.view = ViewNumber(6);
        let deadline = at(1000).after(SILENCE);
        for (now, expected) in [
            (at(1100), deadline),
            (at(1700), at(1700).after(SILENCE.divided_by(2))),
        ] {
            bench.install_without_round(now, &next);
            assert_eq!(bench.detector.monitored.next_deadline(), Some(expected));
        }
        Ok(())
    }

    #[test]
    fn a_late_timer_moves_all_deadlines_and_accuses_no_node() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        while bench.sent(at(1000)).is_some() {}
        let now = at(60_000);
        bench.detector.handle_timer(now);
        while bench.sent(now).is_some() {}
        assert_eq!(bench.count(Counter::TimerLate), 1);
        assert_eq!(bench.count(Counter::ProbesSent), 0);
        assert!(!bench.detector.has_reports());
        // One round was late; the others that were missed are not made up for.
        assert_eq!(bench.count(Counter::HeartbeatsSent), 2);
        let lateness = bench
            .detector
            .neighbour_delays(2)
            .and_then(|known| known.sent);
        let counted = lateness.ok_or(Unexpected)?.buckets.iter().sum::<u32>();
        assert_eq!(counted, 2);
        Ok(())
    }

    #[test]
    fn a_node_that_hears_nothing_sends_nothing() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        let mut sent = [0; 2];
        for (limit, count) in [at(7000), at(14_000)].into_iter().zip(sent.iter_mut()) {
            while let Some(now) = bench.detector.next_deadline().filter(|at| *at <= limit) {
                bench.detector.handle_timer(now);
                while bench.sent(now).is_some() {}
            }
            *count = bench.count(Counter::HeartbeatsSent);
        }
        let [first, all] = sent;
        assert!((30..80).contains(&first) && all == first);
        assert!(bench.count(Counter::HeartbeatsWithheld) > 100);
        bench.hear(at(14_001), 5, &[0, 5, 5, 0, 0]);
        assert!(bench.sent(at(14_100)).is_some());
        Ok(())
    }

    #[test]
    fn a_node_alone_or_without_a_view_sends_nothing() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 1)?;
        bench.install(at(1000), &assignment(&[], &[]));
        assert_eq!(bench.detector.next_deadline(), None);
        assert!(bench.sent(at(9000)).is_none());
        bench.view.clear();
        bench.install(at(9000), &DetectorAssignment::silent(identity(1)));
        assert_eq!(bench.detector.next_deadline(), None);
        assert_eq!(bench.detector.neighbour_delays(0), None);
        Ok(())
    }

    #[test]
    fn counters_wrap_around() -> TestResult {
        let mut bench = Bench::new(GOSSIP, 5)?;
        // The received counter, and the known one from then on.
        for (counter, known) in [
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
                .detector
                .next_deadline()
                .ok_or(Unexpected)?
                .max(at(1100));
            let sent = bench.sent(now).ok_or(Unexpected)?;
            let [_, second, ..] = sent.counters;
            assert_eq!(second, known);
        }
        Ok(())
    }
}
