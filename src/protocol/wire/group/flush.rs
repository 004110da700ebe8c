// SPDX-License-Identifier: GPL-2.0

//! What a new coordinator and the nodes say to each other to find out what a log came to.

use super::names::{read_name, write_name};
use super::views::{read_view, ViewBody};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{GroupId, GroupName, NodeId, ViewNumber};
use crate::protocol::wire::{Reader, Writer};

/// What a node holds of a group.
#[derive(Clone, Copy, Debug)]
pub enum Report<'a> {
    /// Nothing.
    Nothing {
        /// Whether it has members that are in the group as far as it knows, or ask to be.
        has_members: bool,
    },
    /// A log.
    Log {
        /// Of which cluster view.
        epoch: ViewNumber,
        /// All entries up to here.
        accepted: u64,
        /// Another report tells of the start of a later log, which is not known to be held by all.
        has_candidate: bool,
        /// The view that is in force after the last accepted entry.
        view: ViewBody<'a>,
    },
    /// The start of a later log.
    Candidate {
        /// Of which cluster view.
        epoch: ViewNumber,
        /// Whether the node has a log of an earlier one too, told of in another report.
        has_log: bool,
        /// Its view.
        view: ViewBody<'a>,
    },
}

/// Reads the rest of [`crate::protocol::wire::Kind::GroupQuery`].
pub fn parse_query(mut reader: Reader<'_>, group: GroupId) -> Result<GroupName, Counter> {
    let name = read_name(&mut reader, group)?;
    reader.end()?;
    Ok(name)
}

/// Writes the body of [`crate::protocol::wire::Kind::GroupQuery`].
pub fn write_query(writer: &mut Writer<'_>, name: &GroupName) -> Option<()> {
    writer.u64(name.id().0)?;
    write_name(writer, name)
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
    /// Whom to hand them to.
    pub receiver: NodeId,
}

/// Reads the rest of [`crate::protocol::wire::Kind::GroupFetch`].
pub fn parse_fetch(mut reader: Reader<'_>) -> Result<Fetch, Counter> {
    let fetch = Fetch {
        epoch: ViewNumber(reader.u64()?),
        from: reader.u64()?,
        to: reader.u64()?,
        receiver: reader.node()?,
    };
    reader.end()?;
    Ok(fetch)
}

/// Writes the body of [`crate::protocol::wire::Kind::GroupFetch`].
pub fn write_fetch(writer: &mut Writer<'_>, group: GroupId, fetch: &Fetch) -> Option<()> {
    writer.u64(group.0)?;
    writer.u64(fetch.epoch.0)?;
    writer.u64(fetch.from)?;
    writer.u64(fetch.to)?;
    writer.u16(fetch.receiver.number())
}

/// Reads the rest of [`crate::protocol::wire::Kind::GroupReport`].
pub fn parse_report(
    mut reader: Reader<'_>,
    group: GroupId,
) -> Result<(GroupName, Report<'_>), Counter> {
    let name = read_name(&mut reader, group)?;
    let report = match reader.u8()? {
        0 => Report::Nothing {
            has_members: reader.boolean()?,
        },
        1 => Report::Log {
            epoch: ViewNumber(reader.u64()?),
            accepted: reader.u64()?,
            has_candidate: reader.boolean()?,
            view: read_view(&mut reader)?,
        },
        2 => Report::Candidate {
            epoch: ViewNumber(reader.u64()?),
            has_log: reader.boolean()?,
            view: read_view(&mut reader)?,
        },
        _ => return Err(Counter::DroppedValue),
    };
    reader.end()?;
    Ok((name, report))
}

/// Writes the body of [`crate::protocol::wire::Kind::GroupReport`] of a node that holds nothing.
pub fn write_report_nothing(
    writer: &mut Writer<'_>,
    name: &GroupName,
    has_members: bool,
) -> Option<()> {
    writer.u64(name.id().0)?;
    write_name(writer, name)?;
    writer.u8(0)?;
    writer.boolean(has_members)
}

/// Writes what stands before the view in the report of a log.
pub fn write_report_log(
    writer: &mut Writer<'_>,
    name: &GroupName,
    epoch: ViewNumber,
    accepted: u64,
    has_candidate: bool,
) -> Option<()> {
    writer.u64(name.id().0)?;
    write_name(writer, name)?;
    writer.u8(1)?;
    writer.u64(epoch.0)?;
    writer.u64(accepted)?;
    writer.boolean(has_candidate)
}

/// Writes what stands before the view in the report of a candidate.
pub fn write_report_candidate(
    writer: &mut Writer<'_>,
    name: &GroupName,
    epoch: ViewNumber,
    has_log: bool,
) -> Option<()> {
    writer.u64(name.id().0)?;
    write_name(writer, name)?;
    writer.u8(2)?;
    writer.u64(epoch.0)?;
    writer.boolean(has_log)
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
                Report::Log { epoch: ViewNumber(6), accepted: 77, has_candidate, view }
                    if has_candidate == announced && view.number == ViewNumber(8)
            );
            assert!(is_same);
            let taken = wrong_length_taken(body, |body| read_report(body).is_ok());
            assert_eq!(taken, None);
        }
        Ok(())
    }

    #[test]
    fn a_report_of_a_candidate_is_read_as_it_was_written() -> TestResult {
        let name = name()?;
        for announced in [false, true] {
            let mut buffer = [0; 64];
            let body = written(&mut buffer, |writer| {
                write_report_candidate(writer, &name, ViewNumber(6), announced)?;
                write_empty_view(writer)
            })?;
            let is_same = matches!(
                read_report(body)?.1,
                Report::Candidate { epoch: ViewNumber(6), has_log, view }
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
