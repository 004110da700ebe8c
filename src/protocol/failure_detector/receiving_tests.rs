// SPDX-License-Identifier: GPL-2.0

//! Unit tests of the failure detector's handling of datagrams: which ones count, and what follows from them.

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(
    CONFIG_KUNIT = "y",
    kernel::macros::kunit_tests(kcgcs_detector_receiving)
)]
mod tests {
    use super::super::replies::REPLIES_MAX;
    use super::super::reports::REPORTS_MAX;
    use super::super::test_bench::{assignment, Bench, VIEW};
    use super::super::*;
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
    fn only_the_monitored_incarnation_at_its_address_is_heard() -> TestResult {
        // Sender, its address, its view, its sequence number, the verdict.
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
            let heard = bench.count(Counter::HeartbeatsReceived);
            assert_eq!(heard, u64::from(verdict == DetectorVerdict::Consumed));
            if let DetectorVerdict::Dropped(counter) = verdict {
                assert_eq!(bench.count(counter), 1);
            }
        }
        Ok(())
    }

    #[test]
    fn copies_and_overtaken_heartbeats_are_refused() -> TestResult {
        let mut bench = bench()?;
        let duplicate = DetectorVerdict::Dropped(Counter::DroppedDuplicate);
        assert_eq!(bench.hear(at(1001), 2, 7), DetectorVerdict::Consumed);
        let deadline = bench.detector.next_deadline();
        assert_eq!(bench.hear(at(1002), 2, 7), duplicate);
        assert_eq!(bench.hear(at(1003), 2, 6), duplicate);
        assert_eq!(bench.detector.next_deadline(), deadline);
        assert_eq!(bench.hear(at(1004), 2, u64::MAX), DetectorVerdict::Consumed);
        assert_eq!(bench.hear(at(1005), 2, u64::MAX), duplicate);
        Ok(())
    }

    #[test]
    fn a_copy_of_an_old_heartbeat_does_not_revive_a_dead_node() -> TestResult {
        let mut bench = bench()?;
        bench.hear(at(1001), 2, 7);
        bench.run(at(2000))?;
        assert_eq!(
            bench.hear(at(2001), 2, 7),
            DetectorVerdict::Dropped(Counter::DroppedDuplicate)
        );
        assert!(!bench.detector.has_reports());
        Ok(())
    }

    #[test]
    fn datagrams_of_other_kinds_go_to_the_engine_even_without_a_view() -> TestResult {
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
    fn without_a_view_heartbeats_and_probes_are_refused() -> TestResult {
        let mut bench = Bench::silent(at(1000), DEFAULT)?;
        for kind in [Kind::Heartbeat, Kind::Probe, Kind::ProbeReply] {
            let verdict = bench.receive(at(1001), address(2), (kind, identity(2), VIEW), 1, 1);
            assert_eq!(verdict, DetectorVerdict::Dropped(Counter::DroppedNonMember));
        }
        assert!(bench.sent(at(1001)).is_none() && !bench.detector.has_reports());
        Ok(())
    }

    #[test]
    fn malformed_datagrams_are_counted_and_change_nothing() -> TestResult {
        let mut bench = bench()?;
        let deadline = bench.detector.next_deadline();
        for length in 0..=HEARTBEAT_BYTES {
            let bytes = [0; HEARTBEAT_BYTES];
            let bytes = bytes.get(..length).ok_or(Unexpected)?;
            let verdict = bench.detector.handle_datagram(at(1001), address(2), bytes);
            assert!(matches!(
                verdict,
                DetectorVerdict::Dropped(Counter::DroppedShort | Counter::DroppedMagic)
            ));
        }
        assert_eq!(bench.detector.next_deadline(), deadline);
        let received = bench.count(Counter::DatagramsReceived);
        assert_eq!(received, HEARTBEAT_BYTES as u64 + 1);
        Ok(())
    }

    #[test]
    fn a_sender_in_another_view_is_reported_at_most_once_in_a_pause() -> TestResult {
        let mut bench = bench()?;
        let other = Some(DetectorReport::OtherView {
            sender: identity(4),
            from: address(4),
            view: ViewMark {
                number: OTHER_VIEW,
                lineage: 0,
            },
        });
        // The pause is the retransmission interval, 30 ms.
        for (now_ms, expected) in [(1001, other), (1002, None), (1030, None), (1031, other)] {
            let head = (Kind::Heartbeat, identity(4), OTHER_VIEW);
            bench.receive(at(now_ms), address(4), head, now_ms, 0);
            assert_eq!(bench.detector.poll_report(), expected);
        }
        Ok(())
    }

    #[test]
    fn a_probe_is_answered_with_its_number() -> TestResult {
        // Neighbours in this view, and a monitor in another one.
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
            assert_eq!(bench.count(Counter::ProbesAnswered), 1);
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
    fn replies_that_wait_are_bounded() -> TestResult {
        let mut bench = bench()?;
        while bench.sent(at(1001)).is_some() {}
        let head = (Kind::Probe, identity(2), VIEW);
        for number in 1..=REPLIES_MAX as u32 + 2 {
            let verdict = bench.receive(at(1001), address(2), head, u64::from(number), number);
            let fits = number as usize <= REPLIES_MAX;
            let expected = if fits {
                DetectorVerdict::Consumed
            } else {
                DetectorVerdict::Dropped(Counter::DroppedNoRoom)
            };
            assert_eq!(verdict, expected);
        }
        let sent = bench.count_sent(at(1001), Kind::ProbeReply, address(2));
        assert_eq!(sent, REPLIES_MAX);
        let verdict = bench.receive(at(1002), address(2), head, 99, 99);
        assert_eq!(verdict, DetectorVerdict::Consumed);
        Ok(())
    }

    #[test]
    fn only_replies_to_probes_that_were_sent_count() -> TestResult {
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
    fn the_reply_of_a_later_incarnation_proves_the_monitored_one_dead() -> TestResult {
        let mut bench = suspecting_bench()?;
        let head = (Kind::ProbeReply, identity_in(2, 2), VIEW);
        let dead = Some(DetectorReport::Dead {
            subject: identity(2),
            silence_ms: 340,
        });
        // It is reported once.
        for expected in [dead, None] {
            let verdict = bench.receive(at(1340), address(2), head, 1, 1);
            assert_eq!(verdict, DetectorVerdict::Consumed);
            assert_eq!(bench.detector.poll_report(), expected);
        }
        Ok(())
    }

    #[test]
    fn reports_that_do_not_fit_are_dropped_and_the_first_ones_keep_their_order() -> TestResult {
        let mut bench = bench()?;
        bench.detector.install(at(1000), &assignment(&[], &[]), &[]);
        let sent = 10 * REPORTS_MAX as u64;
        for number in 0..sent {
            let now = at(1000 + 30 * number);
            let head = (Kind::Heartbeat, identity(9), ViewNumber(100 + number));
            bench.receive(now, address(9), head, number, 0);
        }
        let mut kept = 0;
        while let Some(report) = bench.detector.poll_report() {
            let expected = ViewNumber(100 + kept);
            assert!(
                matches!(report, DetectorReport::OtherView { view, .. } if view.number == expected)
            );
            kept += 1;
        }
        assert!((REPORTS_MAX as u64..sent).contains(&kept));
        Ok(())
    }
}
