// SPDX-License-Identifier: GPL-2.0

//! A short trace in which every property holds, and what tests need to find and change its events.
//!
//! Nodes 1, 2, 3 and 4 form a cluster. All but node 4 have a member in group `g`. Node 3 crashes after it delivered some
//! messages, and comes back in a new incarnation. Then the member on node 2 leaves the group, and node 4 leaves the
//! cluster.

use std::collections::BTreeSet;
use std::sync::Arc;

use trace_checker::trace::{
    Change, EventKind, Expectation, GroupScope, Member, MessageEvent, Order, Reason, TraceEvent,
    ViewEvent, ViewId,
};
use trace_checker::{check, Options};

/// Nanoseconds of a millisecond, the time between two events.
pub(crate) const MS: u64 = 1_000_000;
/// The group.
pub(crate) const GROUP: &str = "g";

/// The nodes, as members of the cluster.
pub(crate) const NODE_1: Member = member(1, 0, 10);
/// See [`NODE_1`].
pub(crate) const NODE_2: Member = member(2, 0, 20);
/// Node 2 in a later incarnation, which is not in the good story.
pub(crate) const NODE_2_AGAIN: Member = member(2, 0, 21);
/// See [`NODE_1`].
pub(crate) const NODE_3: Member = member(3, 0, 30);
/// Node 3 after its crash.
pub(crate) const NODE_3_AGAIN: Member = member(3, 0, 31);
/// See [`NODE_1`].
pub(crate) const NODE_4: Member = member(4, 0, 40);

/// The group's members: A on node 1, B on node 2, C on node 3.
pub(crate) const A: Member = member(1, 1, 10);
/// See [`A`].
pub(crate) const B: Member = member(2, 1, 20);
/// See [`A`].
pub(crate) const C: Member = member(3, 1, 30);
/// C after the crash of its node.
pub(crate) const C_AGAIN: Member = member(3, 1, 31);

/// Make a member.
pub(crate) const fn member(node: u16, endpoint: u32, incarnation: u64) -> Member {
    Member {
        node,
        endpoint,
        incarnation,
    }
}

/// A trace that a test writes or spoils.
#[derive(Clone, Default)]
pub(crate) struct Story {
    /// The events so far.
    pub(crate) events: Vec<TraceEvent>,
}

impl Story {
    /// Add an event of `who`, a millisecond after the last event.
    pub(crate) fn add(&mut self, who: Member, kind: EventKind) {
        let t = self.now() + MS;
        self.events.push(TraceEvent {
            t,
            node: who.node,
            incarnation: who.incarnation,
            kind,
        });
    }

    /// Let all of `members` install a cluster view.
    pub(crate) fn cluster_view(
        &mut self,
        number: u64,
        members: &[Member],
        joined: &[Member],
        left: &[(Member, Reason)],
    ) {
        for who in members {
            let view = view(None, (number, 1), members, joined, left);
            self.add(*who, EventKind::View(view));
        }
    }

    /// Let all of `members` install a view of the group. The members in `joined` do not come together with others.
    pub(crate) fn group_view(
        &mut self,
        number: u64,
        members: &[Member],
        joined: &[Member],
        left: &[(Member, Reason)],
    ) {
        for who in members {
            let mut view = view(Some(scope(*who)), (number, 2), members, joined, left);
            let together = |m: &&Member| !joined.contains(who) && !joined.contains(m);
            view.transitional = Some(members.iter().filter(together).copied().collect());
            self.add(*who, EventKind::View(view));
        }
    }

    /// Let `sender` send a message that all of `receivers` deliver.
    pub(crate) fn message(
        &mut self,
        view: u64,
        sender: Member,
        sequence: u64,
        receivers: &[Member],
    ) {
        self.send(view, sender, sequence);
        for receiver in receivers {
            self.deliver(view, *receiver, sender, sequence);
        }
    }

    /// Let `sender` send a message.
    pub(crate) fn send(&mut self, view: u64, sender: Member, sequence: u64) {
        let event = message_event(view, sender, sender, sequence);
        self.add(sender, EventKind::Send(event));
    }

    /// Let `receiver` deliver a message.
    pub(crate) fn deliver(&mut self, view: u64, receiver: Member, sender: Member, sequence: u64) {
        let event = message_event(view, receiver, sender, sequence);
        self.add(receiver, EventKind::Deliver(event));
    }

    /// Let a member leave its group, or a node (endpoint 0) the cluster.
    pub(crate) fn leave(&mut self, who: Member, done: bool) {
        let scope = (who.endpoint != 0).then(|| scope(who));
        self.add(
            who,
            EventKind::Leave {
                scope,
                done,
                lost: None,
            },
        );
    }

    /// Require that `members` share a view of `group`, or of the cluster, since the last event.
    pub(crate) fn expect_together(&mut self, group: Option<&str>, members: &[Member], bound: u64) {
        let since = self.now();
        self.expect(Expectation::Together {
            group: group.map(Arc::from),
            members: members.to_vec(),
            since,
            bound,
        });
    }

