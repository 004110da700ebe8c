// SPDX-License-Identifier: GPL-2.0

//! Requests of members to their group's coordinator, and its answer to a member that it does not know.

use super::names::{read_name, write_name};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{EndpointId, GroupId, GroupName, ViewKey};
use crate::protocol::wire::layout::layout;
use crate::protocol::wire::{Reader, Writer};

/// How far a node had come in a group before it left another component of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub struct Place {
    /// The cluster view of the group's log that its members had delivered.
    pub log: ViewKey,
    /// The last entry of it that they had delivered.
    pub delivered: u64,
    /// The cluster view of a pending start: a later log of which the node had accepted the first entry, without knowing
    /// whether all had.
    pub pending_start: Option<ViewKey>,
    /// How many members of this node come from there; not zero.
    pub members: u8,
}

layout!(struct Place { log, delivered, pending_start, members });

/// What an endpoint asks of its group's coordinator, or the coordinator answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// 1: admit me.
    Join,
    /// 2: let me leave.
    Leave,
    /// 3: the answer to [`Self::Leave`] if the coordinator does not know the endpoint.
    Gone,
    /// 4: admit me, I come from another component of the cluster.
    Return(Place),
}

/// Read the rest of `Kind::GroupRequest`: the number of the request, the endpoint, the
/// group's name, the place.
pub fn parse_request(
    mut reader: Reader<'_>,
    group: GroupId,
) -> Result<(Request, EndpointId, GroupName), Counter> {
    let kind = reader.u8()?;
    let endpoint = reader.read()?;
    let name = read_name(&mut reader, group)?;
    let request = match kind {
        1 => Request::Join,
        2 => Request::Leave,
        3 => Request::Gone,
        4 => Request::Return(read_place(&mut reader)?),
        _ => return Err(Counter::DroppedValue),
    };
    reader.end()?;
    Ok((request, endpoint, name))
}

fn read_place(reader: &mut Reader<'_>) -> Result<Place, Counter> {
    let place: Place = reader.read()?;
    if place.members == 0 {
        return Err(Counter::DroppedValue);
    }
    Ok(place)
}

/// Write the body of `Kind::GroupRequest`.
pub fn write_request(
    writer: &mut Writer<'_>,
    name: &GroupName,
    request: Request,
    endpoint: EndpointId,
) -> Option<()> {
    writer.write(&name.id())?;
    writer.u8(match request {
        Request::Join => 1,
        Request::Leave => 2,
        Request::Gone => 3,
        Request::Return(_) => 4,
    })?;
    writer.write(&endpoint)?;
    write_name(writer, name)?;
    match request {
        Request::Return(place) => writer.write(&place),
        Request::Join | Request::Leave | Request::Gone => Some(()),
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(
    CONFIG_KUNIT = "y",
    kernel::macros::kunit_tests(kcgcs_wire_group_requests)
)]
mod tests {
    use super::*;
    use crate::protocol::limits::GROUP_NAME_BYTES_MAX;
    use crate::protocol::test_support::{written, wrong_length_taken, TestResult, Unexpected};
    use crate::protocol::wire::group::read_group;

    fn read(body: &[u8]) -> Result<(Request, EndpointId, GroupName), Counter> {
        let mut reader = Reader::new(body);
        let group = read_group(&mut reader)?;
        parse_request(reader, group)
    }

    #[test]
    fn each_request_is_read_as_it_was_written() -> TestResult {
        let place = Place {
            log: ViewKey(u64::MAX),
            delivered: 9,
            pending_start: None,
            members: 64,
        };
        let with_pending_start = Place {
            pending_start: Some(ViewKey(7)),
            ..place
        };
        for request in [
            Request::Join,
            Request::Leave,
            Request::Gone,
            Request::Return(place),
            Request::Return(with_pending_start),
        ] {
            for name in [&b"x"[..], &[b'n'; GROUP_NAME_BYTES_MAX]] {
                let name = GroupName::new(name).ok_or(Unexpected)?;
                let mut buffer = [0; 96];
                let body = written(&mut buffer, |writer| {
                    write_request(writer, &name, request, EndpointId(u32::MAX))
                })?;
                assert_eq!(read(body), Ok((request, EndpointId(u32::MAX), name)));
                assert_eq!(wrong_length_taken(body, |body| read(body).is_ok()), None);
            }
        }
        Ok(())
    }

    #[test]
    fn invalid_requests_are_refused() -> TestResult {
        let name = GroupName::new(b"demo").ok_or(Unexpected)?;
        let mut buffer = [0; 32];
        let length = written(&mut buffer, |writer| {
            write_request(writer, &name, Request::Join, EndpointId(1))
        })?
        .len();
        // Another group's number, no such request, no name, a name that is too long, another name.
        let changes = [
            (0, 1, Counter::DroppedValue),
            (8, 0, Counter::DroppedValue),
            (8, 5, Counter::DroppedValue),
            (8, 4, Counter::DroppedShort),
            (13, 0, Counter::DroppedValue),
            (13, 33, Counter::DroppedCount),
            (14, b'D', Counter::DroppedValue),
        ];
        for (place, byte, refused) in changes {
            let mut changed = buffer;
            let before = changed.get(place).copied().ok_or(Unexpected)?;
            let byte = if place == 0 { !before } else { byte };
            *changed.get_mut(place).ok_or(Unexpected)? = byte;
            let body = changed.get(..length).ok_or(Unexpected)?;
            assert_eq!(read(body), Err(refused));
        }
        Ok(())
    }
}
