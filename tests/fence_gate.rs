// SPDX-License-Identifier: GPL-2.0

//! The fence gate: no view without a failed node before a handler has confirmed that it is harmless.

mod lab;

use kcgcs_protocol::protocol::identity::Identity;
use kcgcs_protocol::protocol::outputs::Event;
use kcgcs_protocol::protocol::time::Duration;
use lab::Lab;

const TIMEOUT: Duration = Duration::from_milliseconds(30_000);

/// A cluster whose nodes all have a handler.
fn guarded(count: u16) -> (Lab, Vec<u16>) {
    let (mut lab, all) = Lab::formed(count);
    for number in &all {
        lab.command(*number, |node, now| {
            node.set_fence_timeout(now, Some(TIMEOUT))
        });
    }
    lab.run_for(1_000);
    (lab, all)
}

/// Which handlers were asked to fence whom, in this order.
fn wanted(lab: &Lab) -> Vec<(u16, Identity)> {
    let mut found = Vec::new();
    for (number, host) in &lab.hosts {
        for (at, event) in &host.events {
            if let Event::FenceWanted { subject } = event {
                found.push((*at, *number, *subject));
            }
        }
    }
    found.sort_unstable_by_key(|(at, ..)| *at);
    found
        .into_iter()
        .map(|(_, number, subject)| (number, subject))
        .collect()
}

fn without(all: &[u16], gone: &[u16]) -> Vec<u16> {
    all.iter()
        .copied()
        .filter(|number| !gone.contains(number))
        .collect()
}

#[test]
fn nobody_is_left_out_before_the_handler_has_confirmed() {
    for victim in [1, 3, 5] {
        let (mut lab, all) = guarded(5);
        let rest = without(&all, &[victim]);
        let before = lab.view_number(rest[0]);
        lab.crash(victim);
        lab.run_for(20_000);
        for number in &rest {
            assert_eq!(lab.view_number(*number), before, "{victim} crashed");
            assert!(lab.hosts[number].node.has_quorum());
        }
        let asked = wanted(&lab);
        assert_eq!(asked.len(), 1, "{asked:?}");
        let (handler, subject) = asked[0];
        assert_eq!(subject.node.number(), victim);
        for number in without(&rest, &[handler]) {
            let is_told = |event: &Event| {
                matches!(event, Event::FenceAwaited { subject: of, by }
                if *of == subject && by.node.number() == handler)
            };
            assert!(lab.was_told(number, is_told));
        }
        lab.command(handler, |node, now| node.answer_fence(now, subject, true));
        lab.run_until(100, "a view without it", |lab| lab.agree(&rest));
        assert_eq!(lab.view_number(rest[0]), before + 1);
    }
}

#[test]
fn several_are_fenced_side_by_side_and_go_in_one_view() {
    let (mut lab, all) = guarded(8);
    let rest = without(&all, &[2, 5, 6]);
    let before = lab.view_number(1);
    for victim in [2, 5, 6] {
        lab.crash(victim);
    }
    lab.run_for(2_000);
    let asked = wanted(&lab);
    assert_eq!(asked.len(), 3, "{asked:?}");
    for (handler, subject) in asked {
        assert_eq!(lab.view_number(1), before);
        lab.command(handler, |node, now| node.answer_fence(now, subject, true));
    }
    lab.run_until(100, "a view without them", |lab| lab.agree(&rest));
    assert_eq!(lab.view_number(1), before + 1);
}

#[test]
fn a_handler_that_fails_is_asked_again_and_one_that_is_too_slow_is_not_awaited() {
    let (mut lab, all) = guarded(3);
    let rest = without(&all, &[2]);
    lab.crash(2);
    lab.run_for(1_000);
    let (handler, subject) = wanted(&lab)[0];
    for times in 2..=5 {
        lab.command(handler, |node, now| node.answer_fence(now, subject, false));
        lab.run_for(1_200);
        assert_eq!(wanted(&lab).len(), times);
    }
    let before = lab.view_number(1);
    let at = lab.run_until(31_000, "a view without it", |lab| lab.agree(&rest));
    assert!(lab.was_told(handler, |event| matches!(
        event,
        Event::FenceTimedOut { .. }
    )));
    assert_eq!(lab.view_number(1), before + 1);
    let crashed = lab.hosts[&handler]
        .events
        .iter()
        .find(|(_, event)| matches!(event, Event::FenceWanted { .. }));
    assert!(at.since(crashed.unwrap().0) >= TIMEOUT);
}

#[test]
fn another_takes_over_from_a_proposer_that_dies_while_its_handler_works() {
    let (mut lab, all) = guarded(5);
    lab.crash(4);
    lab.run_for(2_000);
    let (first, _) = wanted(&lab)[0];
    lab.crash(first);
    lab.run_for(2_000);
    let asked = wanted(&lab);
    let handler = asked.last().unwrap().0;
    assert_ne!(handler, first);
    let later: Vec<_> = asked
        .into_iter()
        .filter(|(asked, _)| *asked == handler)
        .collect();
    assert_eq!(later.len(), 2, "{later:?}");
    for (_, subject) in later {
        lab.command(handler, |node, now| node.answer_fence(now, subject, true));
    }
    let rest = without(&all, &[4, first]);
    lab.run_until(1_000, "a view without both", |lab| lab.agree(&rest));
}

