// SPDX-License-Identifier: GPL-2.0

//! Properties of the format on the wire: no bytes make a parser panic, and every message is read as it was written. The
//! tables of boundary cases stand beside the parsers; here random input looks for cases that they lack.

use kcgcs_protocol::protocol::configuration::{DetectorKind, SharedSettings};
use kcgcs_protocol::protocol::identity::{
    EndpointId, GroupId, Identity, Incarnation, NodeId, PeerAddress, Slot, ViewName, ViewNumber,
};
use kcgcs_protocol::protocol::limits::{
    DEPARTURES_IN_PART_MAX, FRAGMENT_BYTES_MAX, GOSSIP_ENTRIES_MAX, HEADER_BYTES, NODES_MAX,
    PART_ENTRIES_MAX,
};
use kcgcs_protocol::protocol::outputs::{ChangeReason, Order, RefusalReason};
use kcgcs_protocol::protocol::view::MemberRecord;
use kcgcs_protocol::protocol::wire::gossip::GossipBody;
use kcgcs_protocol::protocol::wire::group::{
    parse_acknowledge, parse_data, parse_fetch, parse_handover, parse_missing, parse_ordered,
    parse_query, parse_report, parse_request, parse_status, read_group, write_fragment, Fragment,
    Part, FRAGMENT_HEAD_BYTES,
};
use kcgcs_protocol::protocol::wire::heartbeat::DetectorBody;
use kcgcs_protocol::protocol::wire::membership::*;
use kcgcs_protocol::protocol::wire::{
    write_datagram, Datagram, Decode, Header, Kind, Reader, Writer,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

/// Hand a body to every parser and read all lists to their ends.
fn parse_with_all(body: &[u8]) {
    let _ = DetectorBody::parse(body);
    if let Ok(gossip) = GossipBody::parse(body) {
        assert!(gossip.counters().count() <= GOSSIP_ENTRIES_MAX);
    }
    let _ = JoinRequest::parse(body);
    let _ = JoinAnswer::parse(body);
    let _ = Ballot::parse(body);
    let _ = Prepare::parse(body);
    let _ = NotMember::parse(body);
    let _ = Commit::parse(body);
    let _ = ViewNumber::parse(body);
    if let Ok(reports) = Reports::parse(body) {
        let _ = reports.count();
    }
    if let Ok(promise) = Promise::parse(body) {
        if let Some((_, part)) = promise.accepted {
            assert!(part.changes.count() <= PART_ENTRIES_MAX);
        }
    }
    if let Ok(Propose { part, .. }) = Propose::parse(body) {
        assert!(part.changes.count() <= PART_ENTRIES_MAX);
    }
    if let Ok(part) = ViewPart::parse(body) {
        assert!(part.departures.count() <= DEPARTURES_IN_PART_MAX);
        assert!(part.members.count() <= PART_ENTRIES_MAX);
    }
    parse_with_groups(body);
}

/// Do the same with the parsers of group messages, which begin behind the group's number.
fn parse_with_groups(body: &[u8]) {
    let mut reader = Reader::new(body);
    let Ok(group) = read_group(&mut reader) else {
        return;
    };
    let _ = parse_request(reader, group);
    let _ = parse_acknowledge(reader);
    let _ = parse_missing(reader);
    let _ = parse_status(reader);
    let _ = parse_query(reader, group);
    let _ = parse_fetch(reader);
    let _ = parse_report(reader, group);
    if let Ok((_, fragments)) = parse_data(reader) {
        let _ = fragments.count();
    }
    for ordered in [
        parse_ordered(reader).ok(),
        parse_handover(reader).ok().map(|(_, ordered)| ordered),
    ]
    .into_iter()
    .flatten()
    {
        let _ = ordered.entries().count();
    }
}

fn written(write: impl FnOnce(&mut Writer<'_>) -> Option<()>) -> Vec<u8> {
    let mut buffer = vec![0; 8192];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer).expect("it fits");
    let length = writer.length();
    buffer.truncate(length);
    buffer
}

fn node() -> impl Strategy<Value = NodeId> {
    (1..=u16::MAX).prop_map(|number| NodeId::new(number).unwrap())
}

fn identity() -> impl Strategy<Value = Identity> {
    (node(), any::<u64>()).prop_map(|(node, incarnation)| Identity {
        node,
        incarnation: Incarnation(incarnation),
    })
}

fn address() -> impl Strategy<Value = PeerAddress> {
    (any::<[u8; 16]>(), 1..=u16::MAX).prop_map(|(octets, port)| PeerAddress { octets, port })
}

fn member() -> impl Strategy<Value = MemberRecord> {
    (identity(), address(), 1..=NODES_MAX as u16).prop_map(|(identity, address, slot)| {
        MemberRecord {
            identity,
            address,
            slot: Slot(slot),
        }
    })
}

fn ballot() -> impl Strategy<Value = Ballot> {
    (any::<u32>(), node()).prop_map(|(round, coordinator)| Ballot { round, coordinator })
}

fn departure_reason() -> impl Strategy<Value = ChangeReason> {
    select(vec![ChangeReason::Leave, ChangeReason::Failed])
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (identity(), departure_reason())
            .prop_map(|(subject, reason)| Change::Remove { subject, reason }),
        member().prop_map(Change::Add),
    ]
}

