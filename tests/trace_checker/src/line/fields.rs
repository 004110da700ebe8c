// SPDX-License-Identifier: GPL-2.0

//! The fields of a line, as they stand in the JSON, and their conversion from and to the types of a trace.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::trace::{Change, Member, Reason, ViewId};

/// A member: node, endpoint and incarnation.
pub(super) type Triple = (u16, u32, u64);

/// A member that joined or left.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum ChangeField {
    /// With a reason; the usual form.
    Reasoned(u16, u32, u64, String),
    /// Without a reason.
    Plain(u16, u32, u64),
    /// As an object, which is read and never written.
    Object {
        member: Triple,
        reason: Option<String>,
    },
}

/// The node or the member that an event is about.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum SubjectField {
    /// A node number.
    Node(u16),
    /// A member as a list of three numbers.
    List(Vec<u64>),
}

/// A line with all fields that any event has.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct Line<'a> {
    pub(super) t: u64,
    #[serde(default)]
    pub(super) node: u16,
    #[serde(default)]
    pub(super) incarnation: u64,
    #[serde(borrow)]
    pub(super) event: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) view: Option<(u64, u16)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) primary: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) members: Option<Vec<Triple>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) transitional: Option<Vec<Triple>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) joined: Option<Vec<ChangeField>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) left: Option<Vec<ChangeField>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sending_view: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) call_view: Option<(u64, u16)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sender: Option<Triple>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sequence: Option<u64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) order: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) length: Option<u64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<SubjectField>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) done: Option<bool>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(super) property: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bound: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at_once: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) views: Option<u64>,
}

/// The value of a field that the event must have.
///
/// # Errors
///
/// The line lacks the field; the text names it.
pub(super) fn needed<T>(value: Option<T>, name: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("no {name:?}"))
}

pub(super) fn member((node, endpoint, incarnation): Triple) -> Member {
    Member {
        node,
        endpoint,
        incarnation,
    }
}

pub(super) fn triple(member: &Member) -> Triple {
    (member.node, member.endpoint, member.incarnation)
}

pub(super) fn triples(members: &[Member]) -> Vec<Triple> {
    members.iter().map(triple).collect()
}

/// The members in the order that views keep them in.
pub(super) fn sorted_members(triples: Vec<Triple>) -> Vec<Member> {
    let mut members: Vec<Member> = triples.into_iter().map(member).collect();
    members.sort_unstable();
    members
}

pub(super) fn view_id((number, coordinator): (u64, u16)) -> ViewId {
    ViewId {
        number,
        coordinator,
    }
}

fn change(field: ChangeField) -> Result<Change, String> {
    let (who, word) = match field {
        ChangeField::Reasoned(node, endpoint, incarnation, word) => {
            ((node, endpoint, incarnation), Some(word))
        }
        ChangeField::Plain(node, endpoint, incarnation) => ((node, endpoint, incarnation), None),
        ChangeField::Object { member, reason } => (member, reason),
    };
    let known =
        |word: &String| Reason::from_word(word).ok_or_else(|| format!("unknown reason {word:?}"));
    Ok(Change {
        member: member(who),
        reason: word.as_ref().map(known).transpose()?,
    })
}

/// The members of `joined` or `left`.
///
/// # Errors
///
/// A reason is unknown.
pub(super) fn changes(fields: Option<Vec<ChangeField>>) -> Result<Option<Vec<Change>>, String> {
    fields
        .map(|list| list.into_iter().map(change).collect())
        .transpose()
}

pub(super) fn change_field(change: &Change) -> ChangeField {
    let (node, endpoint, incarnation) = triple(&change.member);
    match change.reason {
        Some(reason) => {
            ChangeField::Reasoned(node, endpoint, incarnation, reason.word().to_owned())
        }
        None => ChangeField::Plain(node, endpoint, incarnation),
    }
}

/// The node that the event is about.
///
/// # Errors
///
/// The line has no subject, or the subject names no node.
pub(super) fn subject_node(line: Line<'_>) -> Result<u16, String> {
    match needed(line.subject, "subject")? {
        SubjectField::Node(node) => Ok(node),
        SubjectField::List(list) => list
            .first()
            .and_then(|node| u16::try_from(*node).ok())
            .ok_or_else(|| "\"subject\" is no node number".to_owned()),
    }
}

/// The member that the event is about.
///
/// # Errors
///
/// The line has no subject, or the subject is not a list of a node, an endpoint and an incarnation.
pub(super) fn subject_member(line: Line<'_>) -> Result<Member, String> {
    match needed(line.subject, "subject")? {
        SubjectField::List(list) if list.len() == 3 => Ok(Member {
            node: u16::try_from(list[0]).map_err(|e| e.to_string())?,
            endpoint: u32::try_from(list[1]).map_err(|e| e.to_string())?,
            incarnation: list[2],
        }),
        _ => Err("\"subject\" is not a list [node,endpoint,incarnation]".to_owned()),
    }
}

pub(super) fn subject_list(member: &Member) -> SubjectField {
    let (node, endpoint, incarnation) = triple(member);
    SubjectField::List(vec![u64::from(node), u64::from(endpoint), incarnation])
}
