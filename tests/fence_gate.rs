// SPDX-License-Identifier: GPL-2.0

//! The fence gate: a failed node stays in the view until a fence handler has confirmed that it has been fenced.

mod lab;

use kcgcs_protocol::protocol::identity::Identity;
use kcgcs_protocol::protocol::outputs::Event;
use kcgcs_protocol::protocol::time::Duration;
use lab::Lab;

const TIMEOUT: Duration = Duration::from_milliseconds(30_000);

/// A formed cluster in which every node has a fence handler.
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

/// The fence requests so far, in order: the node whose handler was asked, and whom it shall fence.
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
fn a_failed_node_stays_in_the_view_until_the_handler_has_confirmed() {
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
            let is_awaited = |event: &Event| {
                matches!(event, Event::FenceAwaited { subject: of, by }
                if *of == subject && by.node.number() == handler)
            };
            assert!(lab.has_reported(number, is_awaited));
        }
        lab.command(handler, |node, now| node.answer_fence(now, subject, true));
        lab.run_until(100, "a view without it", |lab| lab.agree(&rest));
        assert_eq!(lab.view_number(rest[0]), before + 1);
    }
}

#[test]
fn several_failed_nodes_are_fenced_at_the_same_time_and_excluded_in_one_view() {
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
fn a_handler_that_fails_is_asked_again_until_the_timeout_excludes_the_node() {
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
    assert!(lab.has_reported(handler, |event| matches!(
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
fn another_proposer_takes_over_when_the_first_dies_while_its_handler_works() {
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
fn a_node_that_leaves_is_evicted_or_restarts_is_not_fenced() {
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
    assert!(!lab.has_reported(1, |event| matches!(event, Event::FenceTimedOut { .. })));
}

#[test]
fn a_handler_that_is_unregistered_is_not_awaited() {
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
fn a_suspected_node_that_is_heard_again_before_it_is_fenced_stays() {
    let (mut lab, all) = guarded(5);
    lab.isolate(5);
    lab.run_for(3_000);
    assert!(lab.members(1).contains(&5));
    let (handler, subject) = wanted(&lab)[0];
    assert!(lab.hosts[&handler].node.wants_fence(subject));
    lab.heal();
    lab.run_until(5_000, "a view that all share", |lab| lab.agree(&all));
    lab.run_until(2_000, "the fence request is withdrawn", |lab| {
        !lab.hosts[&handler].node.wants_fence(subject)
    });
    lab.run_for(40_000);
    assert!(lab.agree(&all));
}

#[test]
fn nodes_send_little_while_a_handler_works() {
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
    // Heartbeats, and the proposer's messages that keep others from taking over, which are up to 90 ms apart.
    let per_node_and_second = (sent(&lab) - before) / 70;
    assert!(per_node_and_second <= 60, "{per_node_and_second}");
}

#[test]
fn a_new_handler_is_asked_although_its_predecessor_was_asked_before() {
    let (mut lab, _) = guarded(9);
    lab.crash(4);
    lab.run_for(2_000);
    let (first, subject) = wanted(&lab)[0];
    // Another proposer takes over, and the first one learns of that.
    lab.isolate(first);
    lab.run_for(1_500);
    let (second, _) = *wanted(&lab).last().unwrap();
    assert_ne!(second, first);
    lab.heal();
    lab.run_for(1_000);
    assert!(!lab.hosts[&first].node.wants_fence(subject));
    // The first proposer gets a new handler and proposes again.
    for timeout in [None, Some(TIMEOUT)] {
        lab.command(first, |node, now| node.set_fence_timeout(now, timeout));
    }
    lab.filter = Box::new(move |from, to, _| {
        let may_propose = |number| number == first || number > 4;
        may_propose(from) && may_propose(to)
    });
    lab.run_until(5_000, "the first proposer asks its handler again", |lab| {
        lab.hosts[&first].node.wants_fence(subject)
    });
    let asked = wanted(&lab);
    let of_first = asked.iter().filter(|asked| **asked == (first, subject));
    assert_eq!(of_first.count(), 2, "{asked:?}");
}

#[test]
fn a_node_that_is_heard_again_while_another_one_is_being_fenced_is_not_fenced() {
    let (mut lab, all) = guarded(7);
    lab.crash(4);
    lab.isolate(5);
    lab.run_for(10_000);
    let asked = wanted(&lab);
    let (handler, dead) = asked[0];
    let returned = lab.hosts[&5].node.identity();
    assert!(asked.contains(&(handler, returned)), "{asked:?}");
    lab.heal();
    lab.run_for(1_000);
    // The proposer reconsiders its ballot again and again, and never wants a node fenced that is alive.
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
    lab.run_until(1_000, "a view without the dead node only", |lab| {
        lab.agree(&rest)
    });
}
