// SPDX-License-Identifier: GPL-2.0

//! Sending reports to members: small records about other members, which coordinators collect.

use super::local::LocalNode;
use crate::protocol::identity::{Identity, PeerAddress};
use crate::protocol::outbox::Outbox;
use crate::protocol::wire::membership::{write_report, ReportRecord};
use crate::protocol::wire::Kind;

/// Send one record to each of the addresses.
pub(super) fn send_report(to: &[PeerAddress], record: &ReportRecord, outbox: &mut Outbox) {
    outbox.send(to, Kind::Report, |writer| write_report(writer, record));
}

/// Send one record to a member, unless that is this node.
pub(super) fn report_to_member(
    local: &LocalNode,
    to: Identity,
    record: &ReportRecord,
    outbox: &mut Outbox,
) {
    let other = local.view_or_empty().member(to.node);
    let address = other
        .filter(|_| to != local.own())
        .map(|member| member.address);
    send_report(address.as_slice(), record, outbox);
}

/// Send one record to all coordinators but this node.
pub(super) fn report_to_coordinators(
    local: &LocalNode,
    record: &ReportRecord,
    outbox: &mut Outbox,
) {
    let view = local.view_or_empty();
    for member in view.coordinators(local.coordinators_wanted()) {
        if member.identity != local.own() {
            send_report(&[member.address], record, outbox);
        }
    }
}
