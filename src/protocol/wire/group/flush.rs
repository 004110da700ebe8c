// SPDX-License-Identifier: GPL-2.0

//! The messages with which a new coordinator finds out what became of a group's log: query, report, fetch.

use super::names::{read_name, write_group_and_name};
use super::views::ViewBody;
use crate::protocol::errors::Counter;
use crate::protocol::identity::{GroupId, GroupName, NodeId, ViewNumber};
use crate::protocol::wire::layout::layout;
use crate::protocol::wire::{Decode, Reader, Writer};

/// The number of [`Report::Nothing`] on the wire.
const NOTHING: u8 = 0;
/// The number of [`Report::Log`] on the wire.
const LOG: u8 = 1;
/// The number of [`Report::PendingStart`] on the wire.
const PENDING_START: u8 = 2;

/// What a node holds of a group. On the wire its number stands first, in one byte, then its fields in this order.
#[derive(Clone, Copy, Debug)]
pub enum Report<'a> {
    /// 0: nothing.
    Nothing {
        /// Whether it has members that are in the group as far as it knows, or ask to be admitted.
        has_members: bool,
    },
    /// 1: a log.
    Log {
        /// The cluster view of the log.
        epoch: ViewNumber,
        /// The node has all entries up to here.
        accepted: u64,
        /// Whether the node also has a pending start, which another report carries.
        has_pending_start: bool,
        /// The view that is in force after the last accepted entry.
        view: ViewBody<'a>,
    },
    /// 2: the start of a later log, of which the node does not know whether all have it.
    PendingStart {
        /// The cluster view of that log.
        epoch: ViewNumber,
        /// Whether the node also has a log of an earlier one, which another report carries.
        has_log: bool,
        /// The first view of that log.
        view: ViewBody<'a>,
    },
}

impl<'a> Decode<'a> for Report<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Counter> {
        Ok(match reader.u8()? {
            NOTHING => Self::Nothing {
                has_members: reader.read()?,
            },
            LOG => Self::Log {
                epoch: reader.read()?,
                accepted: reader.read()?,
                has_pending_start: reader.read()?,
                view: reader.read()?,
            },
            PENDING_START => Self::PendingStart {
                epoch: reader.read()?,
                has_log: reader.read()?,
                view: reader.read()?,
            },
            _ => return Err(Counter::DroppedValue),
        })
    }
}

/// Read the rest of [`Kind::GroupReport`](crate::protocol::wire::Kind::GroupReport): the group's name and the report.
pub fn parse_report(
    mut reader: Reader<'_>,
    group: GroupId,
) -> Result<(GroupName, Report<'_>), Counter> {
    let name = read_name(&mut reader, group)?;
    Ok((name, Decode::parse(reader.rest())?))
}

/// Write the body of [`Kind::GroupReport`](crate::protocol::wire::Kind::GroupReport) with a [`Report::Nothing`].
pub fn write_report_nothing(
    writer: &mut Writer<'_>,
    name: &GroupName,
    has_members: bool,
) -> Option<()> {
    write_group_and_name(writer, name)?;
    writer.u8(NOTHING)?;
    writer.write(&has_members)
}

/// Write what stands before the view in a [`Report::Log`].
pub fn write_report_log(
    writer: &mut Writer<'_>,
    name: &GroupName,
    epoch: ViewNumber,
    accepted: u64,
    has_pending_start: bool,
) -> Option<()> {
    write_group_and_name(writer, name)?;
    writer.u8(LOG)?;
    writer.write(&epoch)?;
    writer.u64(accepted)?;
    writer.write(&has_pending_start)
}

/// Write what stands before the view in a [`Report::PendingStart`].
pub fn write_report_pending_start(
    writer: &mut Writer<'_>,
    name: &GroupName,
    epoch: ViewNumber,
    has_log: bool,
) -> Option<()> {
    write_group_and_name(writer, name)?;
    writer.u8(PENDING_START)?;
    writer.write(&epoch)?;
    writer.write(&has_log)
}

/// Read the rest of [`Kind::GroupQuery`](crate::protocol::wire::Kind::GroupQuery): the group's name.
pub fn parse_query(mut reader: Reader<'_>, group: GroupId) -> Result<GroupName, Counter> {
    let name = read_name(&mut reader, group)?;
    reader.end()?;
    Ok(name)
}

/// Write the body of [`Kind::GroupQuery`](crate::protocol::wire::Kind::GroupQuery).
pub fn write_query(writer: &mut Writer<'_>, name: &GroupName) -> Option<()> {
    write_group_and_name(writer, name)
}

/// A request to hand entries on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The cluster view of the log.
    pub epoch: ViewNumber,
    /// The first entry.
    pub from: u64,
    /// The last entry.
    pub to: u64,
    /// The node that lacks them.
    pub receiver: NodeId,
}

layout!(struct Fetch { epoch, from, to, receiver });

/// Read the rest of [`Kind::GroupFetch`](crate::protocol::wire::Kind::GroupFetch).
pub fn parse_fetch(mut reader: Reader<'_>) -> Result<Fetch, Counter> {
    Decode::parse(reader.rest())
}