fn report() -> impl Strategy<Value = ReportRecord> {
    prop_oneof![
        (identity(), node()).prop_map(|(subject, monitor)| ReportRecord::Suspect(subject, monitor)),
        (identity(), node()).prop_map(|(subject, monitor)| ReportRecord::Accuse(subject, monitor)),
        (identity(), node()).prop_map(|(subject, monitor)| ReportRecord::Clear(subject, monitor)),
        identity().prop_map(ReportRecord::Leave),
        (identity(), address(), any::<u64>()).prop_map(|(joiner, from, last_view)| {
            ReportRecord::Join(joiner, from, ViewNumber(last_view))
        }),
    ]
}

fn join_answer() -> impl Strategy<Value = JoinAnswer> {
    prop_oneof![
        any::<[u64; 2]>().prop_map(|[last_view, primary]| JoinAnswer::Forming {
            last_view: ViewNumber(last_view),
            primary: ViewNumber(primary)
        }),
        address().prop_map(|coordinator| JoinAnswer::Known { coordinator }),
        select(vec![
            RefusalReason::DuplicateNodeId,
            RefusalReason::HeartbeatInterval,
            RefusalReason::Rings,
            RefusalReason::Confirmations,
            RefusalReason::Coordinators,
            RefusalReason::EvenSplit,
            RefusalReason::ViewFull,
            RefusalReason::Detector,
            RefusalReason::Partitionable,
        ])
        .prop_map(JoinAnswer::Refused),
        any::<u64>().prop_map(|later| JoinAnswer::StaleIncarnation(Incarnation(later))),
        (any::<bool>(), node())
            .prop_map(|(is_primary, issuer)| JoinAnswer::Component { is_primary, issuer }),
        any::<u64>().prop_map(|incarnation| JoinAnswer::Evicted(Incarnation(incarnation))),
    ]
}

fn seat() -> impl Strategy<Value = Seat> {
    (any::<u64>(), any::<u64>(), node()).prop_map(|(first_incarnation, number, issuer)| Seat {
        first_incarnation: Incarnation(first_incarnation),
        electorate: ViewName {
            number: ViewNumber(number),
            issuer,
        },
    })
}

fn proposal_kind() -> impl Strategy<Value = ProposalKind> {
    select(vec![
        ProposalKind::Successor,
        ProposalKind::First,
        ProposalKind::Component,
    ])
}

