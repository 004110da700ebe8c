// SPDX-License-Identifier: GPL-2.0

//! The bytes of one example of each message. A change that makes one of these tests fail changes the format: nodes of
//! both versions do not understand each other any more, and `VERSION` in `wire/header.rs` has to grow.

use std::fmt::Write as _;

use kcgcs_protocol::protocol::configuration::{DetectorKind, SharedSettings};
use kcgcs_protocol::protocol::identity::{
    EndpointId, GroupId, GroupName, Identity, Incarnation, MemberId, NodeId, PeerAddress, Slot,
    ViewKey, ViewName, ViewNumber,
};
use kcgcs_protocol::protocol::outputs::{Order, RefusalReason};
use kcgcs_protocol::protocol::view::{ChangeReason, MemberRecord};
use kcgcs_protocol::protocol::wire::gossip::write_gossip;
use kcgcs_protocol::protocol::wire::group::*;
use kcgcs_protocol::protocol::wire::heartbeat::DetectorBody;
use kcgcs_protocol::protocol::wire::membership::*;
use kcgcs_protocol::protocol::wire::Writer;

const SUBJECT: Identity = Identity {
    node: node(0x0102),
    incarnation: Incarnation(0x0304_0506_0708_090a),
};
const ADDRESS: PeerAddress = PeerAddress {
    octets: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 7],
    port: 5407,
};
const MEMBER: MemberRecord = MemberRecord {
    identity: SUBJECT,
    address: ADDRESS,
    slot: Slot(3),
};
const BALLOT: Ballot = Ballot {
    round: 0x1112_1314,
    coordinator: node(0x1516),
};
const NAME: ViewName = ViewName {
    number: ViewNumber(0x21),
    issuer: node(0x22),
};
const SEAT: Seat = Seat {
    first_incarnation: Incarnation(0x31),
    electorate: NAME,
};

