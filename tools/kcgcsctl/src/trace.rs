// SPDX-License-Identifier: GPL-2.0

//! Events in the trace format, JSON Lines that the trace checker reads.

use serde::Serialize;

/// Node, endpoint and incarnation of a member.
pub type Triple = (u16, u32, u64);

/// A member that came or went, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Change {
    /// With a reason.
    Reasoned(u16, u32, u64, &'static str),
    /// Nobody said why.
    Plain(u16, u32, u64),
}

/// A view of the cluster or of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ViewEvent {
    /// Number and issuer.
    pub view: (u64, u16),
    /// Whether it has a quorum.
    pub primary: bool,
    /// Its members.
    pub members: Vec<Triple>,
    /// Who came along from the same previous view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transitional: Option<Vec<Triple>>,
    /// Who is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<Vec<Change>>,
    /// Who is no longer in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Vec<Change>>,
}

/// A message that was sent or delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageEvent {
    /// Number and issuer of the group's view, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<(u64, u16)>,
    /// Who sent it.
    pub sender: Triple,
    /// The sender's number of it.
    pub sequence: u64,
    /// Its order, in a word.
    pub order: &'static str,
    /// Bytes of its payload.
    pub length: u64,
    /// FNV-1a of its payload, 64 bits in hexadecimal digits.
    pub hash: String,
    /// The payload, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// An incarnation of the node began.
    Start,
    /// It ended.
    Stop,
    /// A view was installed.
    View(ViewEvent),
    /// A message was handed to the kernel.
    Send(MessageEvent),
    /// A message came.
    Deliver(MessageEvent),
    /// The view is about to change.
    Block,
    /// The member has left.
    Leave,
    /// Records are missing here. The trace checker refuses a trace with such a hole.
    Overflow {
        /// How many records.
        records: u64,
        /// How many of them were views.
        views: u64,
    },
}

/// Which member of which group an event belongs to.
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
    /// Nanoseconds of the monotonic clock.
    pub t: u64,
    /// The node.
    pub node: u16,
    /// Its incarnation.
    pub incarnation: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// For events of a group.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}

/// 64 bits of FNV-1a.
pub fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The hash of a payload as it stands in traces.
pub fn hash_of(payload: &[u8]) -> String {
    format!("{:016x}", fnv1a_64(payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, to_value};

    #[test]
    fn hash_is_that_of_the_protocol() {
        for payload in [b"".as_slice(), b"a", b"foobar", &[255; 300]] {
            let wanted = kcgcs_protocol::protocol::identity::fnv1a_64(payload);
            assert_eq!(fnv1a_64(payload), wanted);
        }
        assert_eq!(hash_of(b"foobar"), "85944171f73967e8");
    }

    #[test]
    fn a_view_has_the_fields_of_the_format() {
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
