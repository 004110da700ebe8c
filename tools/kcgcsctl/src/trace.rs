// SPDX-License-Identifier: GPL-2.0

//! Events in the trace format: JSON Lines that the trace checker reads.

use serde::Serialize;

/// A member: node, endpoint and incarnation.
pub type Triple = (u16, u32, u64);

/// A member that joined or left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Change {
    /// With a reason.
    Reasoned(u16, u32, u64, &'static str),
    /// Without a reason.
    Plain(u16, u32, u64),
}

/// A view of the cluster or of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ViewEvent {
    /// The view's number and its issuer.
    pub view: (u64, u16),
    /// Whether the view has a quorum.
    pub primary: bool,
    /// The members.
    pub members: Vec<Triple>,
    /// The transitional set: members that came from the same previous view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transitional: Option<Vec<Triple>>,
    /// Members that are new in this view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<Vec<Change>>,
    /// Members of the previous view that are no longer in this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Vec<Change>>,
}

/// A message that was sent or delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageEvent {
    /// The number and the issuer of the group's view, if they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<(u64, u16)>,
    /// The sender.
    pub sender: Triple,
    /// The number that the sender gave the message.
    pub sequence: u64,
    /// The word for the delivery order.
    pub order: &'static str,
    /// The length of the payload in bytes.
    pub length: u64,
    /// The 64 bits of the payload's FNV-1a hash, in hexadecimal digits.
    pub hash: String,
    /// The payload as text, if the operator asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// The incarnation of the node began.
    Start,
    /// The incarnation of the node ended.
    Stop,
    /// The node or the member installed a view.
    View(ViewEvent),
    /// The kernel accepted a message.
    Send(MessageEvent),
    /// A message was delivered.
    Deliver(MessageEvent),
    /// A view change begins.
    Block,
    /// The member has left.
    Leave,
    /// Records are missing here. The trace checker refuses such a trace.
    Overflow {
        /// The number of lost records.
        records: u64,
        /// The number of views among them.
        views: u64,
    },
}

/// The group and the member that an event belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// The group's name.
    pub group: String,
    /// The member's endpoint.
    pub endpoint: u32,
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The time of the monotonic clock in nanoseconds.
    pub t: u64,
    /// The node.
    pub node: u16,
    /// The incarnation of the node.
    pub incarnation: u64,
    /// What the event says.
    #[serde(flatten)]
    pub event: Event,
    /// The group and the member, for events of a group.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}

/// The 64-bit FNV-1a hash.
pub fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The hash of a payload as traces write it.
pub fn hash_of(payload: &[u8]) -> String {
    format!("{:016x}", fnv1a_64(payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, to_value};

    #[test]
    fn the_hash_is_that_of_the_protocol() {
        for payload in [b"".as_slice(), b"a", b"foobar", &[255; 300]] {
            let wanted = kcgcs_protocol::protocol::identity::fnv1a_64(payload);
            assert_eq!(fnv1a_64(payload), wanted);
        }
        assert_eq!(hash_of(b"foobar"), "85944171f73967e8");
    }

    #[test]
    fn a_view_has_the_fields_of_the_trace_format() {
        let line = Line {
            t: 5,
            node: 3,
            incarnation: 70,
            event: Event::View(ViewEvent {
                view: (7, 1),
                primary: true,
                members: vec![(1, 2, 60), (3, 1, 70)],
                transitional: Some(vec![(3, 1, 70)]),
                joined: Some(vec![Change::Plain(1, 2, 60)]),
                left: Some(vec![Change::Reasoned(4, 1, 61, "failed")]),
            }),
            scope: Some(Scope {
                group: "g".to_owned(),
                endpoint: 1,
            }),
        };
        let wanted = json!({
            "t": 5, "node": 3, "incarnation": 70, "event": "view", "group": "g", "endpoint": 1,
            "view": [7, 1], "primary": true, "members": [[1, 2, 60], [3, 1, 70]],
            "transitional": [[3, 1, 70]], "joined": [[1, 2, 60]], "left": [[4, 1, 61, "failed"]],
        });
        assert_eq!(to_value(&line).unwrap(), wanted);
    }

    #[test]
    fn events_of_the_cluster_have_no_group() {
        let line = Line {
            t: 5,
            node: 3,
            incarnation: 70,
            event: Event::Start,
            scope: None,
        };
        let wanted = json!({"t": 5, "node": 3, "incarnation": 70, "event": "start"});
        assert_eq!(to_value(&line).unwrap(), wanted);
    }
}
