// SPDX-License-Identifier: GPL-2.0

//! Unit tests of what a failure detector does when the engine gets an indirect probe: it probes all monitored nodes.

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(
    CONFIG_KUNIT = "y",
    kernel::macros::kunit_tests(kcgcs_detector_indirect_probe)
)]
mod tests {
    use super::super::test_bench::{assignment, Bench, VIEW};
    use super::super::*;
    use crate::protocol::configuration::Configuration;
    use crate::protocol::test_support::{address, at, identity, span, TestResult, Unexpected};

    const DEFAULT: Configuration = Configuration::DEFAULT;
    /// When the indirect probe arrives. No heartbeat is missed before 1335 ms.
    const ARRIVAL: Instant = at(1100);

    /// A failure detector that got an indirect probe from node 3, which it monitors and hears.
    fn probing(settings: Configuration) -> Result<Bench, Unexpected> {
        let mut bench = Bench::new(at(1000), settings)?;
        bench.run(ARRIVAL)?;
        indirect_probe(&mut bench, ARRIVAL, VIEW);
        Ok(bench)
    }

    fn indirect_probe(bench: &mut Bench, now: Instant, view: ViewNumber) -> DetectorVerdict {
        let head = (Kind::IndirectProbe, identity(3), view);
        let verdict = bench.receive(now, address(3), head, now.as_nanoseconds(), 0);
        assert!(verdict.is_for_engine());
        verdict
    }

    /// How many probes are sent to nodes 2 and 3 now.
    fn probes(bench: &mut Bench, now: Instant) -> (usize, usize) {
        let (mut to_two, mut to_three) = (0, 0);
        while let Some(sent) = bench.sent(now) {
            to_two += usize::from(sent.kind == Kind::Probe && sent.to == address(2));
            to_three += usize::from(sent.kind == Kind::Probe && sent.to == address(3));
        }
        (to_two, to_three)
    }

    #[test]
    fn an_indirect_probe_makes_a_silent_node_found_before_it_misses_a_heartbeat() -> TestResult {
        let mut bench = probing(DEFAULT)?;
        assert_eq!(probes(&mut bench, ARRIVAL), (1, 1));
        // Node 2 has missed nothing yet: its silence is reported only when the last probe is sent.
        let subject = identity(2);
        let silent = DetectorReport::Silent {
            subject,
            silence_ms: 175,
        };
        let dead = DetectorReport::Dead {
            subject,
            silence_ms: 200,
        };
        for (wait_ms, report) in [
            (25, None),
            (50, None),
            (75, Some(silent)),
            (100, Some(dead)),
        ] {
            assert_eq!(bench.run(ARRIVAL.after(span(wait_ms)))?, report);
        }
        // Four probes to node 2, one to node 3, which was heard.
        assert_eq!(bench.count(Counter::ProbesSent), 5);
        Ok(())
    }

    #[test]
    fn a_node_that_answers_is_monitored_as_before() -> TestResult {
        let mut bench = probing(DEFAULT)?;
        probes(&mut bench, ARRIVAL);
        bench.answer(at(1101), 2, 1, 1);
        assert_eq!(bench.run(at(1101 + 160 + 14))?, None);
        assert_eq!(bench.count(Counter::ProbesSent), 2);
        bench.run(at(1101 + 160 + 15))?;
        assert_eq!(bench.count(Counter::ProbesSent), 3);
        Ok(())
    }

    #[test]
    fn only_indirect_probes_of_this_view_count_and_not_too_often() -> TestResult {
        let mut bench = Bench::new(at(1000), DEFAULT)?;
        assert_eq!(
            indirect_probe(&mut bench, at(1001), VIEW.next()),
            DetectorVerdict::ForEngine
        );
        assert_eq!(probes(&mut bench, at(1001)).0, 0);
        for (now_ms, expected) in [(1001, 1), (1002, 0), (1001 + 8 * 160, 1)] {
            let now = at(now_ms);
            bench.hear(now, 2, now_ms);
            bench.hear(now, 3, now.as_nanoseconds());
            let has_probes = indirect_probe(&mut bench, now, VIEW) == DetectorVerdict::ForBoth;
            assert_eq!(has_probes, expected > 0);
            assert_eq!(probes(&mut bench, now), (expected, expected));
            bench.answer(now, 2, now_ms + 1, 1);
        }
        // In the next view another node may be suspected.
        let now = at(1002 + 8 * 160);
        bench.detector.install(now, &assignment(&[2], &[2, 3]), &[]);
        indirect_probe(&mut bench, now, VIEW);
        assert_eq!(probes(&mut bench, now).0, 1);
        Ok(())
    }

    #[test]
    fn without_probes_an_indirect_probe_does_nothing() -> TestResult {
        let settings = Configuration {
            probe_count: 0,
            ..DEFAULT
        };
        let mut bench = probing(settings)?;
        assert_eq!(probes(&mut bench, ARRIVAL), (0, 0));
        assert_eq!(bench.run(at(1300))?, None);
        Ok(())
    }

    #[test]
    fn one_probe_is_enough_where_one_is_configured() -> TestResult {
        let settings = Configuration {
            probe_count: 1,
            ..DEFAULT
        };
        let mut bench = probing(settings)?;
        probes(&mut bench, ARRIVAL);
        let dead = DetectorReport::Dead {
            subject: identity(2),
            silence_ms: 125,
        };
        assert_eq!(bench.run(ARRIVAL.after(span(25)))?, Some(dead));
        Ok(())
    }
}