    /// Require that `members`, which crashed at `since`, leave the views within the bound.
    pub(crate) fn expect_gone(
        &mut self,
        members: &[Member],
        since: u64,
        bound: u64,
        at_once: bool,
    ) {
        self.expect(Expectation::Gone {
            members: members.to_vec(),
            since,
            bound,
            at_once,
        });
    }

    /// Add an expectation.
    pub(crate) fn expect(&mut self, expectation: Expectation) {
        self.add(member(0, 0, 0), EventKind::Expect(expectation));
    }

    /// The time of the last event.
    pub(crate) fn now(&self) -> u64 {
        self.events.last().map_or(0, |event| event.t)
    }

    // ---- chapters that some tests add ---------------------------------------------------------------

    /// Evict node 2 with a view of this number.
    pub(crate) fn evict_node_2(&mut self, view: u64) {
        self.add(NODE_1, EventKind::Evict { subject: NODE_2 });
        let rest = [NODE_1, NODE_3_AGAIN];
        self.cluster_view(view, &rest, &[], &[(NODE_2, Reason::Evicted)]);
    }

    /// Let a node stop and start again in another incarnation at the same time.
    pub(crate) fn restart_at_once(&mut self, old: Member, new: Member) {
        self.add(old, EventKind::Stop);
        self.add(new, EventKind::Start);
        let now = self.now();
        let places = self.events.len();
        self.events[places - 2].t = now;
    }

    /// Let all nodes learn that views are pinned.
    pub(crate) fn pin_all(&mut self) {
        for who in [NODE_1, NODE_2, NODE_3_AGAIN] {
            self.add(who, EventKind::Pin);
        }
    }

    /// Let node 1 accuse node 3, and exclude it as failed with a view of this number.
    pub(crate) fn fail_node_3(&mut self, view: u64) {
        self.add(NODE_1, EventKind::Accuse { subject: 3 });
        let rest = [NODE_1, NODE_2];
        self.cluster_view(view, &rest, &[], &[(NODE_3_AGAIN, Reason::Failed)]);
    }

    // ---- finding and changing one event -----------------------------------------------------------

    /// The place of the only event that `is_it`.
    pub(crate) fn find(&self, is_it: impl Fn(&TraceEvent) -> bool) -> usize {
        let mut places = (0..self.events.len()).filter(|place| is_it(&self.events[*place]));
        let place = places.next().expect("no such event in the story");
        assert_eq!(places.next(), None, "more than one such event in the story");
        place
    }

    /// The place where `who` installed the view of this number: of the cluster if `who` is a node, else of the group.
    pub(crate) fn view_at(&self, who: Member, number: u64) -> usize {
        self.find(|event| match &event.kind {
            EventKind::View(view) => {
                is_by(event, who)
                    && view.scope.is_some() == (who.endpoint != 0)
                    && view.view.number == number
            }
            _ => false,
        })
    }

    /// The view of this number that `who` installed.
    pub(crate) fn view_mut(&mut self, who: Member, number: u64) -> &mut ViewEvent {
        let place = self.view_at(who, number);
        match &mut self.events[place].kind {
            EventKind::View(view) => view,
            other => unreachable!("{other:?} was found as a view"),
        }
    }

    /// The place where `sender` sent the message.
    pub(crate) fn send_at(&self, sender: Member, sequence: u64) -> usize {
        self.find(|event| match &event.kind {
            EventKind::Send(message) => message.sender == sender && message.sequence == sequence,
            _ => false,
        })
    }

    /// The place where `receiver` delivered the message.
    pub(crate) fn deliver_at(&self, receiver: Member, sender: Member, sequence: u64) -> usize {
        self.find(|event| match &event.kind {
            EventKind::Deliver(message) => {
                is_by(event, receiver) && message.sender == sender && message.sequence == sequence
            }
            _ => false,
        })
    }

    /// The message that is sent or delivered at `place`.
    pub(crate) fn message_mut(&mut self, place: usize) -> &mut MessageEvent {
        match &mut self.events[place].kind {
            EventKind::Send(message) | EventKind::Deliver(message) => message,
            other => panic!("{other:?} is no message"),
        }
    }

    /// Remove the event at `place`.
    pub(crate) fn remove(&mut self, place: usize) {
        self.events.remove(place);
    }

    /// Move an event to just after the one at `after`, and give it the same time.
    pub(crate) fn move_after(&mut self, from: usize, after: usize) {
        let t = self.events[after].t;
        let mut event = self.events.remove(from);
        event.t = t;
        let place = if from <= after { after } else { after + 1 };
        self.events.insert(place, event);
    }

    /// Swap the events at two places. Their times stay.
    pub(crate) fn swap(&mut self, one: usize, other: usize) {
        let (t_one, t_other) = (self.events[one].t, self.events[other].t);
        self.events.swap(one, other);
        self.events[one].t = t_one;
        self.events[other].t = t_other;
    }

