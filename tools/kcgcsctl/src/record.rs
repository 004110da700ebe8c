// SPDX-License-Identifier: GPL-2.0

//! The records that reads of `/dev/kcgcs` return, as described in `include/uapi/kcgcs_device.h`.

use crate::failure::Failure;

/// The address of a member of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The incarnation of its node.
    pub incarnation: u64,
    /// The handle on that node.
    pub endpoint: u32,
    /// The node, or 0 if there is no member.
    pub node: u16,
    /// The slot of the member in the group.
    pub slot: u16,
}

/// `enum kcgcs_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The member asked to join.
    Join,
    /// The member asked to leave.
    Leave,
    /// The cluster found its node failed or unreachable.
    Failed,
    /// An administrator evicted its node.
    Evicted,
}

/// `enum kcgcs_order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The messages of one sender in the order of sending.
    Fifo,
    /// A message after all messages that its sender had sent or delivered before it.
    Causal,
    /// One total order at all members.
    Agreed,
    /// Agreed, and delivered only when every member has the message.
    Safe,
}

/// A view of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The view's number.
    pub number: u64,
    /// The number of the cluster view that it belongs to.
    pub cluster_view: u64,
    /// The node that issued the view.
    pub coordinator: u16,
    /// Whether the cluster view has a quorum.
    pub primary: bool,
    /// The reader's own address, if it is a member of the view.
    pub own: Option<Member>,
    /// All members.
    pub members: Vec<Member>,
    /// Members that are new in this view.
    pub joined: Vec<Member>,
    /// Members of the previous view that are no longer in this one, with the reasons.
    pub left: Vec<(Member, Reason)>,
    /// The transitional set: members that came from the reader's previous view.
    pub transitional: Vec<Member>,
}

/// A delivered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender.
    pub sender: Member,
    /// The number that the sender gave the message.
    pub sequence: u64,
    /// The number of the group's view.
    pub view: u64,
    /// The delivery order.
    pub order: Order,
    /// The payload.
    pub payload: Vec<u8>,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A view was installed.
    View(View),
    /// A message was delivered.
    Message(Message),
    /// A view change begins.
    Block,
    /// There is room for another message.
    Writable,
    /// Records are missing here.
    Overflow {
        /// The number of lost records.
        records: u64,
        /// The number of views among them.
        views: u64,
    },
    /// A record of a kind that this tool does not know.
    Other(u32),
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The time of the monotonic clock in nanoseconds.
    pub t: u64,
    /// What the record says.
    pub body: Body,
}

const HEADER_BYTES: usize = 16;
const ALIGNMENT: usize = 8;

/// All records that one read returned.
///
/// # Errors
///
/// The bytes are not a sequence of whole records.
pub fn parse(bytes: &[u8]) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (record, taken) = first(rest).ok_or_else(|| {
            let place = bytes.len() - rest.len();
            Failure::BadAnswer(format!("the record at byte {place} cannot be decoded"))
        })?;
        records.push(record);
        rest = rest.get(taken..).unwrap_or_default();
    }
    Ok(records)
}

/// The first record, and the number of bytes that it takes, padding included.
fn first(bytes: &[u8]) -> Option<(Record, usize)> {
    let mut header = Fields(bytes.get(..HEADER_BYTES)?);
    let length = usize::try_from(header.u32()?).ok()?;
    let kind = header.u32()?;
    let t = header.u64()?;
    let taken = length.checked_next_multiple_of(ALIGNMENT)?;
    if taken > bytes.len() {
        return None;
    }
    let mut fields = Fields(bytes.get(HEADER_BYTES..length)?);
    let body = match kind {
        1 => Body::View(view(&mut fields)?),
        2 => Body::Message(message(&mut fields)?),
        3 => Body::Block,
        4 => Body::Writable,
        5 => Body::Overflow {
            records: fields.u64()?,
            views: fields.u64()?,
        },
        other => {
            fields.0 = &[];
            Body::Other(other)
        }
    };
    // Bytes left over mean that this tool misread the others.
    fields.0.is_empty().then_some((Record { t, body }, taken))
}

fn view(fields: &mut Fields<'_>) -> Option<View> {
    let number = fields.u64()?;
    let cluster_view = fields.u64()?;
    let coordinator = fields.u16()?;
    let [primary, _reserved] = fields.bytes()?;
    let counts = [fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?];
    let _reserved = fields.u32()?;
    let own = member(fields)?;
    let [members, joined, left, transitional] = counts;
    Some(View {
        number,
        cluster_view,
        coordinator,
        primary: primary != 0,
        own: (own.node != 0).then_some(own),
        members: list(fields, members, member)?,
        joined: list(fields, joined, member)?,
        left: list(fields, left, change)?,
        transitional: list(fields, transitional, member)?,
    })
}

fn message(fields: &mut Fields<'_>) -> Option<Message> {
    let sender = member(fields)?;
    let sequence = fields.u64()?;
    let view = fields.u64()?;
    let order = match fields.u32()? {
        1 => Order::Fifo,
        2 => Order::Causal,
        3 => Order::Agreed,
        4 => Order::Safe,
        _ => return None,
    };
    let length = usize::try_from(fields.u32()?).ok()?;
    Some(Message {
        sender,
        sequence,
        view,
        order,
        payload: fields.take(length)?.to_vec(),
    })
}

fn member(fields: &mut Fields<'_>) -> Option<Member> {
    Some(Member {
        incarnation: fields.u64()?,
        endpoint: fields.u32()?,
        node: fields.u16()?,
        slot: fields.u16()?,
    })
}

fn change(fields: &mut Fields<'_>) -> Option<(Member, Reason)> {
    let member = member(fields)?;
    let reason = match fields.u64()? {
        1 => Reason::Join,
        2 => Reason::Leave,
        3 => Reason::Failed,
        4 => Reason::Evicted,
        _ => return None,
    };
    Some((member, reason))
}

fn list<'a, T>(
    fields: &mut Fields<'a>,
    count: u16,
    entry: impl Fn(&mut Fields<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    (0..count).map(|_| entry(fields)).collect()
}

/// The fields of a record, one after the other, in the byte order of the machine.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn bytes<const SIZE: usize>(&mut self) -> Option<[u8; SIZE]> {
        self.take(SIZE)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_ne_bytes)
    }
}

impl Reason {
    /// The word for the operator.
    pub fn word(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Failed => "failed",
            Self::Evicted => "evicted",
        }
    }

    /// The word in a trace of one member, where an evicted member counts as failed: such a trace does not show that an
    /// administrator asked for it, which the trace checker would require.
    pub fn trace_word(self) -> &'static str {
        match self {
            Self::Evicted => "failed",
            other => other.word(),
        }
    }
}

impl Order {
    /// The word in a trace.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::Causal => "causal",
            Self::Agreed => "agreed",
            Self::Safe => "safe",
        }
    }
}

#[cfg(test)]
mod tests;
