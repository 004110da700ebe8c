// SPDX-License-Identifier: GPL-2.0

//! Unit tests of the failure detector with ring heartbeats: when it suspects, probes, reports and sends. (KUnit's macro
//! needs an inline module.)

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_detector))]
mod tests {
    use super::super::monitored::Monitored;
    use super::super::test_bench::{assignment, peer, Bench, VIEW};
    use super::super::*;
    use crate::protocol::configuration::Configuration;
    use crate::protocol::test_support::{
        address, at, identity, identity_in, span, TestResult, Unexpected,
    };
    use crate::protocol::wire::heartbeat::NEVER_HEARD;

    const DEFAULT: Configuration = Configuration::DEFAULT;
    /// When node 2, which was never heard, misses its first heartbeat. The bench begins at 1000 ms.
    const FIRST_MISS: Instant = at(1000 + 2 * 160 + 15);

    fn silent(silence_ms: u64) -> Option<DetectorReport> {
        Some(DetectorReport::Silent {
            subject: identity(2),
            silence_ms,
        })
    }

    fn dead(silence_ms: u64) -> Option<DetectorReport> {
        Some(DetectorReport::Dead {
            subject: identity(2),
            silence_ms,
        })
    }

    #[test]
    fn a_node_that_answers_no_probe_is_reported_as_silent_then_as_dead() -> TestResult {
        let mut bench = Bench::new(at(1000), DEFAULT)?;
        let just_before = Instant::from_nanoseconds(FIRST_MISS.as_nanoseconds() - 1);
        assert_eq!(bench.run(just_before)?, None);
        assert_eq!(bench.count(Counter::ProbesSent), 0);
        // One probe at once and one every 25 ms. The silence is reported when the first one was not answered.
        for (wait_ms, probes, report) in [
            (0, 1, None),
            (25, 2, silent(360)),
            (50, 3, None),
            (75, 4, None),
            (100, 4, dead(435)),
            (5_000, 4, None),
        ] {
            assert_eq!(bench.run(FIRST_MISS.after(span(wait_ms)))?, report);
            assert_eq!(bench.count(Counter::ProbesSent), probes);
        }
        assert_eq!(bench.count(Counter::Suspicions), 1);
        assert_eq!(bench.count(Counter::Accusations), 1);
        assert_eq!(bench.count(Counter::TimerLate), 0);
        Ok(())
    }

    #[test]
    fn fewer_probes_report_a_dead_node_sooner() -> TestResult {
        for (probe_count, dead_after_ms) in [(0, 0), (1, 25), (2, 50), (10, 250)] {
            let settings = Configuration {
                probe_count,
                ..DEFAULT
            };
            let mut bench = Bench::new(at(1000), settings)?;
            let dead_at = FIRST_MISS.after(span(dead_after_ms));
            let before = bench.run(Instant::from_nanoseconds(dead_at.as_nanoseconds() - 1))?;
            assert!(!matches!(before, Some(DetectorReport::Dead { .. })));
            assert_eq!(bench.run(dead_at)?, dead(335 + dead_after_ms));
            let sent = bench.count(Counter::ProbesSent);
            assert_eq!(sent, u64::from(probe_count));
        }
        Ok(())
    }

