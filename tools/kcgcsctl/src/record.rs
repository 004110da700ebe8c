// SPDX-License-Identifier: GPL-2.0

//! The records that `/dev/kcgcs` gives, as `include/uapi/kcgcs_device.h` describes them.

use crate::failure::Failure;

/// The address of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its node's incarnation.
    pub incarnation: u64,
    /// Which handle on that node.
    pub endpoint: u32,
    /// The node; 0 where there is no member.
    pub node: u16,
    /// Its slot in the group.
    pub slot: u16,
}

/// `enum kcgcs_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It asked to come in.
    Join,
    /// It said good-bye.
    Leave,
    /// Its node was found dead or cut off.
    Failed,
    /// An administrator has put its node out.
    Evicted,
}

/// `enum kcgcs_order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Messages of one sender as they were sent.
    Fifo,
    /// A message after what its sender had seen.
    Causal,
    /// The same order for all.
    Agreed,
    /// As agreed, and when every member has it.
    Safe,
}

/// A view of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Its number.
    pub number: u64,
    /// The number of the cluster view that it belongs to.
    pub cluster_view: u64,
    /// The node that issued it.
    pub coordinator: u16,
    /// Whether the cluster view has a quorum.
    pub primary: bool,
    /// The reader itself, if it is a member.
    pub own: Option<Member>,
    /// All members.
    pub members: Vec<Member>,
    /// Who is new.
    pub joined: Vec<Member>,
    /// Who is no longer in it, and why.
    pub left: Vec<(Member, Reason)>,
    /// Who came along from the reader's previous view.
    pub transitional: Vec<Member>,
}

/// A delivered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub sender: Member,
    /// The sender's number of it.
    pub sequence: u64,
    /// The number of the group's view.
    pub view: u64,
    /// Its order.
    pub order: Order,
    /// What it says.
    pub payload: Vec<u8>,
}

/// What a record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A view.
    View(View),
    /// A message.
    Message(Message),
    /// The view is about to change.
    Block,
    /// There is room again to send.
    Writable,
    /// Records are missing here.
    Overflow {
        /// How many.
        records: u64,
        /// How many of them were views.
        views: u64,
    },
    /// A kind that this tool does not know.
    Other(u32),
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it came about: nanoseconds of the monotonic clock.
    pub t: u64,
    /// What it tells.
    pub body: Body,
}

const HEADER_BYTES: usize = 16;
const ALIGNMENT: usize = 8;

/// All records that one read gave.
///
/// # Errors
///
/// The bytes are not whole records.
pub fn parse(bytes: &[u8]) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (record, taken) = first(rest).ok_or_else(|| {
            let place = bytes.len() - rest.len();
            Failure::BadAnswer(format!("a record that makes no sense, at byte {place}"))
        })?;
        records.push(record);
        rest = rest.get(taken..).unwrap_or_default();
    }
    Ok(records)
}

/// The first record, and how many bytes it takes with what fills it up.
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
    // A byte too many means that this tool misreads the rest.
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

/// Numbers of the machine's byte order, one after the other.
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
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Failed => "failed",
            Self::Evicted => "evicted",
        }
    }

    /// The word in the trace, which knows of those only that go by themselves and those that are put out.
    pub fn trace_word(self) -> &'static str {
        match self {
            Self::Evicted => "failed",
            other => other.word(),
        }
    }
}

impl Order {
    /// The word in the trace.
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