/// Write the body of [`Kind::GroupFetch`](crate::protocol::wire::Kind::GroupFetch).
pub fn write_fetch(writer: &mut Writer<'_>, group: GroupId, fetch: &Fetch) -> Option<()> {
    writer.write(&group)?;
    writer.write(fetch)
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(
    CONFIG_KUNIT = "y",
    kernel::macros::kunit_tests(kcgcs_wire_group_flush)
)]
mod tests {
    use super::*;
    use crate::protocol::test_support::{
        node, written, wrong_length_taken, TestResult, Unexpected,
    };
    use crate::protocol::wire::group::{read_group, write_view};

    fn name() -> Result<GroupName, Unexpected> {
        GroupName::new(b"demo").ok_or(Unexpected)
    }

    fn write_empty_view(writer: &mut Writer<'_>) -> Option<()> {
        write_view(writer, ViewNumber(8), node(2), [].into_iter(), &[], &[])
    }

    fn read_report(body: &[u8]) -> Result<(GroupName, Report<'_>), Counter> {
        let mut reader = Reader::new(body);
        let group = read_group(&mut reader)?;
        parse_report(reader, group)
    }

    #[test]
    fn a_query_is_read_as_it_was_written() -> TestResult {
        let name = name()?;
        let mut buffer = [0; 32];
        let body = written(&mut buffer, |writer| write_query(writer, &name))?;
        let read = |body: &[u8]| {
            let mut reader = Reader::new(body);
            let group = read_group(&mut reader)?;
            parse_query(reader, group)
        };
        assert_eq!(read(body), Ok(name));
        assert_eq!(wrong_length_taken(body, |body| read(body).is_ok()), None);
        Ok(())
    }

    #[test]
    fn a_fetch_is_read_as_it_was_written() -> TestResult {
        let fetch = Fetch {
            epoch: ViewNumber(3),
            from: 4,
            to: u64::MAX,
            receiver: node(9),
        };
        let mut buffer = [0; 64];
        let body = written(&mut buffer, |writer| {
            write_fetch(writer, GroupId(1), &fetch)
        })?;
        let read = |body: &[u8]| {
            let mut reader = Reader::new(body);
            read_group(&mut reader)?;
            parse_fetch(reader)
        };
        assert_eq!(read(body), Ok(fetch));
        assert_eq!(wrong_length_taken(body, |body| read(body).is_ok()), None);
        Ok(())
    }

    #[test]
    fn a_report_of_nothing_is_read_as_it_was_written() -> TestResult {
        let name = name()?;
        let mut buffer = [0; 32];
        for said in [false, true] {
            let body = written(&mut buffer, |writer| {
                write_report_nothing(writer, &name, said)
            })?;
            assert!(
                matches!(read_report(body), Ok((read, Report::Nothing { has_members }))
                if read == name && has_members == said)
            );
            let taken = wrong_length_taken(body, |body| read_report(body).is_ok());
            assert_eq!(taken, None);
        }
        Ok(())
    }

    #[test]
    fn a_report_of_a_log_is_read_as_it_was_written() -> TestResult {
        let name = name()?;
        for announced in [false, true] {
            let mut buffer = [0; 64];
            let body = written(&mut buffer, |writer| {
                write_report_log(writer, &name, ViewNumber(6), 77, announced)?;
                write_empty_view(writer)
            })?;
            let is_same = matches!(
                read_report(body)?.1,
                Report::Log { epoch: ViewNumber(6), accepted: 77, has_pending_start, view }
                    if has_pending_start == announced && view.number == ViewNumber(8)
            );
            assert!(is_same);
            let taken = wrong_length_taken(body, |body| read_report(body).is_ok());
            assert_eq!(taken, None);
        }
        Ok(())
    }

    #[test]
    fn a_report_of_a_pending_start_is_read_as_it_was_written() -> TestResult {
        let name = name()?;
        for announced in [false, true] {
            let mut buffer = [0; 64];
            let body = written(&mut buffer, |writer| {
                write_report_pending_start(writer, &name, ViewNumber(6), announced)?;
                write_empty_view(writer)
            })?;
            let is_same = matches!(
                read_report(body)?.1,
                Report::PendingStart { epoch: ViewNumber(6), has_log, view }
                    if has_log == announced && view.number == ViewNumber(8)
            );
            assert!(is_same);
            let taken = wrong_length_taken(body, |body| read_report(body).is_ok());
            assert_eq!(taken, None);
        }
        Ok(())
    }

    #[test]
    fn no_other_kind_of_report_is_taken() -> TestResult {
        let name = name()?;
        let mut buffer = [0; 32];
        let length = written(&mut buffer, |writer| {
            write_report_nothing(writer, &name, true)
        })?
        .len();
        for kind in [3, 4, 255] {
            *buffer.get_mut(length.saturating_sub(1)).ok_or(Unexpected)? = kind;
            let refused = read_report(buffer.get(..length).ok_or(Unexpected)?).err();
            assert_eq!(refused, Some(Counter::DroppedValue));
        }
        Ok(())
    }
}