const fn node(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

/// Demands that what `write` writes is what the hexadecimal digits of `expected` say, blanks aside.
#[track_caller]
fn check(expected: &str, write: impl FnOnce(&mut Writer<'_>) -> Option<()>) {
    let mut buffer = [0; 1400];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer).expect("it fits");
    let length = writer.length();
    let mut digits = String::new();
    for byte in &buffer[..length] {
        write!(digits, "{byte:02x}").expect("a string takes all");
    }
    assert_eq!(digits, expected.replace(' ', ""));
}

#[test]
fn heartbeats_and_gossip_keep_their_bytes() {
    let body = DetectorBody {
        number: 0x0102_0304,
        heard_age_ms: 0x0506,
    };
    check("0102030405060000", |writer| body.write(writer));
    check("0102030405060708000000090000000a", |writer| {
        write_gossip(writer, 0x0102, 0x0304, 0x0506_0708, [9, 10].into_iter())
    });
}

#[test]
fn joins_and_their_answers_keep_their_bytes() {
    let request = JoinRequest {
        settings: SharedSettings {
            heartbeat_interval_ms: 1,
            rings: 2,
            confirmations: 3,
            coordinators: 4,
            even_split: 5,
            partitionable: 6,
            detector: DetectorKind::Gossip,
        },
        has_heard: true,
        last_view: ViewNumber(8),
        primary: ViewNumber(9),
        seat: SEAT,
    };
    check(
        "0000000100000002000000030000000400000005000000060101000000000000 \
00080000000000000009000000000000003100000000000000210022",
        |writer| writer.write(&request),
    );
    let answers = [
        (
            JoinAnswer::Forming {
                last_view: ViewNumber(1),
                primary: ViewNumber(2),
            },
            "0000000000000000010000000000000002",
        ),
        (
            JoinAnswer::Known {
                coordinator: ADDRESS,
            },
            "0100000000000000000000ffff0a000007151f",
        ),
        (JoinAnswer::Refused(RefusalReason::DuplicateNodeId), "0201"),
        (
            JoinAnswer::Refused(RefusalReason::HeartbeatInterval),
            "0202",
        ),
        (JoinAnswer::Refused(RefusalReason::Rings), "0203"),
        (JoinAnswer::Refused(RefusalReason::Confirmations), "0204"),
        (JoinAnswer::Refused(RefusalReason::Coordinators), "0205"),
        (JoinAnswer::Refused(RefusalReason::ViewFull), "0206"),
        (JoinAnswer::Refused(RefusalReason::Detector), "0207"),
        (JoinAnswer::Refused(RefusalReason::EvenSplit), "0208"),
        (JoinAnswer::Refused(RefusalReason::Partitionable), "0209"),
        (
            JoinAnswer::StaleIncarnation(Incarnation(5)),
            "030000000000000005",
        ),
        (JoinAnswer::Evicted(Incarnation(6)), "040000000000000006"),
        (
            JoinAnswer::Component {
                is_primary: true,
                issuer: node(7),
            },
            "05010007",
        ),
    ];
    for (answer, expected) in answers {
        check(expected, |writer| writer.write(&answer));
    }
}

#[test]
fn reports_keep_their_bytes() {
    let pin = Pin {
        sequence: 0x51,
        span_ms: 0x52,
    };
    let records = [
        (
            ReportRecord::Suspect(SUBJECT, node(9)),
            "010102030405060708090a0009",
        ),
        (
            ReportRecord::Accuse(SUBJECT, node(9)),
            "020102030405060708090a0009",
        ),
        (
            ReportRecord::Clear(SUBJECT, node(9)),
            "030102030405060708090a0009",
        ),
        (ReportRecord::Contradict(SUBJECT), "040102030405060708090a"),
        (ReportRecord::Leave(SUBJECT), "050102030405060708090a"),
        (
            ReportRecord::Join(SUBJECT, ADDRESS, ViewNumber(8)),
            "060102030405060708090a00000000000000000000ffff0a000007151f000000 \
0000000008",
        ),
        (ReportRecord::Evict(SUBJECT), "070102030405060708090a"),
        (
            ReportRecord::Pin(SUBJECT, pin),
            "080102030405060708090a0000005100000052",
        ),
    ];
    for (record, expected) in records {
        check(expected, |writer| writer.write(&record));
    }
}

#[test]
fn promises_and_decisions_keep_their_bytes() {
    let prepare = Prepare {
        ballot: BALLOT,
        electorate: NAME,
        number: ViewNumber(0x41),
    };
    check(
        "111213141516000000000000002100220000000000000041",
        |writer| writer.write(&prepare),
    );
    check(
        "1112131415160100000000000000310000000000000021002200",
        |writer| write_promise(writer, BALLOT, true, SEAT, None),
    );
    check("111213141516", |writer| writer.write(&BALLOT));
    check("1112131415160102030405060708090a", |writer| {
        writer.write(&Hold {
            ballot: BALLOT,
            subject: SUBJECT,
        })
    });
    check("1112131415160000000000000042", |writer| {
        writer.write(&Commit {
            ballot: BALLOT,
            number: ViewNumber(0x42),
        })
    });
}

#[test]
fn proposals_keep_their_bytes() {
    let remove = |reason| Change::Remove {
        subject: SUBJECT,
        reason,
    };
    let changes = [
        remove(ChangeReason::Leave),
        remove(ChangeReason::Failed),
        remove(ChangeReason::Evicted),
        Change::Add(MEMBER),
    ];
    let head = ProposalHead {
        issuer: node(0x61),
        number: ViewNumber(0x62),
        kind: ProposalKind::Successor,
        part: 0x63,
        parts: 0x64,
        changes_total: 0x65,
        reporters: &[0xf0, 0x0f],
    };
    check(
        "111213141516006100000000000000620000630064006502f00f010102030405 \
060708090a02010102030405060708090a03010102030405060708090a040201 \
02030405060708090a00000000000000000000ffff0a000007151f0003",
        |writer| {
            writer.write(&BALLOT)?;
            write_proposal_part(writer, &head, &changes)
        },
    );
    for (kind, expected) in [
        (
            ProposalKind::First,
            "1112131415160000000000000000310000000000000021002201111213141516 \
006100000000000000620100630064006500",
        ),
        (
            ProposalKind::Component,
            "1112131415160000000000000000310000000000000021002201111213141516 \
006100000000000000620200630064006500",
        ),
    ] {
        let head = ProposalHead {
            kind,
            reporters: &[],
            ..head
        };
        check(expected, |writer| {
            write_promise(writer, BALLOT, false, SEAT, Some(BALLOT))?;
            write_proposal_part(writer, &head, &[])
        });
    }
}

#[test]
fn views_keep_their_bytes() {
    let head = ViewPartHead {
        number: ViewNumber(0x71),
        issuer: node(0x72),
        is_primary: true,
        origin: NAME,
        part: 0x73,
        parts: 0x74,
        members_total: 0x75,
    };
    check(
        "0000000000000071007201000000000000002100220073007400750101020304 \
05060708090a030102030405060708090a00000000000000000000ffff0a0000 \
07151f0003010102030405060708090a00000000000000000000ffff0a000007 \
151f000300",
        |writer| {
            write_view_part(
                writer,
                &head,
                &[(SUBJECT, ChangeReason::Failed)],
                [(MEMBER, true), (MEMBER, false)].into_iter(),
            )
        },
    );
    check("0000000000000076", |writer| writer.write(&ViewNumber(0x76)));
    let reasons = [
        (
            NotMemberReason::Gone(ChangeReason::Leave),
            "0000000000000077000002",
        ),
        (
            NotMemberReason::Gone(ChangeReason::Failed),
            "0000000000000077000003",
        ),
        (
            NotMemberReason::Gone(ChangeReason::Evicted),
            "0000000000000077000004",
        ),
        (NotMemberReason::Dissolved, "00000000000000770001"),
    ];
    for (reason, expected) in reasons {
        let not_member = NotMember {
            number: ViewNumber(0x77),
            is_primary: false,
            reason,
        };
        check(expected, |writer| writer.write(&not_member));
    }
}

const SETS: [TransitionalSet; 1] = [TransitionalSet {
    cluster_view: ViewKey(0x83),
    last: 0x84,
}];

fn write_small_view(writer: &mut Writer<'_>) -> Option<()> {
    let member = |endpoint| MemberId {
        node: SUBJECT.node,
        endpoint: EndpointId(endpoint),
        incarnation: SUBJECT.incarnation,
    };
    let members = [
        (member(1), Slot(1), Arrival::Along),
        (member(2), Slot(2), Arrival::New),
        (member(3), Slot(3), Arrival::Together(0)),
    ];
    let left = [
        (Slot(4), ChangeReason::Leave),
        (Slot(5), ChangeReason::Failed),
        (Slot(6), ChangeReason::Evicted),
    ];
    write_view(
        writer,
        ViewNumber(0x81),
        node(0x82),
        members.into_iter(),
        &left,
        &SETS,
    )
}

#[test]
fn requests_of_group_members_keep_their_bytes() {
    let name = GroupName::new(b"demo").unwrap();
    let place = Place {
        log: ViewKey(0x91),
        delivered: 0x92,
        pending_start: None,
        members: 1,
    };
    let with_pending_start = Place {
        pending_start: Some(ViewKey(0x93)),
        ..place
    };
    let requests = [
        (Request::Join, "a5e41b674276d39601000000940464656d6f"),
        (Request::Leave, "a5e41b674276d39602000000940464656d6f"),
        (Request::Gone, "a5e41b674276d39603000000940464656d6f"),
        (
            Request::Return(place),
            "a5e41b674276d39604000000940464656d6f0000000000000091000000000000 \
00920001",
        ),
        (
            Request::Return(with_pending_start),
            "a5e41b674276d39604000000940464656d6f0000000000000091000000000000 \
009201000000000000009301",
        ),
    ];
    for (request, expected) in requests {
        check(expected, |writer| {
            write_request(writer, &name, request, EndpointId(0x94))
        });
    }
}

#[test]
fn fragments_and_entries_keep_their_bytes() {
    let part = Part {
        order: Order::Agreed,
        sequence: 0xa1,
        fragment: 0,
        fragments: 1,
        after: 0xa4,
    };
    for (order, expected) in [
        (
            Order::Fifo,
            "000000a200000000000000a30100000000000000a10000000100026869",
        ),
        (
            Order::Causal,
            "000000a200000000000000a30200000000000000a10000000100000000000000a400026869",
        ),
        (
            Order::Agreed,
            "000000a200000000000000a30300000000000000a10000000100026869",
        ),
        (
            Order::Safe,
            "000000a200000000000000a30400000000000000a10000000100026869",
        ),
    ] {
        let fragment = Fragment {
            endpoint: EndpointId(0xa2),
            oldest: 0xa3,
            part: Part { order, ..part },
            bytes: b"hi",
        };
        check(expected, |writer| write_fragment(writer, &fragment));
    }
    let status = Status {
        last: 0xa5,
        stable: 0xa6,
        released: 0xa7,
    };
    check(
        "00000000000000a500000000000000a600000000000000a7",
        |writer| write_status(writer, &status),
    );
    check("0100050300000000000000a10000000100026869", |writer| {
        write_data_entry(writer, Slot(5), &part, b"hi")
    });
    check(
        "0200000000000000810082030301010200000001030405060708090a00010102 \
00000002030405060708090a8002010200000003030405060708090a90030402 \
0503060400000000000000830000000000000084",
        |writer| {
            write_view_head(writer)?;
            write_small_view(writer)
        },
    );
    check("0300000000000000a400000000000000a5", |writer| {
        write_start_head(writer, ViewNumber(0xa4), 0xa5)
    });
}

#[test]
fn reports_of_groups_keep_their_bytes() {
    let name = GroupName::new(b"demo").unwrap();
    let fetch = Fetch {
        epoch: ViewNumber(0xb1),
        from: 0xb2,
        to: 0xb3,
        receiver: node(0xb4),
    };
    check("a5e41b674276d3960464656d6f", |writer| {
        write_query(writer, &name)
    });
    check(
        "00000000000000b500000000000000b100000000000000b200000000000000b3 \
00b4",
        |writer| write_fetch(writer, GroupId(0xb5), &fetch),
    );
    check("a5e41b674276d3960464656d6f0001", |writer| {
        write_report_nothing(writer, &name, true)
    });
    check(
        "a5e41b674276d3960464656d6f0100000000000000b600000000000000b701",
        |writer| write_report_log(writer, &name, ViewNumber(0xb6), 0xb7, true),
    );
    check("a5e41b674276d3960464656d6f0200000000000000b801", |writer| {
        write_report_pending_start(writer, &name, ViewNumber(0xb8), true)
    });
}
