// SPDX-License-Identifier: GPL-2.0

//! Reports: what one node sends to coordinators about another one, or about itself.

use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, NodeId, PeerAddress, ViewNumber};
use crate::protocol::wire::layout::layout;
use crate::protocol::wire::{Decode, List, Writer};

/// What one node reports to coordinators about another one, or about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportRecord {
    /// The monitor does not hear the subject and probes it. The monitor is the sender, or a node whose report a
    /// coordinator passes on.
    Suspect(Identity, NodeId),
    /// The subject did not answer the monitor's probes.
    Accuse(Identity, NodeId),
    /// The monitor takes back its suspicion or accusation of the subject.
    Clear(Identity, NodeId),
    /// The subject has answered the sender, and the receiver accuses it.
    Contradict(Identity),
    /// The subject, which is the sender, asks to leave.
    Leave(Identity),
    /// A node at this address asks to be admitted; it knows of views up to this number.
    Join(Identity, PeerAddress, ViewNumber),
    /// An administrator evicts the subject.
    Evict(Identity),
    /// An administrator pins the view, or ends that, at the subject, which is the sender.
    Pin(Identity, Pin),
}

layout!(enum ReportRecord {
    1 => Suspect(subject, monitor),
    2 => Accuse(subject, monitor),
    3 => Clear(subject, monitor),
    4 => Contradict(subject),
    5 => Leave(subject),
    6 => Join(subject, address, last_view),
    7 => Evict(subject),
    8 => Pin(subject, pin),
});

/// No views are agreed on for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Of two pins the one with the higher sequence holds; of two with the same sequence that of the higher node.
    pub sequence: u32,
    /// Milliseconds from when the sender wrote this; zero ends the pin.
    pub span_ms: u32,
}

layout!(struct Pin { sequence, span_ms });

/// The records of a report.
pub type Reports<'a> = List<'a, ReportRecord>;

/// Read the body of [`Kind::Report`](crate::protocol::wire::Kind::Report).
pub fn parse_reports(body: &[u8]) -> Result<Reports<'_>, Counter> {
    List::parse(body)
}

/// Read the body of [`Kind::IndirectProbe`](crate::protocol::wire::Kind::IndirectProbe): the node that is asked.
pub fn parse_identity(body: &[u8]) -> Result<Identity, Counter> {
    Decode::parse(body)
}

/// Write one record of the body of [`Kind::Report`](crate::protocol::wire::Kind::Report).
pub fn write_report(writer: &mut Writer<'_>, record: &ReportRecord) -> Option<()> {
    writer.write(record)
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
