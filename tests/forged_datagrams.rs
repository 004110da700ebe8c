// SPDX-License-Identifier: GPL-2.0

//! Forged datagrams, and copies of old ones, in the name of members. Datagrams are not authenticated yet, so that a
//! forger on the same network can do a lot. But no forger may silence a member with a few meaningless datagrams, or
//! make a node answer each datagram with a longer one.

mod lab;

use std::cell::Cell;
use std::rc::Rc;

use kcgcs_protocol::protocol::configuration::Configuration;
use kcgcs_protocol::protocol::errors::Counter;
use kcgcs_protocol::protocol::identity::{
    cluster_number, Identity, Incarnation, NodeId, PeerAddress, Slot, ViewName, ViewNumber,
};
use kcgcs_protocol::protocol::limits::DATAGRAM_BYTES_MAX;
use kcgcs_protocol::protocol::view::MemberRecord;
use kcgcs_protocol::protocol::wire::membership::{write_view_part, ViewPartHead};
use kcgcs_protocol::protocol::wire::{write_datagram, Header, Kind, Writer};
use lab::{address, Lab};

/// The node that receives the forged datagrams.
const TARGET: u16 = 1;
/// The member that they name as their sender.
const VICTIM: u16 = 2;

/// One incarnation of the victim.
fn victim(incarnation: u64) -> Identity {
    Identity {
        node: NodeId::new(VICTIM).unwrap(),
        incarnation: Incarnation(incarnation),
    }
}

/// A datagram of the lab's cluster in the name of the victim.
fn datagram(kind: Kind, incarnation: u64, view: u64, counter: u64, body: &[u8]) -> Vec<u8> {
    let header = Header {
        kind,
        cluster: cluster_number(b"lab"),
        sender: victim(incarnation),
        view: ViewNumber(view),
        lineage: 0,
        counter,
    };
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let length = write_datagram(&mut buffer, &header, |writer| writer.bytes(body)).unwrap();
    buffer.truncate(length);
    buffer
}

fn count(lab: &Lab, counter: Counter) -> u64 {
    lab.hosts[&TARGET].node.counters().value(counter)
}

/// Inject a datagram and demand that the target drops it for this reason.
fn refuse(lab: &mut Lab, from: PeerAddress, bytes: Vec<u8>, reason: Counter) {
    let before = count(lab, reason);
    lab.inject(from, TARGET, bytes);
    assert_eq!(count(lab, reason), before + 1, "{}", reason.name());
}

fn formed() -> (Lab, u64) {
    let mut lab = Lab::without_nodes(3, Configuration::DEFAULT);
    lab.start(TARGET, 1);
    lab.start(VICTIM, 1);
    lab.run_until(5_000, "a first view", |lab| lab.agree(&[1, 2]));
    lab.start(3, 1);
    lab.run_until(5_000, "a second view", |lab| lab.agree(&[1, 2, 3]));
    lab.run_for(1_000);
    let view = lab.hosts[&TARGET].node.view().unwrap().number.0;
    (lab, view)
}

/// Demand that the target still accepts the victim's datagrams: otherwise the two cannot agree on a view.
fn assert_victim_is_heard(mut lab: Lab) {
    lab.crash(3);
    lab.run_until(1_000, "a view of the two that are left", |lab| {
        lab.agree(&[1, 2])
    });
    assert_eq!(count(&lab, Counter::DroppedDuplicate), 0);
}

#[test]
fn a_malformed_datagram_does_not_use_up_a_counter_of_its_sender() {
    let (mut lab, view) = formed();
    for kind in [Kind::Report, Kind::ViewPart, Kind::GroupRequest] {
        let bytes = datagram(kind, 1, view, 1 << 40, &[1]);
        refuse(&mut lab, address(VICTIM), bytes, Counter::DroppedShort);
    }
    assert_victim_is_heard(lab);
}

#[test]
fn a_stranger_that_answers_a_view_request_does_not_use_up_a_counter_of_a_member() {
    let (mut lab, view) = formed();
    let stranger = address(9);
    // A later incarnation with a later view: the target asks for that view.
    let bait = datagram(Kind::Installed, 2, view + 1, 1, &[]);
    refuse(&mut lab, stranger, bait, Counter::DroppedNonMember);
    // The target can read the answer, but it has a later view already.
    let head = ViewPartHead {
        number: ViewNumber(view - 1),
        issuer: victim(1).node,
        is_primary: true,
        origin: ViewName {
            number: ViewNumber(1),
            issuer: victim(1).node,
        },
        part: 0,
        parts: 1,
        members_total: 1,
    };
    let member = MemberRecord {
        identity: victim(1),
        address: address(VICTIM),
        slot: Slot(1),
    };
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    write_view_part(&mut writer, &head, &[], [(member, true)].into_iter()).unwrap();
    let length = writer.length();
    let bytes = datagram(Kind::ViewPart, 1, view - 1, 1 << 40, &buffer[..length]);
    refuse(&mut lab, stranger, bytes, Counter::DroppedOtherView);
    assert_victim_is_heard(lab);
}

#[test]
fn a_burst_of_datagrams_from_an_earlier_view_is_answered_with_one_copy_of_the_view() {
    let (mut lab, view) = formed();
    let copies = Rc::new(Cell::new(0));
    let counted = Rc::clone(&copies);
    lab.filter = Box::new(move |_, _, bytes| {
        if bytes.get(3) == Some(&(Kind::ViewPart as u8)) {
            counted.set(counted.get() + 1);
        }
        true
    });
    for expected in 1..=3 {
        for number in 0..100 {
            let counter = 1 << 20 | expected << 10 | number;
            let bytes = datagram(Kind::GroupStatus, 1, view - 1, counter, &[]);
            refuse(&mut lab, address(VICTIM), bytes, Counter::DroppedOtherView);
        }
        assert_eq!(copies.get(), expected);
        // The copy may be lost: a sender that goes on in the earlier view gets another one later.
        lab.run_for(1_000);
    }
}
