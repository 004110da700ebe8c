// SPDX-License-Identifier: GPL-2.0

//! Groups of a lab: form one, look at what its members have delivered, and tell its datagrams apart.

use kcgcs_protocol::protocol::configuration::Configuration;
use kcgcs_protocol::protocol::identity::EndpointId;
use kcgcs_protocol::protocol::limits::HEADER_BYTES;
use kcgcs_protocol::protocol::outputs::Event;
use kcgcs_protocol::protocol::wire::Kind;

use super::Lab;

/// Nodes 1 to `count` in one view, each with a handle that has been admitted to the group "demo".
pub(crate) fn joined(count: u16) -> (Lab, Vec<(u16, EndpointId)>) {
    let all: Vec<u16> = (1..=count).collect();
    let mut lab = Lab::new(count, Configuration::DEFAULT);
    let handles: Vec<_> = all.iter().map(|n| (*n, lab.join(*n, b"demo"))).collect();
    lab.run_until(5_000, "one view of all", |lab| lab.agree(&all));
    let check = handles.clone();
    lab.run_until(2_000, "a group view of all", move |lab| {
        check
            .iter()
            .all(|(n, e)| last_view_has(lab, *n, *e, usize::from(count)))
    });
    (lab, handles)
}

/// Whether the last group view of a handle has so many members.
pub(crate) fn last_view_has(lab: &Lab, number: u16, endpoint: EndpointId, members: usize) -> bool {
    lab.hosts[&number]
        .events
        .iter()
        .rev()
        .find_map(|(_, event)| match event {
            Event::GroupView {
                endpoint: to, view, ..
            } if *to == endpoint => Some(view.members.len() == members),
            Event::GroupExcluded { endpoint: to, .. } if *to == endpoint => Some(members == 0),
            _ => None,
        })
        .unwrap_or(false)
}

/// The number of messages that a handle has delivered.
pub(crate) fn delivered(lab: &Lab, number: u16, endpoint: EndpointId) -> usize {
    let events = lab.hosts[&number].events.iter();
    events
        .filter(|(_, e)| matches!(e, Event::Deliver { endpoint: to, .. } if *to == endpoint))
        .count()
}

/// Assert that the histories of all handles end the same, as far back as the shortest of them goes.
pub(crate) fn assert_same_histories(lab: &Lab, handles: &[(u16, EndpointId)]) {
    let histories: Vec<Vec<String>> = handles.iter().map(|(n, e)| lab.history(*n, *e)).collect();
    let shortest = histories.iter().map(Vec::len).min().unwrap();
    let tails: Vec<&[String]> = histories
        .iter()
        .map(|history| &history[history.len() - shortest..])
        .collect();
    for tail in &tails {
        assert_eq!(tail, &tails[0]);
    }
}

/// The node that orders the messages of the only group on node `number`.
pub(crate) fn orders(lab: &Lab, number: u16) -> u16 {
    let mut coordinator = None;
    let node = &lab.hosts[&number].node;
    node.for_each_group(&mut |group| coordinator = Some(group.coordinator.number()));
    coordinator.unwrap()
}

/// Whether a handle has left its group.
pub(crate) fn has_ended(lab: &Lab, number: u16, endpoint: EndpointId) -> bool {
    let events = lab.hosts[&number].events.iter();
    events
        .rev()
        .any(|(_, event)| matches!(event, Event::GroupLeft { endpoint: to, .. } if *to == endpoint))
}

/// The kind of a datagram.
pub(crate) fn kind(bytes: &[u8]) -> Option<Kind> {
    Kind::from_number(bytes[3])
}

/// The number of the cluster view in which a datagram was sent.
pub(crate) fn view_of(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[24..32].try_into().unwrap())
}

/// The member whose join or leave request a datagram is.
pub(crate) fn requests(bytes: &[u8]) -> Option<EndpointId> {
    let endpoint = bytes.get(HEADER_BYTES + 9..HEADER_BYTES + 13)?;
    let is_request = kind(bytes) == Some(Kind::GroupRequest);
    is_request.then_some(EndpointId(u32::from_be_bytes(endpoint.try_into().ok()?)))
}

/// Whether a datagram is a member's join request.
pub(crate) fn is_join(bytes: &[u8]) -> bool {
    kind(bytes) == Some(Kind::GroupRequest) && bytes[HEADER_BYTES + 8] == 1
}

/// Whether a datagram is a member's leave request.
pub(crate) fn is_leave(bytes: &[u8]) -> bool {
    kind(bytes) == Some(Kind::GroupRequest) && bytes[HEADER_BYTES + 8] == 2
}

/// Whether a datagram announces that all members have the first entry of an epoch.
pub(crate) fn tells_start(bytes: &[u8]) -> bool {
    let number = |at: usize| bytes[at..at + 8].iter().any(|byte| *byte != 0);
    match kind(bytes) {
        Some(Kind::GroupOrdered) => number(HEADER_BYTES + 8),
        Some(Kind::GroupStatus) => number(HEADER_BYTES + 16),
        _ => false,
    }
}