    /// The names of the properties that the checker finds violated.
    pub(crate) fn violated(&self) -> BTreeSet<&'static str> {
        self.violated_with(Options::default())
    }

    /// The names of the properties that the checker finds violated with these options.
    pub(crate) fn violated_with(&self, options: Options) -> BTreeSet<&'static str> {
        let mut events = self.events.clone();
        let violations = check(&mut events, options);
        violations.iter().map(|found| found.property).collect()
    }
}

fn is_by(event: &TraceEvent, who: Member) -> bool {
    (event.node, event.incarnation) == (who.node, who.incarnation)
}

/// The group and the handle of `who`.
pub(crate) fn scope(who: Member) -> GroupScope {
    GroupScope {
        group: Arc::from(GROUP),
        endpoint: Some(who.endpoint),
    }
}

/// Make a view event without a transitional set.
pub(crate) fn view(
    scope: Option<GroupScope>,
    (number, coordinator): (u64, u16),
    members: &[Member],
    joined: &[Member],
    left: &[(Member, Reason)],
) -> ViewEvent {
    ViewEvent {
        scope,
        view: ViewId {
            number,
            coordinator,
        },
        primary: true,
        members: Arc::from(members),
        transitional: None,
        joined: Some(joined.iter().map(|m| change(*m, Reason::Join)).collect()),
        left: Some(left.iter().map(|(m, why)| change(*m, *why)).collect()),
        sending_view: false,
        lost: None,
    }
}

/// Make a change.
pub(crate) fn change(member: Member, reason: Reason) -> Change {
    Change {
        member,
        reason: Some(reason),
    }
}

fn message_event(view: u64, writer: Member, sender: Member, sequence: u64) -> MessageEvent {
    MessageEvent {
        scope: scope(writer),
        view: Some(ViewId {
            number: view,
            coordinator: 2,
        }),
        call_view: None,
        sender,
        sequence,
        order: Order::Agreed,
        length: 100 + sequence,
        hash: u64::from(sender.node) << 32 | sequence,
    }
}

/// The story that the text of this module tells.
pub(crate) fn good() -> Story {
    let mut story = Story::default();
    let all = [NODE_1, NODE_2, NODE_3, NODE_4];
    for who in all {
        story.add(who, EventKind::Start);
    }
    story.cluster_view(1, &all, &all, &[]);
    story.group_view(1, &[A, B, C], &[A, B, C], &[]);
    story.message(1, A, 1, &[A, B, C]);
    story.message(1, B, 1, &[A, B, C]);
    story.message(1, C, 1, &[A, B, C]);
    story.message(1, A, 2, &[A, B]);
    crash_of_3(&mut story);
    return_of_3(&mut story);
    departures(&mut story);
    story
}

fn crash_of_3(story: &mut Story) {
    story.add(NODE_3, EventKind::Crash);
    let since = story.now();
    story.add(NODE_1, EventKind::Suspect { subject: 3 });
    story.add(NODE_1, EventKind::Accuse { subject: 3 });
    for who in [NODE_1, NODE_2] {
        story.add(who, EventKind::Block { scope: None });
    }
    let failed = [(NODE_3, Reason::Failed)];
    story.cluster_view(2, &[NODE_1, NODE_2, NODE_4], &[], &failed);
    story.group_view(2, &[A, B], &[], &[(C, Reason::Failed)]);
    story.message(2, A, 3, &[A, B]);
    story.message(2, A, 4, &[A, B]);
    story.message(2, B, 2, &[A, B]);
    story.expect_gone(&[NODE_3], since, 15 * MS, true);
}

fn return_of_3(story: &mut Story) {
    story.add(NODE_3_AGAIN, EventKind::Start);
    let all = [NODE_1, NODE_2, NODE_3_AGAIN, NODE_4];
    story.cluster_view(3, &all, &[NODE_3_AGAIN], &[]);
    story.group_view(3, &[A, B, C_AGAIN], &[C_AGAIN], &[]);
    story.message(3, C_AGAIN, 1, &[A, B, C_AGAIN]);
    story.message(3, A, 5, &[A, B, C_AGAIN]);
}

fn departures(story: &mut Story) {
    story.leave(B, false);
    story.group_view(4, &[A, C_AGAIN], &[], &[(B, Reason::Leave)]);
    story.leave(B, true);
    story.message(4, A, 6, &[A, C_AGAIN]);
    story.leave(NODE_4, false);
    let rest = [NODE_1, NODE_2, NODE_3_AGAIN];
    story.cluster_view(4, &rest, &[], &[(NODE_4, Reason::Leave)]);
    story.leave(NODE_4, true);
    story.add(NODE_4, EventKind::Stop);
    story.expect_together(None, &rest, 0);
    story.expect_together(Some(GROUP), &[A, C_AGAIN], 0);
}