#[test]
fn who_leaves_is_evicted_or_has_started_anew_needs_no_handler() {
    let (mut lab, _) = guarded(5);
    lab.command(5, |node, now| node.leave_cluster(now));
    lab.run_until(500, "a view without it", |lab| lab.agree(&[1, 2, 3, 4]));
    let subject = lab.hosts[&4].node.identity().node;
    let _ = lab.command(1, |node, now| node.evict(now, subject));
    lab.run_until(500, "a view without it", |lab| lab.agree(&[1, 2, 3]));
    lab.crash(3);
    lab.run_for(2_000);
    assert_eq!(wanted(&lab).len(), 1);
    assert!(lab.members(1).contains(&3));
    lab.start(3, 2);
    lab.run_until(2_000, "a view with its later incarnation", |lab| {
        lab.agree(&[1, 2, 3])
    });
    assert!(!lab.was_told(1, |event| matches!(event, Event::FenceTimedOut { .. })));
}

#[test]
fn a_handler_that_goes_is_not_awaited() {
    let (mut lab, all) = guarded(3);
    lab.crash(3);
    lab.run_for(2_000);
    let (handler, _) = wanted(&lab)[0];
    lab.command(handler, |node, now| node.set_fence_timeout(now, None));
    lab.run_until(100, "a view without it", |lab| {
        lab.agree(&without(&all, &[3]))
    });
}

#[test]
fn a_failed_node_that_is_heard_again_before_it_was_fenced_stays() {
    let (mut lab, all) = guarded(5);
    lab.filter = Box::new(|from, to, _| from != 5 && to != 5);
    lab.run_for(3_000);
    assert!(lab.members(1).contains(&5));
    let (handler, subject) = wanted(&lab)[0];
    assert!(lab.hosts[&handler].node.wants_fence(subject));
    lab.filter = Box::new(|_, _, _| true);
    lab.run_until(5_000, "a view that all share", |lab| lab.agree(&all));
    lab.run_until(2_000, "the handler not to be needed", |lab| {
        !lab.hosts[&handler].node.wants_fence(subject)
    });
    lab.run_for(40_000);
    assert!(lab.agree(&all));
}

#[test]
fn while_a_handler_works_little_is_sent() {
    let (mut lab, all) = guarded(8);
    lab.crash(3);
    lab.run_for(2_000);
    let sent = |lab: &Lab| {
        without(&all, &[3])
            .iter()
            .map(|number| lab.hosts[number].datagrams_sent)
            .sum::<u64>()
    };
    let before = sent(&lab);
    lab.run_for(10_000);
    // Heartbeats, and what keeps the others from taking over: the most that a proposer may send is 90 ms apart.
    let per_node_and_second = (sent(&lab) - before) / 70;
    assert!(per_node_and_second <= 60, "{per_node_and_second}");
}

#[test]
fn another_handler_is_asked_although_the_one_before_it_was() {
    let (mut lab, _) = guarded(9);
    lab.crash(4);
    lab.run_for(2_000);
    let (first, subject) = wanted(&lab)[0];
    // Others take over, and the first one hears of it.
    lab.filter = Box::new(move |from, to, _| from != first && to != first);
    lab.run_for(1_500);
    let (second, _) = *wanted(&lab).last().unwrap();
    assert_ne!(second, first);
    lab.filter = Box::new(|_, _, _| true);
    lab.run_for(1_000);
    assert!(!lab.hosts[&first].node.wants_fence(subject));
    // It gets another handler, and is the one that proposes again.
    for timeout in [None, Some(TIMEOUT)] {
        lab.command(first, |node, now| node.set_fence_timeout(now, timeout));
    }
    lab.filter = Box::new(move |from, to, _| {
        let may_propose = |number| number == first || number > 4;
        may_propose(from) && may_propose(to)
    });
    lab.run_until(5_000, "the first one to propose again", |lab| {
        lab.hosts[&first].node.wants_fence(subject)
    });
    let asked = wanted(&lab);
    let of_first = asked.iter().filter(|asked| **asked == (first, subject));
    assert_eq!(of_first.count(), 2, "{asked:?}");
}

#[test]
fn who_is_heard_again_while_a_handler_works_for_another_one_is_not_fenced() {
    let (mut lab, all) = guarded(7);
    lab.crash(4);
    lab.filter = Box::new(|from, to, _| from != 5 && to != 5);
    lab.run_for(10_000);
    let asked = wanted(&lab);
    let (handler, dead) = asked[0];
    let back = lab.hosts[&5].node.identity();
    assert!(asked.contains(&(handler, back)), "{asked:?}");
    lab.filter = Box::new(|_, _, _| true);
    lab.run_for(1_000);
    // The ballot is looked at again and again; in none of these moments somebody is fenced who is there.
    for _ in 0..1_000 {
        for number in without(&all, &[4]) {
            for other in without(&all, &[4]) {
                let other = lab.hosts[&other].node.identity();
                assert!(!lab.hosts[&number].node.wants_fence(other));
            }
        }
        lab.run_for(10);
    }
    for number in without(&all, &[4]) {
        if lab.hosts[&number].node.wants_fence(dead) {
            lab.command(number, |node, now| node.answer_fence(now, dead, true));
        }
    }
    let rest = without(&all, &[4]);
    lab.run_until(1_000, "a view without the dead one only", |lab| {
        lab.agree(&rest)
    });
}
