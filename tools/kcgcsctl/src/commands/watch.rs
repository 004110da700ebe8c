// SPDX-License-Identifier: GPL-2.0

//! `watch`: looks at the node again and again, and reports what changed between two looks.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::arguments::Watch;
use crate::clock::monotonic_ns;
use crate::commands::notice::Notice;
use crate::failure::Failure;
use crate::netlink::{Connection, MemberStatus, NodeState, NodeStatus, ViewStatus};
use crate::show;
use crate::trace::{Event, Line};

/// What the last look saw.
#[derive(Default)]
struct Seen {
    node: Option<NodeStatus>,
    view: Option<ViewStatus>,
}

pub(super) fn run(arguments: &Watch, json: bool) -> Result<(), Failure> {
    let started = Instant::now();
    let interval = Duration::from_millis(arguments.interval_ms);
    let limit = arguments.timeout_ms.map(Duration::from_millis);
    let mut connection = Connection::open()?;
    let mut seen = Seen::default();
    loop {
        let t = monotonic_ns();
        let (node, view) = look(&mut connection)?;
        for notice in seen.update(t, node, view) {
            notice.print(json)?;
        }
        if arguments.until_members.is_some_and(|count| seen.has(count)) {
            return Ok(());
        }
        if limit.is_some_and(|limit| started.elapsed() >= limit) {
            return Err(Failure::TimedOut(timed_out(arguments)));
        }
        sleep(interval);
    }
}

fn look(connection: &mut Connection) -> Result<(Option<NodeStatus>, Option<ViewStatus>), Failure> {
    let both = connection
        .node()
        .and_then(|node| Ok((Some(node), connection.view()?)));
    match both {
        // The node may not be there yet, or no more.
        Err(failure) if failure.is_no_node() => Ok((None, None)),
        other => other,
    }
}

fn timed_out(arguments: &Watch) -> String {
    let limit = arguments.timeout_ms.unwrap_or(0);
    match arguments.until_members {
        Some(count) => format!("no view of {count} members with a quorum came within {limit} ms"),
        None => format!("{limit} ms have passed"),
    }
}

impl Seen {
    /// Whether the node is in a view of this many members that has a quorum.
    fn has(&self, members: usize) -> bool {
        let is_member = |node: &NodeStatus| node.state == NodeState::Member;
        self.node.as_ref().is_some_and(is_member)
            && self
                .view
                .as_ref()
                .is_some_and(|v| v.members.len() == members)
    }

    /// Take note of a new look. Returns what changed since the last one.
    fn update(
        &mut self,
        t: u64,
        node: Option<NodeStatus>,
        view: Option<ViewStatus>,
    ) -> Vec<Notice> {
        let mut notices = Vec::new();
        let incarnation = |node: &NodeStatus| (node.node, node.incarnation);
        let is_same_incarnation =
            self.node.as_ref().map(incarnation) == node.as_ref().map(incarnation);
        if !is_same_incarnation {
            if let Some(before) = &self.node {
                notices.push(event(t, before, Event::Stop, "stopped"));
                self.view = None;
            }
            if let Some(now) = &node {
                let text = format!("runs, incarnation {}", now.incarnation);
                notices.push(event(t, now, Event::Start, &text));
            }
        }
        if let Some(now) = &node {
            let before = self.node.as_ref().filter(|_| is_same_incarnation);
            if before.map(|before| before.state) != Some(now.state) {
                notices.push(Notice {
                    text: Some(format!("node {}: {}", now.node, now.state)),
                    line: None,
                });
            }
            if let Some(view) = &view {
                notices.extend(self.view_notice(t, now, view));
            }
        }
        self.node = node;
        self.view = view;
        notices
    }

    fn view_notice(&self, t: u64, node: &NodeStatus, view: &ViewStatus) -> Option<Notice> {
        let id = |view: &ViewStatus| (view.number, view.issuer);
        if self.view.as_ref().map(id) == Some(id(view)) {
            return None;
        }
        let before = self.view.as_ref().map_or(&[][..], |view| &view.members);
        let mut text = format!(
            "node {}: {}: {}",
            node.node,
            show::view_sentence(view.number, view.issuer, view.primary, view.members.len()),
            list(view.members.iter()),
        );
        if self.view.is_some() {
            for (word, of, others) in [
                ("joined", view.members.as_slice(), before),
                ("left", before, view.members.as_slice()),
            ] {
                let names = list(of.iter().filter(|member| !is_in(member, others)));
                if !names.is_empty() {
                    text.push_str(&format!("; {word}: {names}"));
                }
            }
        }
        Some(Notice {
            text: Some(text),
            line: Some(show::view_line(t, node, view)),
        })
    }
}

