// SPDX-License-Identifier: GPL-2.0

//! Doubts, from what watchers say to what is confirmed.

#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_doubts))]
mod tests {
    use super::super::*;
    use crate::protocol::test_support::{at, identity, node, span, TestResult};

    const SUBJECT: Identity = identity(9);

    fn doubts() -> Result<Doubts, OutOfMemory> {
        Doubts::new(span(500), span(300), span(30))
    }

    /// The next confirmed subject if so many watchers must agree.
    fn confirmed(doubts: &mut Doubts, now_ms: u64, needed: usize) -> Option<Identity> {
        doubts.next_confirmed(at(now_ms), |_, _| needed)
    }

    #[test]
    fn what_a_watcher_says_is_news_once() -> TestResult {
        let mut doubts = doubts()?;
        assert!(doubts.suspect(at(1), SUBJECT, node(1)));
        assert!(!doubts.suspect(at(2), SUBJECT, node(1)));
        assert!(doubts.suspect(at(3), SUBJECT, node(2)));
        assert!(doubts.accuse(at(4), SUBJECT, node(1)));
        assert!(!doubts.accuse(at(5), SUBJECT, node(1)));
        // Who accuses does not go back to suspecting.
        assert!(!doubts.suspect(at(6), SUBJECT, node(1)));
        Ok(())
    }

    #[test]
    fn enough_accusers_confirm_and_only_once() -> TestResult {
        for needed in 1..=3_u16 {
            let mut doubts = doubts()?;
            for watcher in 1..=needed {
                assert_eq!(confirmed(&mut doubts, 10, usize::from(needed)), None);
                doubts.accuse(at(10), SUBJECT, node(watcher));
                // The same one again is not another one.
                doubts.accuse(at(10), SUBJECT, node(watcher));
            }
            assert!(doubts.is_accused(SUBJECT) && !doubts.is_confirmed(SUBJECT));
            let subject = confirmed(&mut doubts, 10, usize::from(needed));
            assert_eq!(subject, Some(SUBJECT));
            assert!(doubts.is_confirmed(SUBJECT) && doubts.has_confirmed());
            assert_eq!(confirmed(&mut doubts, 10, usize::from(needed)), None);
        }
        Ok(())
    }

    #[test]
    fn nobody_is_confirmed_without_an_accuser() -> TestResult {
        let mut doubts = doubts()?;
        for watcher in 1..=5 {
            doubts.suspect(at(10), SUBJECT, node(watcher));
        }
        assert_eq!(confirmed(&mut doubts, 1_000_000, 0), None);
        assert!(!doubts.is_accused(SUBJECT) && doubts.is_unsettled());
        Ok(())
    }

    #[test]
    fn after_a_while_those_who_suspect_count_too() -> TestResult {
        let mut doubts = doubts()?;
        doubts.accuse(at(10), SUBJECT, node(1));
        doubts.suspect(at(20), SUBJECT, node(2));
        assert_eq!(confirmed(&mut doubts, 509, 2), None);
        assert_eq!(confirmed(&mut doubts, 510, 3), None);
        assert_eq!(confirmed(&mut doubts, 510, 2), Some(SUBJECT));
        Ok(())
    }

    #[test]
    fn one_accuser_alone_never_suffices_where_two_are_needed() -> TestResult {
        let mut doubts = doubts()?;
        doubts.accuse(at(10), SUBJECT, node(1));
        assert_eq!(confirmed(&mut doubts, 1_000_000, 2), None);
        Ok(())
    }

    #[test]
    fn what_all_take_back_is_forgotten_and_what_is_confirmed_stays() -> TestResult {
        let mut doubts = doubts()?;
        doubts.accuse(at(10), SUBJECT, node(1));
        doubts.suspect(at(10), SUBJECT, node(2));
        doubts.take_back(SUBJECT, node(1));
        assert!(doubts.is_unsettled() && !doubts.is_accused(SUBJECT));
        assert_eq!(confirmed(&mut doubts, 1_000_000, 1), None);
        doubts.take_back(SUBJECT, node(2));
        assert!(!doubts.is_unsettled());
        doubts.accuse(at(20), SUBJECT, node(1));
        assert_eq!(confirmed(&mut doubts, 20, 1), Some(SUBJECT));
        doubts.take_back(SUBJECT, node(1));
        assert!(doubts.is_confirmed(SUBJECT));
        doubts.clear();
        assert!(!doubts.has_confirmed());
        Ok(())
    }

    #[test]
    fn another_life_is_another_subject() -> TestResult {
        let mut doubts = doubts()?;
        let later = crate::protocol::test_support::life(9, 2);
        doubts.accuse(at(10), SUBJECT, node(1));
        assert!(!doubts.is_accused(later));
        doubts.accuse(at(10), later, node(2));
        assert_eq!(confirmed(&mut doubts, 10, 2), None);
        Ok(())
    }

    #[test]
    fn suspicions_that_became_nothing_are_forgotten() -> TestResult {
        let mut doubts = doubts()?;
        doubts.suspect(at(10), SUBJECT, node(1));
        doubts.suspect(at(20), SUBJECT, node(2));
        assert_eq!(doubts.next_deadline(), Some(at(320)));
        doubts.accuse(at(10), identity(8), node(1));
        doubts.forget_old(at(319));
        assert!(doubts.suspect(at(15), SUBJECT, node(3)));
        doubts.forget_old(at(315));
        assert!(!doubts.is_accused(SUBJECT) && doubts.is_accused(identity(8)));
        Ok(())
    }

