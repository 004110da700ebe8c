// SPDX-License-Identifier: GPL-2.0

//! The answers of the kernel as tables, sentences and JSON objects.

mod delays;
mod table;

pub use delays::{delays_json, delays_text};

use std::io::{self, Write};

use comfy_table::{CellAlignment, Row};
use serde::Serialize;
use serde_json::{json, Map, Value};

use crate::failure::Failure;
use crate::netlink::{GroupStatus, MemberStatus, NodeStatus, ViewStatus};
use crate::text::printable;
use crate::trace::{Event, Line, Triple, ViewEvent};
use table::{table, text_of};

/// Write `text` to standard output as it is, and flush.
///
/// # Errors
///
/// Standard output cannot be written to.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    let written = output.write_all(text.as_bytes());
    written
        .and_then(|()| output.flush())
        .map_err(Failure::output)
}

/// Write one line to standard output.
///
/// # Errors
///
/// Standard output cannot be written to.
pub fn print_line(text: &str) -> Result<(), Failure> {
    print(&format!("{text}\n"))
}

/// Write one object to standard output, as a line of JSON.
///
/// # Errors
///
/// Standard output cannot be written to.
pub fn print_json(object: &impl Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string(object).map_err(|error| Failure::output(io::Error::from(error)))?;
    print_line(&text)
}

fn yes_or_no(value: bool) -> &'static str {
    if value {
        "yes"
    } else {
        "no"
    }
}

fn pairs(title: &str, list: &[(String, u64)]) -> String {
    let mut table = table(&[title, "VALUE"]);
    for (name, value) in list {
        table.add_row(Row::from([name.clone(), value.to_string()]));
    }
    if let Some(values) = table.column_mut(1) {
        values.set_cell_alignment(CellAlignment::Right);
    }
    text_of(table)
}

/// A view in words: number, issuer, quorum and size.
pub fn view_sentence(number: u64, issuer: u16, primary: bool, members: usize) -> String {
    let quorum = if primary { "primary" } else { "not primary" };
    let plural = if members == 1 { "" } else { "s" };
    format!("view {number} of coordinator {issuer}, {quorum}, {members} member{plural}")
}

/// The node, as `status` shows it.
pub fn node_text(node: &NodeStatus) -> String {
    let view = match node.view {
        Some((number, issuer)) => {
            view_sentence(number, issuer, node.primary, usize::from(node.members))
        }
        None => "none".to_owned(),
    };
    let slot = node.slot.map_or("none".to_owned(), |slot| slot.to_string());
    let pinned = node.pinned.map_or("no".to_owned(), |(left_ms, by)| {
        format!("for {} s more, by node {by}", left_ms.div_ceil(1000))
    });
    format!(
        "node         {}\ncluster      {}\naddress      {}\nincarnation  {}\nstate        {}\n\
         view         {view}\npinned       {pinned}\nslot         {slot}\ncoordinator  {}\n\
         detector     {}\n\n{}\n{}",
        node.node,
        printable(&node.cluster),
        node.address,
        node.incarnation,
        node.state,
        yes_or_no(node.is_coordinator),
        printable(&node.detector),
        pairs("SETTING", &node.settings),
        pairs("COUNTER", &node.counters),
    )
}

/// The node, as `status --json` shows it.
pub fn node_json(node: &NodeStatus) -> Value {
    let object = |list: &[(String, u64)]| -> Map<String, Value> {
        let fields = list.iter();
        fields
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect()
    };
    json!({
        "node": node.node,
        "cluster": node.cluster,
        "address": node.address,
        "incarnation": node.incarnation,
        "state": node.state,
        "view": node.view,
        "primary": node.primary,
        "members": node.members,
        "pinned_ms": node.pinned.map_or(0, |(left_ms, _)| left_ms),
        "pinned_by": node.pinned.map(|(_, by)| by),
        "slot": node.slot,
        "coordinator": node.is_coordinator,
        "detector": node.detector,
        "settings": object(&node.settings),
        "counters": object(&node.counters),
    })
}

/// The cluster view, as `view` shows it.
pub fn view_text(view: &ViewStatus) -> String {
    let mut table = table(&["NODE", "INCARNATION", "ADDRESS", "SLOT", "COORDINATOR"]);
    for member in &view.members {
        table.add_row(Row::from([
            member.node.to_string(),
            member.incarnation.to_string(),
            member.address.clone(),
            member.slot.to_string(),
            yes_or_no(member.is_coordinator).to_owned(),
        ]));
    }
    let head = view_sentence(view.number, view.issuer, view.primary, view.members.len());
    format!("{head}\n{}", text_of(table))
}

