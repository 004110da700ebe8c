// SPDX-License-Identifier: GPL-2.0

//! Unit tests of what a failure detector does when this node is asked whether it is there: it checks all that it watches.

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_detector_checks))]
mod tests {
    use super::super::test_bench::{assignment, Bench, VIEW};
    use super::super::*;
    use crate::protocol::configuration::Configuration;
    use crate::protocol::test_support::{address, at, identity, span, TestResult, Unexpected};

    const DEFAULT: Configuration = Configuration::DEFAULT;
    /// When this node is asked: nobody is missed before 1335 ms.
    const ASKED: Instant = at(1100);

    /// A failure detector that node 3 has asked, which it watches and hears.
    fn asked(settings: Configuration) -> Result<Bench, Unexpected> {
        let mut bench = Bench::new(at(1000), settings)?;
        bench.run(ASKED)?;
        ask(&mut bench, ASKED, VIEW);
        Ok(bench)
    }

    fn ask(bench: &mut Bench, now: Instant, view: ViewNumber) -> DetectorVerdict {
        let head = (Kind::IndirectProbe, identity(3), view);
        let verdict = bench.receive(now, address(3), head, now.as_nanoseconds(), 0);
        assert!(verdict.is_for_engine());
        verdict
    }

    /// Probes that are sent to nodes 2 and 3 now.
    fn probes(bench: &mut Bench, now: Instant) -> (usize, usize) {
        let (mut to_two, mut to_three) = (0, 0);
        while let Some(sent) = bench.sent(now) {
            to_two += usize::from(sent.kind == Kind::Probe && sent.to == address(2));
            to_three += usize::from(sent.kind == Kind::Probe && sent.to == address(3));
        }
        (to_two, to_three)
    }

    #[test]
    fn whoever_is_asked_finds_out_at_once_who_is_silent() -> TestResult {
        let mut bench = asked(DEFAULT)?;
        assert_eq!(probes(&mut bench, ASKED), (1, 1));
        // Node 2 has missed nothing yet: that it does not answer is told when the last probe is sent.
        let subject = identity(2);
        let silent = DetectorReport::Silent {
            subject,
            silence_ms: 175,
        };
        let dead = DetectorReport::Dead {
            subject,
            silence_ms: 200,
        };
        for (wait_ms, told) in [
            (25, None),
            (50, None),
            (75, Some(silent)),
            (100, Some(dead)),
        ] {
            assert_eq!(bench.run(ASKED.after(span(wait_ms)))?, told);
        }
        // Four to node 2, one to node 3, which was heard.
        assert_eq!(
            bench.failure_detector.counters().value(Counter::ProbesSent),
            5
        );
        Ok(())
    }

    #[test]
    fn who_answers_is_watched_as_before() -> TestResult {
        let mut bench = asked(DEFAULT)?;
        probes(&mut bench, ASKED);
        bench.answer(at(1101), 2, 1, 1);
        assert_eq!(bench.run(at(1101 + 160 + 14))?, None);
        assert_eq!(
            bench.failure_detector.counters().value(Counter::ProbesSent),
            2
        );
        bench.run(at(1101 + 160 + 15))?;
        assert_eq!(
            bench.failure_detector.counters().value(Counter::ProbesSent),
            3
        );
        Ok(())
    }

    #[test]
    fn only_the_present_view_is_checked_and_not_too_often() -> TestResult {
        let mut bench = Bench::new(at(1000), DEFAULT)?;
        assert_eq!(
            ask(&mut bench, at(1001), VIEW.next()),
            DetectorVerdict::ForEngine
        );
        assert_eq!(probes(&mut bench, at(1001)).0, 0);
        for (now_ms, expected) in [(1001, 1), (1002, 0), (1001 + 8 * 160, 1)] {
            let now = at(now_ms);
            bench.hear(now, 2, now_ms);
            bench.hear(now, 3, now.as_nanoseconds());
            let is_checked = ask(&mut bench, now, VIEW) == DetectorVerdict::ForBoth;
            assert_eq!(is_checked, expected > 0);
            assert_eq!(probes(&mut bench, now), (expected, expected));
            bench.answer(now, 2, now_ms + 1, 1);
        }
        // In the next view somebody else may be suspected.
        let now = at(1002 + 8 * 160);
        bench
            .failure_detector
            .install(now, &assignment(&[2], &[2, 3]), &[]);
        ask(&mut bench, now, VIEW);
        assert_eq!(probes(&mut bench, now).0, 1);
        Ok(())
    }

    #[test]
    fn who_wants_no_probes_checks_nobody() -> TestResult {
        let settings = Configuration {
            probe_count: 0,
            ..DEFAULT
        };
        let mut bench = asked(settings)?;
        assert_eq!(probes(&mut bench, ASKED), (0, 0));
        assert_eq!(bench.run(at(1300))?, None);
        Ok(())
    }

    #[test]
    fn one_probe_is_enough_for_who_wants_no_more() -> TestResult {
        let settings = Configuration {
            probe_count: 1,
            ..DEFAULT
        };
        let mut bench = asked(settings)?;
        probes(&mut bench, ASKED);
        let dead = DetectorReport::Dead {
            subject: identity(2),
            silence_ms: 125,
        };
        assert_eq!(bench.run(ASKED.after(span(25)))?, Some(dead));
        Ok(())
    }
}