    #[test]
    fn a_node_is_suspected_when_it_misses_enough_heartbeats_in_a_window() -> TestResult {
        // Heartbeats in the window, misses that make a node suspected, what happens (H heard, M missed), whether it is suspected.
        let table: [(u32, u32, &[u8], bool); 13] = [
            (1, 1, b"M", true),
            (1, 1, b"HHM", true),
            (2, 1, b"HM", true),
            (2, 2, b"M", false),
            (2, 2, b"MM", true),
            (2, 2, b"MHM", false),
            (3, 2, b"MHM", true),
            (3, 2, b"MHHM", false),
            (5, 3, b"MHMHM", true),
            (5, 3, b"MHHMHM", false),
            (32, 2, b"MHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHM", true),
            (32, 2, b"MHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHM", false),
            (32, 32, b"MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM", false),
        ];
        for (window_heartbeats, window_misses, pattern, expected) in table {
            let settings = Configuration {
                window_heartbeats,
                window_misses,
                ..DEFAULT
            };
            let mut bench = Bench::silent(at(1000), settings)?;
            bench
                .detector
                .install(at(1000), &assignment(&[], &[2]), &[]);
            let mut now = at(1000);
            for (counter, event) in pattern.iter().enumerate() {
                // At the deadline the node is either heard just in time or missed.
                now = bench.detector.next_deadline().ok_or(Unexpected)?;
                if *event == b'H' {
                    bench.hear(now, 2, counter as u64 + 1);
                }
                bench.detector.handle_timer(now);
            }
            let probes = bench.count_sent(now, Kind::Probe, address(2));
            assert_eq!(probes, usize::from(expected));
        }
        Ok(())
    }

    #[test]
    fn a_node_that_is_heard_again_is_alive_again_from_every_state() -> TestResult {
        // After the first miss: suspected, reported as silent, reported as dead.
        for (wait_ms, is_reported) in [(0, false), (25, true), (75, true), (100, true), (900, true)]
        {
            for by_answer in [false, true] {
                let mut bench = Bench::new(at(1000), DEFAULT)?;
                let now = FIRST_MISS.after(span(wait_ms));
                bench.run(now)?;
                let verdict = if by_answer {
                    bench.answer(now, 2, 1, 1)
                } else {
                    bench.hear(now, 2, 1)
                };
                assert_eq!(verdict, DetectorVerdict::Consumed);
                assert_eq!(bench.detector.has_reports(), is_reported);
                let heard = is_reported.then_some(DetectorReport::Heard {
                    subject: identity(2),
                });
                assert_eq!(bench.detector.poll_report(), heard);
                // Its next deadline is an interval and the slack away.
                let before = Instant::from_nanoseconds(now.after(span(175)).as_nanoseconds() - 1);
                let probes = bench.count(Counter::ProbesSent);
                bench.run(before)?;
                assert_eq!(bench.count(Counter::ProbesSent), probes);
                bench.run(now.after(span(175)))?;
                assert_eq!(bench.count(Counter::ProbesSent), probes + 1);
            }
        }
        Ok(())
    }

    #[test]
    fn a_late_timer_moves_all_deadlines_and_accuses_no_node() -> TestResult {
        let late = span(15).plus(Duration::from_nanoseconds(1));
        for (lateness, is_late) in [(span(15), false), (late, true), (span(60_000), true)] {
            let mut bench = Bench::silent(at(1000), DEFAULT)?;
            bench
                .detector
                .install(at(1000), &assignment(&[], &[2]), &[]);
            let now = FIRST_MISS.after(lateness);
            bench.detector.handle_timer(now);
            assert_eq!(bench.sent(now).is_none(), is_late);
            let counted = bench.count(Counter::TimerLate);
            assert_eq!(counted, u64::from(is_late));
            assert!(!bench.detector.has_reports());
            if is_late {
                // The deadline moves by the time slept, and by the slack to handle what has arrived.
                let moved = FIRST_MISS.after(lateness).after(span(15));
                assert_eq!(bench.detector.next_deadline(), Some(moved));
                bench.detector.handle_timer(moved);
                assert_eq!(bench.count_sent(moved, Kind::Probe, address(2)), 1);
            }
        }
        Ok(())
    }

    #[test]
    fn a_timer_that_is_early_does_nothing() -> TestResult {
        let mut bench = Bench::silent(at(1000), DEFAULT)?;
        bench
            .detector
            .install(at(1000), &assignment(&[], &[2]), &[]);
        for wait_ms in 0..335 {
            bench.detector.handle_timer(at(1000 + wait_ms));
            assert!(bench.sent(at(1000 + wait_ms)).is_none());
        }
        assert_eq!(bench.detector.next_deadline(), Some(FIRST_MISS));
        Ok(())
    }

