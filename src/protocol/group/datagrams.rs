// SPDX-License-Identifier: GPL-2.0

//! Datagrams of groups: which node may send which kind, and what each does.

use super::context::{coordinator_of, Context};
use super::entry::ViewEntry;
use super::flush::{Held, NodeReport};
use super::{member_id, Group, Groups};
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{GroupId, GroupName, NodeId};
use crate::protocol::outbox::Outbox;
use crate::protocol::time::Instant;
use crate::protocol::view::{ClusterView, MemberRecord};
use crate::protocol::wire::group::{
    parse_acknowledge, parse_data, parse_fetch, parse_handover, parse_missing, parse_ordered,
    parse_query, parse_report, parse_request, parse_status, read_group, write_report_nothing,
    Report, Request,
};
use crate::protocol::wire::{Kind, Reader};

impl Groups {
    /// Handle a datagram of a group from a member of the present cluster view.
    ///
    /// # Errors
    ///
    /// The counter of a datagram that was refused. Nothing has changed.
    pub fn handle_message(
        &mut self,
        now: Instant,
        view: &ClusterView,
        sender: &MemberRecord,
        kind: Kind,
        body: &[u8],
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        let mut reader = Reader::new(body);
        let id = read_group(&mut reader)?;
        let coordinator = coordinator_of(id, view).ok_or(Counter::DroppedUnexpected)?;
        let is_mine = coordinator == self.own.node;
        let is_from_coordinator = coordinator == sender.identity.node;
        let is_allowed = match kind {
            Kind::GroupData | Kind::GroupMissing | Kind::GroupReport => is_mine,
            Kind::GroupRequest => is_mine || is_from_coordinator,
            Kind::GroupOrdered | Kind::GroupStatus | Kind::GroupQuery | Kind::GroupFetch => {
                is_from_coordinator
            }
            _ => true,
        };
        if !is_allowed {
            return Err(Counter::DroppedUnexpected);
        }
        let mut context = Context {
            now,
            own: self.own,
            view,
            cluster_view: self.cluster_view,
            shown: self.shown,
            interval: self.interval,
            release_rule: self.release_rule,
            departed: &self.departed,
            highest: &mut self.highest,
            outbox,
        };
        let groups = &mut self.groups;
        match kind {
            Kind::GroupRequest => {
                let (request, endpoint, name) = parse_request(reader, id)?;
                if request == Request::Gone {
                    let group = find(groups, id)?;
                    group.forget_endpoint(&mut context, endpoint);
                    return Ok(());
                }
                let group = find_or_new(groups, name, coordinator)?;
                let member = member_id(sender.identity, endpoint);
                if !group.take_request(&context, request, member) {
                    group.answer_gone(&mut context, member);
                }
            }
            Kind::GroupData => {
                let (accepted, fragments) = parse_data(reader)?;
                let group = find(groups, id)?;
                if group.sequencer.is_none() {
                    return Err(Counter::DroppedUnexpected);
                }
                group.take_acknowledge(&context, sender.identity.node, accepted);
                for fragment in fragments {
                    let member = member_id(sender.identity, fragment.endpoint);
                    group.take_fragment(member, &fragment);
                }
            }
            Kind::GroupOrdered => {
                let ordered = parse_ordered(reader)?;
                find(groups, id)?.take_ordered(&mut context, &ordered);
            }
            Kind::GroupStatus => {
                let status = parse_status(reader)?;
                find(groups, id)?.take_status(&mut context, &status);
            }
            Kind::GroupAcknowledge => {
                let accepted = parse_acknowledge(reader)?;
                let group = find(groups, id)?;
                let is_again = group.take_acknowledge(&context, sender.identity.node, accepted);
                if is_again {
                    // It may have missed the last status.
                    group.send_status(&mut context, sender.address);
                }
                group.progress(&mut context);
            }
            Kind::GroupMissing => {
                let (from, to) = parse_missing(reader)?;
                let group = find(groups, id)?;
                group.repair(&mut context, sender.identity.node, from, to);
            }
            Kind::GroupQuery => {
                let name = parse_query(reader, id)?;
                match find(groups, id) {
                    Ok(group) => group.send_report(&mut context, sender.identity.node),
                    Err(_) => {
                        let address = sender.address;
                        context
                            .outbox
                            .send([&address], Kind::GroupReport, |writer| {
                                write_report_nothing(writer, &name, false)
                            });
                    }
                }
            }
            Kind::GroupReport => {
                let (name, report) = parse_report(reader, id)?;
                let report = node_report(sender.identity.node, &report)
                    .map_err(|OutOfMemory| Counter::DroppedNoRoom)?;
                let group = find_or_new(groups, name, coordinator)?;
                let sequencer = group.sequencer(&context).ok_or(Counter::DroppedNoRoom)?;
                sequencer.take_report(view, report);
            }
            Kind::GroupFetch => {
                let fetch = parse_fetch(reader)?;
                find(groups, id)?.hand_over(&mut context, &fetch);
            }
            Kind::GroupHandover => {
                let (epoch, ordered) = parse_handover(reader)?;
                find(groups, id)?.take_handover(&mut context, epoch, &ordered);
            }
            _ => return Err(Counter::DroppedKind),
        }
        Ok(())
    }
}

fn find(groups: &mut BoundedVec<Group>, id: GroupId) -> Result<&mut Group, Counter> {
    groups
        .as_mut_slice()
        .iter_mut()
        .find(|group| group.id == id)
        .ok_or(Counter::DroppedUnexpected)
}

fn find_or_new(
    groups: &mut BoundedVec<Group>,
    name: GroupName,
    coordinator: NodeId,
) -> Result<&mut Group, Counter> {
    let id = name.id();
    if !groups.iter().any(|group| group.id == id) {
        let mut group = Group::new(name).map_err(|OutOfMemory| Counter::DroppedNoRoom)?;
        group.coordinator = Some(coordinator);
        groups.push(group).map_err(|_| Counter::DroppedNoRoom)?;
    }
    let group = find(groups, id)?;
    if group.name == name {
        Ok(group)
    } else {
        // Two names have the same hash.
        Err(Counter::DroppedValue)
    }
}

fn node_report(node: NodeId, report: &Report<'_>) -> Result<NodeReport, OutOfMemory> {
    let mut result = NodeReport::of(node);
    match report {
        Report::Nothing { has_members } => result.is_without_members = !has_members,
        Report::Log {
            epoch,
            accepted,
            has_pending_start,
            view,
        } => {
            result.log = Some(Held {
                epoch: *epoch,
                accepted: *accepted,
                view: ViewEntry::from_body(view)?,
            });
            result.expects_pending_start = *has_pending_start;
        }
        Report::PendingStart {
            epoch,
            has_log,
            view,
        } => {
            result.pending_start = Some(Held {
                epoch: *epoch,
                accepted: 1,
                view: ViewEntry::from_body(view)?,
            });
            result.expects_log = *has_log;
        }
    }
    Ok(result)
}