fn triple(member: &MemberStatus) -> Triple {
    (member.node, 0, member.incarnation)
}

/// The cluster view as an event of the node, as `view --json` shows it.
pub fn view_line(t: u64, node: &NodeStatus, view: &ViewStatus) -> Line {
    Line {
        t,
        node: node.node,
        incarnation: node.incarnation,
        event: Event::View(ViewEvent {
            view: (view.number, view.issuer),
            primary: view.primary,
            members: view.members.iter().map(triple).collect(),
            ..ViewEvent::default()
        }),
        scope: None,
    }
}

/// The groups, as `groups` shows them.
pub fn groups_text(groups: &[GroupStatus]) -> String {
    let heads = ["GROUP", "VIEW", "COORDINATOR", "MEMBERS", "LOCAL", "LOG"];
    let mut table = table(&heads);
    for group in groups {
        table.add_row(Row::from([
            printable(&group.group),
            group.view.to_string(),
            group.coordinator.to_string(),
            group.members.to_string(),
            group.local_members.to_string(),
            group.log_entries.to_string(),
        ]));
    }
    text_of(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::NodeState;

    fn node() -> NodeStatus {
        NodeStatus {
            cluster: "demo\x1b[2J".to_owned(),
            node: 3,
            incarnation: 1764,
            address: "10.0.0.3:5407".to_owned(),
            state: NodeState::Member,
            view: Some((7, 1)),
            primary: true,
            members: 5,
            slot: Some(2),
            is_coordinator: false,
            pinned: None,
            detector: "gossip".to_owned(),
            settings: vec![("rings".to_owned(), 3)],
            counters: vec![("bytes_sent".to_owned(), 12345)],
        }
    }

    #[test]
    fn a_node_is_shown_with_all_fields_and_without_control_characters() {
        let text = node_text(&node());
        assert!(text.contains("view         view 7 of coordinator 1, primary, 5 members\n"));
        assert!(text.contains("cluster      demo\\u{1b}[2J\n"));
        assert!(text.contains("state        member\n"));
        assert!(text.contains("detector     gossip\n"));
        let setting = text.lines().find(|line| line.starts_with("rings"));
        assert_eq!(setting.unwrap().split_whitespace().last(), Some("3"));
        assert!(text.lines().all(|line| line.trim_end() == line));
    }

    #[test]
    fn a_node_without_a_view_has_none_in_the_place_of_view_and_slot() {
        let mut node = node();
        node.view = None;
        node.slot = None;
        assert!(
            node_text(&node).contains("view         none\npinned       no\nslot         none\n")
        );
        let json = node_json(&node);
        assert!(json["view"].is_null() && json["slot"].is_null());
    }

    #[test]
    fn the_time_until_a_pin_ends_is_shown_in_seconds() {
        let mut node = node();
        node.pinned = Some((4_001, 2));
        assert!(node_text(&node).contains("pinned       for 5 s more, by node 2\n"));
        let json = node_json(&node);
        assert_eq!(
            (&json["pinned_ms"], &json["pinned_by"]),
            (&json!(4_001), &json!(2))
        );
    }

    #[test]
    fn the_json_of_a_node_has_settings_and_counters_by_name() {
        let json = node_json(&node());
        assert_eq!(json["counters"]["bytes_sent"], 12345);
        assert_eq!(json["view"], json!([7, 1]));
        assert_eq!(json["state"], "member");
        assert_eq!(json["detector"], "gossip");
    }

    #[test]
    fn a_view_has_a_row_for_each_member() {
        let member = |node| MemberStatus {
            node,
            incarnation: 60 + u64::from(node),
            address: format!("10.0.0.{node}:5407"),
            slot: node,
            is_coordinator: node == 1,
        };
        let view = ViewStatus {
            number: 9,
            issuer: 2,
            primary: false,
            members: vec![member(1), member(20)],
        };
        let text = view_text(&view);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert_eq!(
            text.lines().next(),
            Some("view 9 of coordinator 2, not primary, 2 members")
        );
        assert_eq!(rows[2], ["1", "61", "10.0.0.1:5407", "1", "yes"]);
        assert_eq!(rows[3], ["20", "80", "10.0.0.20:5407", "20", "no"]);
        let Event::View(event) = view_line(1, &node(), &view).event else {
            panic!("no view");
        };
        assert_eq!(event.members, [(1, 0, 61), (20, 0, 80)]);
    }
}