    #[test]
    fn each_target_gets_one_heartbeat_in_each_interval() -> TestResult {
        let mut bench = Bench::silent(at(1000), DEFAULT)?;
        bench
            .detector
            .install(at(1000), &assignment(&[2, 3, 4], &[]), &[]);
        let mut counts = [0_u32; 3];
        let mut now = at(1000);
        let mut last_counter = 0;
        while now < at(11_000) {
            bench.detector.handle_timer(now);
            while let Some(sent) = bench.sent(now) {
                assert_eq!(sent.kind, Kind::Heartbeat);
                assert_eq!((sent.header.sender, sent.header.view), (identity(1), VIEW));
                assert_eq!(sent.header.counter, last_counter + 1);
                assert_eq!(sent.body.heard_age_ms, NEVER_HEARD);
                last_counter = sent.header.counter;
                let place = [2, 3, 4]
                    .iter()
                    .position(|number| sent.to == address(*number));
                let count = counts.get_mut(place.ok_or(Unexpected)?).ok_or(Unexpected)?;
                *count += 1;
                assert_eq!(sent.body.number, *count);
            }
            now = bench.detector.next_deadline().ok_or(Unexpected)?;
        }
        // 62.5 intervals, and one heartbeat at the start.
        assert!(counts.iter().all(|count| (62..=64).contains(count)));
        Ok(())
    }

    #[test]
    fn a_heartbeat_carries_the_time_since_its_receiver_was_heard() -> TestResult {
        let mut bench = Bench::new(at(1000), DEFAULT)?;
        while bench.sent(at(1000)).is_some() {}
        bench.hear(at(1010), 2, 1);
        let now = at(1170);
        let sent = bench.sent(now).ok_or(Unexpected)?;
        assert_eq!((sent.kind, sent.to), (Kind::Heartbeat, address(2)));
        assert_eq!(sent.body.heard_age_ms, 160);
        assert_eq!(
            Monitored::new(peer(2), at(0), at(0)).age_ms(at(70_000_000)),
            NEVER_HEARD - 1
        );
        Ok(())
    }

    #[test]
    fn a_node_that_was_reported_as_silent_is_probed_again_in_the_next_view() -> TestResult {
        let mut bench = Bench::new(at(1000), DEFAULT)?;
        bench.run(FIRST_MISS.after(span(50)))?;
        let mut next = assignment(&[3, 2], &[4, 2, 3]);
        next.view = ViewNumber(6);
        bench
            .detector
            .install(FIRST_MISS.after(span(60)), &next, &[]);
        // The new view was installed between two probes. They begin again, 4 times 25 ms.
        let report = bench.run(FIRST_MISS.after(span(160)))?;
        assert_eq!(report, dead(435 + 60));
        Ok(())
    }

    #[test]
    fn reports_about_nodes_that_are_not_monitored_any_more_are_dropped() -> TestResult {
        let mut bench = Bench::silent(at(1000), DEFAULT)?;
        bench
            .detector
            .install(at(1000), &assignment(&[], &[2, 3]), &[]);
        for _ in 0..2 {
            let now = bench.detector.next_deadline().ok_or(Unexpected)?;
            bench.detector.handle_timer(now);
            while bench.sent(now).is_some() {}
        }
        assert!(bench.detector.has_reports());
        bench
            .detector
            .install(at(2000), &assignment(&[], &[3]), &[]);
        let subject = identity(3);
        let report = bench.detector.poll_report();
        assert!(
            matches!(report, Some(DetectorReport::Silent { subject: reported, .. }) if reported == subject)
        );
        assert_eq!(bench.detector.poll_report(), None);
        Ok(())
    }

    #[test]
    fn without_a_view_nothing_is_sent_or_reported() -> TestResult {
        let mut bench = Bench::new(at(1000), DEFAULT)?;
        let silent = DetectorAssignment::silent(identity_in(1, 2));
        bench.detector.install(at(1100), &silent, &[]);
        assert_eq!(bench.detector.next_deadline(), None);
        bench.detector.handle_timer(at(9000));
        assert!(bench.sent(at(9000)).is_none() && !bench.detector.has_reports());
        Ok(())
    }

