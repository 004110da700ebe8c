// SPDX-License-Identifier: GPL-2.0

//! Unit tests of suspicions, from the first report to the confirmed failure.

#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_suspicions))]
mod tests {
    use super::super::*;
    use crate::protocol::test_support::{at, identity, node, span, TestResult};

    const SUBJECT: Identity = identity(9);

    fn suspicions() -> Result<Suspicions, OutOfMemory> {
        Suspicions::new(span(500), span(300), span(30))
    }

    /// The next confirmed subject if so many monitors must accuse it.
    fn confirmed(suspicions: &mut Suspicions, now_ms: u64, needed: usize) -> Option<Identity> {
        suspicions.next_confirmed(at(now_ms), |_, _| needed)
    }

    #[test]
    fn what_a_watcher_says_is_news_once() -> TestResult {
        let mut suspicions = suspicions()?;
        assert!(suspicions.suspect(at(1), SUBJECT, node(1)));
        assert!(!suspicions.suspect(at(2), SUBJECT, node(1)));
        assert!(suspicions.suspect(at(3), SUBJECT, node(2)));
        assert!(suspicions.accuse(at(4), SUBJECT, node(1)));
        assert!(!suspicions.accuse(at(5), SUBJECT, node(1)));
        // Who accuses does not go back to suspecting.
        assert!(!suspicions.suspect(at(6), SUBJECT, node(1)));
        Ok(())
    }

    #[test]
    fn enough_accusers_confirm_and_only_once() -> TestResult {
        for needed in 1..=3_u16 {
            let mut suspicions = suspicions()?;
            for monitor in 1..=needed {
                assert_eq!(confirmed(&mut suspicions, 10, usize::from(needed)), None);
                suspicions.accuse(at(10), SUBJECT, node(monitor));
                // The same one again is not another one.
                suspicions.accuse(at(10), SUBJECT, node(monitor));
            }
            assert!(suspicions.is_accused(SUBJECT) && !suspicions.is_confirmed(SUBJECT));
            let subject = confirmed(&mut suspicions, 10, usize::from(needed));
            assert_eq!(subject, Some(SUBJECT));
            assert!(suspicions.is_confirmed(SUBJECT) && suspicions.has_confirmed());
            assert_eq!(confirmed(&mut suspicions, 10, usize::from(needed)), None);
        }
        Ok(())
    }

    #[test]
    fn no_failure_is_confirmed_without_an_accuser() -> TestResult {
        let mut suspicions = suspicions()?;
        for monitor in 1..=5 {
            suspicions.suspect(at(10), SUBJECT, node(monitor));
        }
        assert_eq!(confirmed(&mut suspicions, 1_000_000, 0), None);
        assert!(!suspicions.is_accused(SUBJECT) && suspicions.is_unsettled());
        Ok(())
    }

    #[test]
    fn suspecting_monitors_count_after_the_confirmation_timeout() -> TestResult {
        let mut suspicions = suspicions()?;
        suspicions.accuse(at(10), SUBJECT, node(1));
        suspicions.suspect(at(20), SUBJECT, node(2));
        assert_eq!(confirmed(&mut suspicions, 509, 2), None);
        assert_eq!(confirmed(&mut suspicions, 510, 3), None);
        assert_eq!(confirmed(&mut suspicions, 510, 2), Some(SUBJECT));
        Ok(())
    }

    #[test]
    fn one_accuser_alone_never_suffices_where_two_are_needed() -> TestResult {
        let mut suspicions = suspicions()?;
        suspicions.accuse(at(10), SUBJECT, node(1));
        assert_eq!(confirmed(&mut suspicions, 1_000_000, 2), None);
        Ok(())
    }

    #[test]
    fn what_all_take_back_is_forgotten_and_what_is_confirmed_stays() -> TestResult {
        let mut suspicions = suspicions()?;
        suspicions.accuse(at(10), SUBJECT, node(1));
        suspicions.suspect(at(10), SUBJECT, node(2));
        suspicions.withdraw(SUBJECT, node(1));
        assert!(suspicions.is_unsettled() && !suspicions.is_accused(SUBJECT));
        assert_eq!(confirmed(&mut suspicions, 1_000_000, 1), None);
        suspicions.withdraw(SUBJECT, node(2));
        assert!(!suspicions.is_unsettled());
        suspicions.accuse(at(20), SUBJECT, node(1));
        assert_eq!(confirmed(&mut suspicions, 20, 1), Some(SUBJECT));
        suspicions.withdraw(SUBJECT, node(1));
        assert!(suspicions.is_confirmed(SUBJECT));
        suspicions.clear();
        assert!(!suspicions.has_confirmed());
        Ok(())
    }

    #[test]
    fn another_incarnation_is_another_subject() -> TestResult {
        let mut suspicions = suspicions()?;
        let later = crate::protocol::test_support::identity_in(9, 2);
        suspicions.accuse(at(10), SUBJECT, node(1));
        assert!(!suspicions.is_accused(later));
        suspicions.accuse(at(10), later, node(2));
        assert_eq!(confirmed(&mut suspicions, 10, 2), None);
        Ok(())
    }

    #[test]
    fn a_suspicion_without_an_accusation_is_forgotten() -> TestResult {
        let mut suspicions = suspicions()?;
        suspicions.suspect(at(10), SUBJECT, node(1));
        suspicions.suspect(at(20), SUBJECT, node(2));
        assert_eq!(suspicions.next_deadline(), Some(at(320)));
        suspicions.accuse(at(10), identity(8), node(1));
        suspicions.forget_old(at(319));
        assert!(suspicions.suspect(at(15), SUBJECT, node(3)));
        suspicions.forget_old(at(315));
        assert!(!suspicions.is_accused(SUBJECT) && suspicions.is_accused(identity(8)));
        Ok(())
    }