fn kind() -> impl Strategy<Value = Kind> {
    select(
        (0..=u8::MAX)
            .filter_map(Kind::from_number)
            .collect::<Vec<_>>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in vec(any::<u8>(), 0..1500), cluster: u32) {
        let _ = Datagram::parse(&bytes, cluster);
        parse_with_all(&bytes);
    }

    #[test]
    fn bodies_of_small_numbers_make_no_parser_panic(bytes in vec(0..5_u8, 0..200)) {
        // More of these bodies pass the first checks.
        parse_with_all(&bytes);
    }

    #[test]
    fn a_sound_header_before_any_body_is_read_as_it_was_written(
        kind in kind(),
        cluster: u32,
        sender in identity(),
        view: u64,
        lineage: u16,
        counter: u64,
        body in vec(any::<u8>(), 0..1344),
    ) {
        let header = Header { kind, cluster, sender, view: ViewNumber(view), lineage, counter };
        let mut buffer = [0; 1400];
        let length = write_datagram(&mut buffer, &header, |writer| writer.bytes(&body)).unwrap();
        prop_assert_eq!(length, HEADER_BYTES + body.len());
        let datagram = Datagram::parse(&buffer[..length], cluster).unwrap();
        prop_assert_eq!(datagram.header, header);
        prop_assert_eq!(datagram.body, &body[..]);
        parse_with_all(datagram.body);
        prop_assert!(Datagram::parse(&buffer[..length], cluster.wrapping_add(1)).is_err());
    }

    #[test]
    fn heartbeats_and_joins_are_read_as_they_were_written(
        number: u32,
        heard_age_ms: u16,
        settings in any::<[u32; 6]>(),
        primary: u64,
        seat in seat(),
        has_gossip: bool,
        answer in join_answer(),
    ) {
        let failure_detector = DetectorBody { number, heard_age_ms };
        prop_assert_eq!(DetectorBody::parse(&written(|writer| failure_detector.write(writer))), Ok(failure_detector));
        let [heartbeat_interval_ms, rings, confirmations, coordinators, even_split, partitionable] =
            settings;
        let detector = DetectorKind::ALL[usize::from(has_gossip)];
        let settings = SharedSettings {
            heartbeat_interval_ms,
            rings,
            confirmations,
            coordinators,
            even_split,
            partitionable,
            detector,
        };
        let last_view = ViewNumber(u64::from(number));
        let primary = ViewNumber(primary);
        let has_heard = rings % 2 == 0;
        let join = JoinRequest { settings, has_heard, last_view, primary, seat };
        prop_assert_eq!(JoinRequest::parse(&written(|writer| writer.write(&join))), Ok(join));
        let body = written(|writer| writer.write(&answer));
        prop_assert_eq!(JoinAnswer::parse(&body), Ok(answer));
    }

    #[test]
    fn reports_are_read_as_they_were_written(records in vec(report(), 0..30)) {
        let body = written(|writer| {
            records.iter().try_for_each(|record| writer.write(record))
        });
        prop_assert_eq!(Reports::parse(&body).unwrap().collect::<Vec<_>>(), records);
    }

    #[test]
    fn proposals_are_read_as_they_were_written_alone_and_in_promises(
        under in ballot(),
        before in ballot(),
        has_groups: bool,
        seat in seat(),
        kind in proposal_kind(),
        issuer in node(),
        number in 1..=u64::MAX,
        reporters in vec(any::<u8>(), 0..=NODES_MAX / 8),
        changes in vec(change(), 0..100),
    ) {
        let parts = changes.len().div_ceil(PART_ENTRIES_MAX).max(1);
        let mut read = Vec::new();
        for part in 0..parts {
            let start = part * PART_ENTRIES_MAX;
            let end = changes.len().min(start + PART_ENTRIES_MAX);
            let head = ProposalHead {
                issuer,
                number: ViewNumber(number),
                kind,
                part: part as u16,
                parts: parts as u16,
                changes_total: changes.len() as u16,
                reporters: &reporters,
            };
            let body = written(|writer| {
                writer.write(&under)?;
                write_proposal_part(writer, &head, &changes[start..end])
            });
            let Propose { ballot, part: alone } = Propose::parse(&body).unwrap();
            prop_assert_eq!((ballot, alone.issuer, alone.reporters), (under, issuer, &reporters[..]));
            prop_assert_eq!((alone.number, alone.kind), (head.number, kind));
            let body = written(|writer| {
                write_promise(writer, under, has_groups, seat, Some(before))?;
                write_proposal_part(writer, &head, &changes[start..end])
            });
            let promise = Promise::parse(&body).unwrap();
            let Promise { ballot, .. } = promise;
            prop_assert_eq!((ballot, promise.has_groups, promise.seat), (under, has_groups, seat));
            let (accepted, within) = promise.accepted.unwrap();
            prop_assert_eq!(accepted, before);
            prop_assert!(alone.changes.eq(within.changes));
            read.extend(alone.changes);
        }
        prop_assert_eq!(read, changes);
    }

    #[test]
    fn views_are_read_as_they_were_written(
        number in 1..=u64::MAX,
        issuer in node(),
        is_primary: bool,
        seat in seat(),
        members in btree_map(node(), (member(), any::<bool>()), 1..100),
        departures in vec((identity(), departure_reason()), 0..=DEPARTURES_IN_PART_MAX),
    ) {
        let members: Vec<_> = members
            .into_iter()
            .map(|(node, (mut member, flag))| {
                member.identity.node = node;
                (member, flag)
            })
            .collect();
        let parts = members.chunks(PART_ENTRIES_MAX);
        for (part, entries) in parts.clone().enumerate() {
            let head = ViewPartHead {
                number: ViewNumber(number),
                issuer,
                is_primary,
                origin: seat.electorate,
                part: part as u16,
                parts: parts.len() as u16,
                members_total: members.len() as u16,
            };
            let body = written(|writer| write_view_part(writer, &head, &departures, entries.iter().copied()));
            let read = ViewPart::parse(&body).unwrap();
            prop_assert_eq!((read.number, read.issuer), (head.number, issuer));
            prop_assert_eq!((read.is_primary, read.origin), (is_primary, head.origin));
            prop_assert_eq!(read.departures.collect::<Vec<_>>(), &departures[..]);
            prop_assert_eq!(read.members.collect::<Vec<_>>(), entries);
        }
    }

    #[test]
    fn a_message_cut_off_anywhere_is_refused(under in ballot(), changes in vec(change(), 1..=32)) {
        let head = ProposalHead {
            issuer: under.coordinator,
            number: ViewNumber(1),
            kind: ProposalKind::Successor,
            part: 0,
            parts: 1,
            changes_total: changes.len() as u16,
            reporters: &[0xff; 4],
        };
        let body = written(|writer| {
            writer.write(&under)?;
            write_proposal_part(writer, &head, &changes)
        });
        for length in 0..body.len() {
            prop_assert!(Propose::parse(&body[..length]).is_err());
        }
    }

    #[test]
    fn a_corrupted_byte_makes_no_parser_panic(
        changes in vec(change(), 0..=32),
        place in any::<proptest::sample::Index>(),
        value: u8,
    ) {
        let head = ProposalHead {
            issuer: NodeId::new(1).unwrap(),
            number: ViewNumber(1),
            kind: ProposalKind::Successor,
            part: 0,
            parts: 1,
            changes_total: changes.len() as u16,
            reporters: &[0xff; 4],
        };
        let under = Ballot { round: 1, coordinator: NodeId::new(1).unwrap() };
        let mut body = written(|writer| {
            writer.write(&under)?;
            write_proposal_part(writer, &head, &changes)
        });
        let place = place.index(body.len());
        body[place] = value;
        parse_with_all(&body);
    }

    #[test]
    fn fragments_are_read_as_they_were_written(
        endpoint: u32,
        sequence in 1..1_000_u64,
        bytes in vec(any::<u8>(), 1..=FRAGMENT_BYTES_MAX),
    ) {
        let part = Part { order: Order::Agreed, sequence, fragment: 0, fragments: 1, after: 0 };
        let endpoint = EndpointId(endpoint);
        let fragment = Fragment { endpoint, oldest: sequence, part, bytes: &bytes };
        let body = written(|writer| {
            writer.u64(GroupId(7).0)?;
            writer.u64(sequence)?;
            write_fragment(writer, &fragment)
        });
        prop_assert!(body.len() <= 16 + FRAGMENT_HEAD_BYTES + bytes.len());
        let mut reader = Reader::new(&body);
        prop_assert_eq!(read_group(&mut reader), Ok(GroupId(7)));
        let (accepted, fragments) = parse_data(reader).unwrap();
        prop_assert_eq!(accepted, sequence);
        prop_assert_eq!(fragments.collect::<Vec<_>>(), [fragment]);
    }
}