fn event(t: u64, node: &NodeStatus, event: Event, text: &str) -> Notice {
    Notice {
        text: Some(format!("node {}: {text}", node.node)),
        line: Some(Line {
            t,
            node: node.node,
            incarnation: node.incarnation,
            event,
            scope: None,
        }),
    }
}

fn is_in(member: &MemberStatus, list: &[MemberStatus]) -> bool {
    let incarnation = |member: &MemberStatus| (member.node, member.incarnation);
    list.iter()
        .any(|other| incarnation(other) == incarnation(member))
}

fn list<'a>(members: impl Iterator<Item = &'a MemberStatus>) -> String {
    let numbers: Vec<String> = members.map(|member| member.node.to_string()).collect();
    numbers.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(incarnation: u64, state: NodeState) -> NodeStatus {
        NodeStatus {
            cluster: "demo".to_owned(),
            node: 3,
            incarnation,
            address: "10.0.0.3:5407".to_owned(),
            state,
            view: None,
            primary: true,
            members: 0,
            slot: None,
            is_coordinator: false,
            pinned: None,
            detector: "ring".to_owned(),
            settings: Vec::new(),
            counters: Vec::new(),
        }
    }

    fn view(number: u64, nodes: &[(u16, u64)]) -> ViewStatus {
        let member = |&(node, incarnation): &(u16, u64)| MemberStatus {
            node,
            incarnation,
            address: String::new(),
            slot: node,
            is_coordinator: false,
        };
        ViewStatus {
            number,
            issuer: 1,
            primary: true,
            members: nodes.iter().map(member).collect(),
        }
    }

    fn texts(notices: &[Notice]) -> Vec<&str> {
        notices
            .iter()
            .filter_map(|notice| notice.text.as_deref())
            .collect()
    }

    #[test]
    fn only_changes_are_reported() {
        let mut seen = Seen::default();
        let joining = node(70, NodeState::Joining);
        let first = seen.update(1, Some(joining.clone()), None);
        assert_eq!(
            texts(&first),
            ["node 3: runs, incarnation 70", "node 3: joining"]
        );
        assert!(seen.update(2, Some(joining), None).is_empty());
        let one = view(1, &[(1, 60), (3, 70)]);
        let member = node(70, NodeState::Member);
        let second = seen.update(3, Some(member.clone()), Some(one.clone()));
        let wanted = [
            "node 3: member",
            "node 3: view 1 of coordinator 1, primary, 2 members: 1 3",
        ];
        assert_eq!(texts(&second), wanted);
        assert!(seen.update(4, Some(member), Some(one)).is_empty());
        assert!(seen.has(2) && !seen.has(3));
    }

    #[test]
    fn a_member_in_a_new_incarnation_is_reported_as_left_and_joined() {
        let mut seen = Seen::default();
        let member = node(70, NodeState::Member);
        seen.update(1, Some(member.clone()), Some(view(1, &[(1, 60), (3, 70)])));
        let notices = seen.update(2, Some(member), Some(view(2, &[(1, 61), (3, 70), (4, 5)])));
        let wanted =
            "node 3: view 2 of coordinator 1, primary, 3 members: 1 3 4; joined: 1 4; left: 1";
        assert_eq!(texts(&notices), [wanted]);
    }

    #[test]
    fn a_new_incarnation_of_the_node_is_reported_as_stop_and_start() {
        let mut seen = Seen::default();
        seen.update(
            1,
            Some(node(70, NodeState::Member)),
            Some(view(1, &[(3, 70)])),
        );
        let notices = seen.update(
            2,
            Some(node(71, NodeState::Member)),
            Some(view(1, &[(3, 71)])),
        );
        let events: Vec<_> = notices
            .iter()
            .filter_map(|notice| notice.line.as_ref())
            .map(|line| (line.incarnation, line.event.clone()))
            .collect();
        assert_eq!(events[0], (70, Event::Stop));
        assert_eq!(events[1], (71, Event::Start));
        assert!(matches!(events[2], (71, Event::View(_))));
        let gone = seen.update(3, None, None);
        assert_eq!(texts(&gone), ["node 3: stopped"]);
        assert!(!seen.has(1));
    }

    #[test]
    fn a_view_without_a_quorum_does_not_end_the_wait() {
        let mut seen = Seen::default();
        seen.update(
            1,
            Some(node(70, NodeState::Blocked)),
            Some(view(1, &[(3, 70)])),
        );
        assert!(!seen.has(1));
    }
}