    #[test]
    fn a_new_incarnation_numbers_its_datagrams_from_one() -> TestResult {
        let mut bench = Bench::new(at(1000), DEFAULT)?;
        let first = bench.sent(at(1000)).ok_or(Unexpected)?;
        let mut next = assignment(&[2], &[]);
        next.own = identity_in(1, 2);
        bench.detector.install(at(2000), &next, &[]);
        let second = bench.sent(at(2000)).ok_or(Unexpected)?;
        assert_eq!(
            (first.header.sender, first.header.counter),
            (identity(1), 1)
        );
        assert_eq!(
            (second.header.sender, second.header.counter),
            (identity_in(1, 2), 1)
        );
        Ok(())
    }

    /// The nonzero buckets of a neighbour as (bucket, count): received, sent.
    fn delays(bench: &Bench, number: u16) -> [[Option<(usize, u32)>; 4]; 2] {
        let known = (0..).map_while(|place| bench.detector.neighbour_delays(place));
        let known = known
            .into_iter()
            .find(|known| known.identity == identity(number));
        [
            known.and_then(|known| known.received),
            known.and_then(|known| known.sent),
        ]
        .map(|histogram| {
            let mut filled = [None; 4];
            let buckets = histogram.map_or([0; 24], |histogram| histogram.buckets);
            let counts = buckets.into_iter().enumerate().filter(|(_, n)| *n > 0);
            for (place, count) in filled.iter_mut().zip(counts) {
                *place = Some(count);
            }
            filled
        })
    }

    #[test]
    fn the_delays_of_received_heartbeats_are_counted() -> TestResult {
        let mut bench = Bench::new(at(1000), DEFAULT)?;
        // The first one has no due time. Then one on time, one early, one 8 ms late, one lost.
        for (now_ms, counter) in [
            (1010, 1),
            (1170, 2),
            (1320, 3),
            (1488, 4),
            (1648, 5),
            (1968, 6),
        ] {
            bench.hear(at(now_ms), 2, counter);
            // A copy does not count.
            bench.hear(at(now_ms), 2, counter);
        }
        let [received, _] = delays(&bench, 2);
        assert_eq!(received, [Some((0, 3)), Some((13, 1)), Some((18, 1)), None]);
        assert_eq!(delays(&bench, 3), [[None; 4]; 2]);
        Ok(())
    }

    #[test]
    fn a_probe_reply_counts_neither_as_a_late_heartbeat_nor_as_the_one_before() -> TestResult {
        let mut bench = Bench::new(at(1000), DEFAULT)?;
        bench.hear(at(1000), 2, 1);
        bench.run(at(1180))?;
        assert_eq!(bench.answer(at(1200), 2, 2, 1), DetectorVerdict::Consumed);
        assert_eq!(delays(&bench, 2)[0], [None; 4]);
        bench.hear(at(1288), 2, 3);
        assert_eq!(delays(&bench, 2)[0], [Some((17, 1)), None, None, None]);
        Ok(())
    }

    #[test]
    fn the_lateness_of_own_heartbeats_is_counted() -> TestResult {
        let mut bench = Bench::new(at(1000), DEFAULT)?;
        while bench.sent(at(1000)).is_some() {}
        let due = bench.detector.next_deadline().ok_or(Unexpected)?;
        while bench.sent(due.after(span(4))).is_some() {}
        let [_, sent] = delays(&bench, 2);
        assert_eq!(sent, [Some((0, 1)), Some((12, 1)), None, None]);
        Ok(())
    }

    #[test]
    fn monitored_nodes_are_listed_with_their_silence() -> TestResult {
        let mut bench = Bench::new(at(1000), DEFAULT)?;
        bench.hear(at(1050), 3, 1);
        let mut seen = 0;
        bench
            .detector
            .for_each_monitored(at(1100), &mut |monitored, silence| {
                let expected = if monitored == peer(2) { 100 } else { 50 };
                seen += u32::from(silence == span(expected));
            });
        assert_eq!(seen, 2);
        Ok(())
    }
}
