// SPDX-License-Identifier: GPL-2.0

//! Nodes, addresses, members and views for the unit tests of several files. The tests run under cargo and, as KUnit
//! suites, in the kernel: nothing here panics.

use super::configuration::ConfigurationError;
use super::errors::Counter;
use super::identity::{Identity, Incarnation, NodeId, PeerAddress, Slot};
use super::outbox::Outbox;
use super::time::{Duration, Instant};
use super::view::{ClusterView, MemberRecord};
use super::wire::{Decode, Encode, Writer};
use crate::platform::OutOfMemory;

/// An assumption of a test does not hold: the test fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unexpected;

impl From<OutOfMemory> for Unexpected {
    fn from(_: OutOfMemory) -> Self {
        Self
    }
}

impl From<Counter> for Unexpected {
    fn from(_: Counter) -> Self {
        Self
    }
}

impl From<ConfigurationError> for Unexpected {
    fn from(_: ConfigurationError) -> Self {
        Self
    }
}

/// What a test returns.
pub(crate) type TestResult = Result<(), Unexpected>;

/// The cluster's number in all tests.
pub(crate) const CLUSTER: u32 = 0x1234_5678;

/// The node of this number, which is not zero.
pub(crate) const fn node(number: u16) -> NodeId {
    const LOWEST: NodeId = match NodeId::new(1) {
        Some(node) => node,
        None => unreachable!(),
    };
    match NodeId::new(number) {
        Some(node) => node,
        None => LOWEST,
    }
}

/// The first incarnation of a node.
pub(crate) const fn identity(number: u16) -> Identity {
    identity_in(number, 1)
}

/// One incarnation of a node.
pub(crate) const fn identity_in(number: u16, incarnation: u64) -> Identity {
    Identity {
        node: node(number),
        incarnation: Incarnation(incarnation),
    }
}

/// The address of a node. Addresses have the order of their nodes.
pub(crate) const fn address(number: u16) -> PeerAddress {
    let [high, low] = number.to_be_bytes();
    PeerAddress {
        octets: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, high, low],
        port: 5407,
    }
}

/// The first incarnation of a node as a member, in the slot of its number.
pub(crate) const fn member(number: u16) -> MemberRecord {
    MemberRecord {
        identity: identity(number),
        address: address(number),
        slot: Slot(number),
    }
}

/// A view of the first incarnations of some nodes, none of which is a reporter.
pub(crate) fn view(numbers: impl IntoIterator<Item = u16>) -> Result<ClusterView, Unexpected> {
    let mut view = ClusterView::empty(node(1))?;
    for number in numbers {
        view.insert(member(number), false).map_err(|_| Unexpected)?;
    }
    view.number.0 = 1;
    Ok(view)
}

/// The moment this many milliseconds after the start of the clock.
pub(crate) const fn at(milliseconds: u64) -> Instant {
    Instant::ZERO.after(span(milliseconds))
}

/// A span of milliseconds.
pub(crate) const fn span(milliseconds: u64) -> Duration {
    Duration::from_milliseconds(milliseconds)
}

/// The queues of node 1.
pub(crate) fn outbox() -> Result<Outbox, Unexpected> {
    Ok(Outbox::new(identity(1), CLUSTER)?)
}

/// Write a body to the front of `buffer`.
pub(crate) fn written(
    buffer: &mut [u8],
    write: impl FnOnce(&mut Writer<'_>) -> Option<()>,
) -> Result<&[u8], Unexpected> {
    let mut writer = Writer::new(buffer);
    write(&mut writer).ok_or(Unexpected)?;
    let length = writer.length();
    buffer.get(..length).ok_or(Unexpected)
}

/// The first length other than its own at which `is_taken` takes a body that was cut off or has a byte too many. `None`
/// is what should be.
pub(crate) fn wrong_length_taken(body: &[u8], is_taken: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let mut longer = [0; 1500];
    longer.get_mut(..body.len())?.copy_from_slice(body);
    (0..body.len())
        .chain([body.len().saturating_add(1)])
        .find(|length| longer.get(..*length).is_none_or(&is_taken))
}

/// Whether a value is read as it was written, and from no body of another length.
pub(crate) fn is_read_as_written<T>(value: &T) -> bool
where
    T: Encode + PartialEq + for<'a> Decode<'a>,
{
    let mut buffer = [0; 256];
    let Ok(body) = written(&mut buffer, |writer| writer.write(value)) else {
        return false;
    };
    T::parse(body).is_ok_and(|read| read == *value)
        && wrong_length_taken(body, |body| T::parse(body).is_ok()).is_none()
}
