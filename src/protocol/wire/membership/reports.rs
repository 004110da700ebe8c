// SPDX-License-Identifier: GPL-2.0

//! Reporting changes: what one node tells coordinators about another one, or about itself.

use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, NodeId, PeerAddress, ViewNumber};
use crate::protocol::wire::{Reader, Writer};

/// What one node tells coordinators about another one, or about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportRecord {
    /// A watcher, the sender or one that a coordinator speaks for, does not hear the subject and
    /// probes it.
    Suspect(Identity, NodeId),
    /// A watcher's probes were not answered.
    Accuse(Identity, NodeId),
    /// A watcher takes back what it said of the subject.
    Clear(Identity, NodeId),
    /// The sender has had an answer of the subject, which the receiver accuses.
    Contradict(Identity),
    /// The subject, which is the sender, wants to leave.
    Leave(Identity),
    /// A node wants to come in, which knows of views up to this number.
    Join(Identity, PeerAddress, ViewNumber),
    /// An administrator wants the subject out.
    Evict(Identity),
    /// An administrator wants no views for a while; said at the subject, which is the sender.
    Pin(Identity, Pin),
}

/// That views are not agreed on for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Of two pins the one with the higher number counts, and of two with one number that of the higher
    /// node.
    pub sequence: u32,
    /// For how many milliseconds from when this was written; zero ends it.
    pub span_ms: u32,
}

/// Report records that were checked.
#[derive(Clone, Copy, Debug)]
pub struct Reports<'a>(Reader<'a>);

impl Iterator for Reports<'_> {
    type Item = ReportRecord;

    fn next(&mut self) -> Option<ReportRecord> {
        if self.0.is_empty() {
            return None;
        }
        read_report(&mut self.0).ok()
    }
}

/// Reads the body of [`crate::protocol::wire::Kind::Report`].
pub fn parse_reports(body: &[u8]) -> Result<Reports<'_>, Counter> {
    let mut reader = Reader::new(body);
    while !reader.is_empty() {
        read_report(&mut reader)?;
    }
    Ok(Reports(Reader::new(body)))
}

fn read_report(reader: &mut Reader<'_>) -> Result<ReportRecord, Counter> {
    let kind = reader.u8()?;
    let subject = reader.identity()?;
    Ok(match kind {
        1 => ReportRecord::Suspect(subject, reader.node()?),
        2 => ReportRecord::Accuse(subject, reader.node()?),
        3 => ReportRecord::Clear(subject, reader.node()?),
        4 => ReportRecord::Contradict(subject),
        5 => ReportRecord::Leave(subject),
        6 => ReportRecord::Join(subject, reader.address()?, ViewNumber(reader.u64()?)),
        7 => ReportRecord::Evict(subject),
        8 => ReportRecord::Pin(
            subject,
            Pin {
                sequence: reader.u32()?,
                span_ms: reader.u32()?,
            },
        ),
        _ => return Err(Counter::DroppedValue),
    })
}

/// Reads the body of [`crate::protocol::wire::Kind::IndirectProbe`]: who is asked.
pub fn parse_identity(body: &[u8]) -> Result<Identity, Counter> {
    let mut reader = Reader::new(body);
    let subject = reader.identity()?;
    reader.end()?;
    Ok(subject)
}

/// Writes one record of the body of [`crate::protocol::wire::Kind::Report`].
pub fn write_report(writer: &mut Writer<'_>, record: &ReportRecord) -> Option<()> {
    let (kind, subject) = match record {
        ReportRecord::Suspect(subject, _) => (1, subject),
        ReportRecord::Accuse(subject, _) => (2, subject),
        ReportRecord::Clear(subject, _) => (3, subject),
        ReportRecord::Contradict(subject) => (4, subject),
        ReportRecord::Leave(subject) => (5, subject),
        ReportRecord::Join(subject, _, _) => (6, subject),
        ReportRecord::Evict(subject) => (7, subject),
        ReportRecord::Pin(subject, _) => (8, subject),
    };
    writer.u8(kind)?;
    writer.identity(*subject)?;
    match record {
        ReportRecord::Suspect(_, watcher)
        | ReportRecord::Accuse(_, watcher)
        | ReportRecord::Clear(_, watcher) => writer.u16(watcher.number()),
        ReportRecord::Join(_, address, last_view) => {
            writer.address(*address)?;
            writer.u64(last_view.0)
        }
        ReportRecord::Pin(_, pin) => {
            writer.u32(pin.sequence)?;
            writer.u32(pin.span_ms)
        }
        ReportRecord::Contradict(_) | ReportRecord::Leave(_) | ReportRecord::Evict(_) => Some(()),
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_wire_reports))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{
        address, identity_in, node, written, wrong_length_taken, TestResult,
    };

    const SUBJECT: Identity = identity_in(9, u64::MAX);
    const RECORDS: [ReportRecord; 8] = [
        ReportRecord::Suspect(SUBJECT, node(1)),
        ReportRecord::Accuse(SUBJECT, node(2)),
        ReportRecord::Clear(SUBJECT, node(u16::MAX)),
        ReportRecord::Contradict(SUBJECT),
        ReportRecord::Leave(SUBJECT),
        ReportRecord::Join(SUBJECT, address(9), ViewNumber(u64::MAX - 1)),
        ReportRecord::Evict(SUBJECT),
        ReportRecord::Pin(
            SUBJECT,
            Pin {
                sequence: 7,
                span_ms: u32::MAX,
            },
        ),
    ];

    #[test]
    fn each_record_is_read_as_it_was_written() -> TestResult {
        for record in RECORDS {
            let mut buffer = [0; 64];
            let body = written(&mut buffer, |writer| write_report(writer, &record))?;
            assert!(parse_reports(body)?.eq([record]));
            // No record at all is a report too.
            let taken =
                wrong_length_taken(body, |body| !body.is_empty() && parse_reports(body).is_ok());
            assert_eq!(taken, None);
        }
        Ok(())
    }

    #[test]
    fn records_stand_one_behind_the_other() -> TestResult {
        let mut buffer = [0; 256];
        let body = written(&mut buffer, |writer| {
            RECORDS
                .iter()
                .try_for_each(|record| write_report(writer, record))
        })?;
        assert!(parse_reports(body)?.eq(RECORDS));
        assert_eq!(parse_reports(&[])?.count(), 0);
        Ok(())
    }

    #[test]
    fn one_wrong_record_spoils_the_whole_report() -> TestResult {
        // Two records of 13 bytes. The kind stands at 0, the subject at 1, the watcher at 11.
        for (offset, bytes) in [
            (0, &[0][..]),
            (0, &[9]),
            (0, &[255]),
            (1, &[0, 0]),
            (11, &[0, 0]),
            (13, &[0]),
            (24, &[0, 0]),
        ] {
            let mut buffer = [0; 64];
            written(&mut buffer, |writer| {
                write_report(writer, &RECORDS[0])?;
                write_report(writer, &RECORDS[1])
            })?;
            if let Some(place) = buffer.get_mut(offset..offset + bytes.len()) {
                place.copy_from_slice(bytes);
            }
            let report = parse_reports(buffer.get(..26).unwrap_or_default());
            assert_eq!(report.err(), Some(Counter::DroppedValue));
        }
        Ok(())
    }
}