    #[test]
    fn an_accusation_that_nobody_repeats_is_forgotten() -> TestResult {
        let mut doubts = doubts()?;
        let span_of_life = span(500).times(FORGOTTEN_TIMEOUTS);
        doubts.accuse(at(10), SUBJECT, node(1));
        assert!(!doubts.accuse(at(100), SUBJECT, node(1)));
        doubts.forget_old(at(99).after(span_of_life));
        assert!(doubts.is_accused(SUBJECT));
        doubts.forget_old(at(100).after(span_of_life));
        assert!(!doubts.is_accused(SUBJECT));
        Ok(())
    }

    /// Asks whoever is to be asked at `now`; who that is, and whether the silence counts now.
    fn asked(doubts: &mut Doubts, now: Instant) -> Option<(Identity, bool)> {
        doubts.forget_old(now);
        doubts.next_question(now)
    }

    #[test]
    fn an_accused_node_is_asked_and_its_answer_contradicts_for_a_while() -> TestResult {
        let mut doubts = doubts()?;
        doubts.suspect(at(5), SUBJECT, node(2));
        assert_eq!(asked(&mut doubts, at(5)), None);
        assert_eq!(doubts.take_answer(at(5), SUBJECT), None);
        doubts.accuse(at(10), SUBJECT, node(1));
        assert_eq!(asked(&mut doubts, at(10)), Some((SUBJECT, false)));
        assert_eq!(asked(&mut doubts, at(10)), None);
        assert_eq!(doubts.take_answer(at(11), SUBJECT), Some(false));
        assert!(doubts.is_contradicted(SUBJECT) && !doubts.is_accused(SUBJECT));
        assert!(!doubts.is_unsettled());
        // Nobody answers any more.
        doubts.accuse(at(1500), SUBJECT, node(1));
        doubts.forget_old(at(1511));
        assert!(!doubts.is_contradicted(SUBJECT) && doubts.is_accused(SUBJECT));
        Ok(())
    }

    #[test]
    fn who_does_not_answer_for_long_is_silent_to_the_one_that_asked() -> TestResult {
        let mut doubts = doubts()?;
        doubts.accuse(at(10), SUBJECT, node(1));
        let (mut now, mut questions) = (at(10), 0);
        while asked(&mut doubts, now) == Some((SUBJECT, false)) {
            questions += 1;
            now = now.after(span(30));
        }
        assert_eq!(questions, 8);
        doubts.accuse(now, SUBJECT, node(9));
        assert!(doubts.accusers(SUBJECT).eq([node(1), node(9)]));
        // A late answer: whoever has asked takes its part back.
        assert_eq!(doubts.take_answer(now, SUBJECT), Some(true));
        assert_eq!(doubts.next_confirmed(now, |_, _| 2), Some(SUBJECT));
        assert_eq!(doubts.take_answer(now, SUBJECT), None);
        Ok(())
    }

    #[test]
    fn what_is_contradicted_silences_nobody() -> TestResult {
        let mut doubts = doubts()?;
        doubts.accuse(at(10), identity(2), node(1));
        assert!(doubts.is_silenced(identity(2), SUBJECT));
        doubts.contradict(at(10), identity(2));
        doubts.forget_old(at(10));
        assert!(!doubts.is_silenced(identity(2), SUBJECT));
        Ok(())
    }

    #[test]
    fn the_next_deadline_lies_ahead_once_it_was_looked_at() -> TestResult {
        let mut doubts = doubts()?;
        assert_eq!(doubts.next_deadline(), None);
        doubts.accuse(at(10), SUBJECT, node(1));
        let mut steps = 0;
        while let Some(deadline) = doubts.next_deadline() {
            doubts.forget_old(deadline);
            while doubts.next_question(deadline).is_some() {}
            assert!(doubts.next_deadline().is_none_or(|next| next > deadline));
            steps += 1;
            assert!(steps < 40);
        }
        assert!(steps > 10);
        Ok(())
    }

    #[test]
    fn a_deaf_node_silences_nobody_who_could_contradict_it() -> TestResult {
        // Node 1 accuses all that it watches: 2, 3 and the subject.
        let mut doubts = doubts()?;
        for accused in [identity(2), identity(3), SUBJECT] {
            doubts.accuse(at(10), accused, node(1));
        }
        assert!(!doubts.is_silenced(identity(2), SUBJECT));
        // Somebody else accuses node 2 as well: it may well be dead.
        doubts.accuse(at(10), identity(2), node(4));
        assert!(doubts.is_silenced(identity(2), SUBJECT));
        assert!(!doubts.is_silenced(identity(7), SUBJECT));
        // What the subject says of its watchers silences none of them.
        doubts.accuse(at(10), identity(5), SUBJECT.node);
        assert!(!doubts.is_silenced(identity(5), SUBJECT));
        assert!(doubts.is_silenced(identity(5), identity(3)));
        Ok(())
    }

    #[test]
    fn a_set_of_watchers_has_each_once_and_is_bounded() {
        let mut watchers = Watchers::default();
        for number in 1..=RINGS_MAX as u16 + 2 {
            watchers.insert(node(number));
            watchers.insert(node(1));
        }
        assert_eq!(watchers.count(), RINGS_MAX);
        watchers.remove(node(1));
        watchers.remove(node(1));
        assert!(!watchers.has(node(1)) && watchers.has(node(2)));
        assert_eq!(watchers.count(), RINGS_MAX - 1);
    }
}