    #[test]
    fn an_accusation_that_nobody_repeats_is_forgotten() -> TestResult {
        let mut suspicions = suspicions()?;
        let span_of_life = span(500).times(FORGOTTEN_TIMEOUTS);
        suspicions.accuse(at(10), SUBJECT, node(1));
        assert!(!suspicions.accuse(at(100), SUBJECT, node(1)));
        suspicions.forget_old(at(99).after(span_of_life));
        assert!(suspicions.is_accused(SUBJECT));
        suspicions.forget_old(at(100).after(span_of_life));
        assert!(!suspicions.is_accused(SUBJECT));
        Ok(())
    }

    /// Asks whoever is to be asked at `now`; who that is, and whether the silence counts now.
    fn asked(suspicions: &mut Suspicions, now: Instant) -> Option<(Identity, bool)> {
        suspicions.forget_old(now);
        suspicions.next_probe(now)
    }

    #[test]
    fn an_accused_node_is_probed_and_its_answer_contradicts_for_a_while() -> TestResult {
        let mut suspicions = suspicions()?;
        suspicions.suspect(at(5), SUBJECT, node(2));
        assert_eq!(asked(&mut suspicions, at(5)), None);
        assert_eq!(suspicions.take_answer(at(5), SUBJECT), None);
        suspicions.accuse(at(10), SUBJECT, node(1));
        assert_eq!(asked(&mut suspicions, at(10)), Some((SUBJECT, false)));
        assert_eq!(asked(&mut suspicions, at(10)), None);
        assert_eq!(suspicions.take_answer(at(11), SUBJECT), Some(false));
        assert!(suspicions.is_contradicted(SUBJECT) && !suspicions.is_accused(SUBJECT));
        assert!(!suspicions.is_unsettled());
        // Nobody answers any more.
        suspicions.accuse(at(1500), SUBJECT, node(1));
        suspicions.forget_old(at(1511));
        assert!(!suspicions.is_contradicted(SUBJECT) && suspicions.is_accused(SUBJECT));
        Ok(())
    }

    #[test]
    fn a_node_that_answers_no_probe_is_silent_to_the_prober() -> TestResult {
        let mut suspicions = suspicions()?;
        suspicions.accuse(at(10), SUBJECT, node(1));
        let (mut now, mut questions) = (at(10), 0);
        while asked(&mut suspicions, now) == Some((SUBJECT, false)) {
            questions += 1;
            now = now.after(span(30));
        }
        assert_eq!(questions, 8);
        suspicions.accuse(now, SUBJECT, node(9));
        assert!(suspicions.accusers(SUBJECT).eq([node(1), node(9)]));
        // A late answer: whoever has asked takes its part back.
        assert_eq!(suspicions.take_answer(now, SUBJECT), Some(true));
        assert_eq!(suspicions.next_confirmed(now, |_, _| 2), Some(SUBJECT));
        assert_eq!(suspicions.take_answer(now, SUBJECT), None);
        Ok(())
    }

    #[test]
    fn a_contradicted_accusation_silences_nobody() -> TestResult {
        let mut suspicions = suspicions()?;
        suspicions.accuse(at(10), identity(2), node(1));
        assert!(suspicions.is_silenced(identity(2), SUBJECT));
        suspicions.contradict(at(10), identity(2));
        suspicions.forget_old(at(10));
        assert!(!suspicions.is_silenced(identity(2), SUBJECT));
        Ok(())
    }

    #[test]
    fn the_next_deadline_is_later_than_the_last_look() -> TestResult {
        let mut suspicions = suspicions()?;
        assert_eq!(suspicions.next_deadline(), None);
        suspicions.accuse(at(10), SUBJECT, node(1));
        let mut steps = 0;
        while let Some(deadline) = suspicions.next_deadline() {
            suspicions.forget_old(deadline);
            while suspicions.next_probe(deadline).is_some() {}
            assert!(suspicions
                .next_deadline()
                .is_none_or(|next| next > deadline));
            steps += 1;
            assert!(steps < 40);
        }
        assert!(steps > 10);
        Ok(())
    }

    #[test]
    fn a_deaf_node_silences_none_of_those_that_could_contradict_it() -> TestResult {
        // Node 1 accuses all that it monitors: 2, 3 and the subject.
        let mut suspicions = suspicions()?;
        for accused in [identity(2), identity(3), SUBJECT] {
            suspicions.accuse(at(10), accused, node(1));
        }
        assert!(!suspicions.is_silenced(identity(2), SUBJECT));
        // Somebody else accuses node 2 as well: it may well be dead.
        suspicions.accuse(at(10), identity(2), node(4));
        assert!(suspicions.is_silenced(identity(2), SUBJECT));
        assert!(!suspicions.is_silenced(identity(7), SUBJECT));
        // What the subject says of its monitors silences none of them.
        suspicions.accuse(at(10), identity(5), SUBJECT.node);
        assert!(!suspicions.is_silenced(identity(5), SUBJECT));
        assert!(suspicions.is_silenced(identity(5), identity(3)));
        Ok(())
    }

    #[test]
    fn a_set_of_watchers_has_each_once_and_is_bounded() {
        let mut monitors = Monitors::default();
        for number in 1..=RINGS_MAX as u16 + 2 {
            monitors.insert(node(number));
            monitors.insert(node(1));
        }
        assert_eq!(monitors.count(), RINGS_MAX);
        monitors.remove(node(1));
        monitors.remove(node(1));
        assert!(!monitors.has(node(1)) && monitors.has(node(2)));
        assert_eq!(monitors.count(), RINGS_MAX - 1);
    }
}
