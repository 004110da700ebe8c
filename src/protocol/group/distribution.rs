// SPDX-License-Identifier: GPL-2.0

//! Distribution: how a group's coordinator gets the ordered entries to all participants, and says what is stable and
//! released.
//!
//! A participant gets each entry once, then again what it reports to lack. One that acknowledges nothing for an
//! interval is *probed*: it gets the first entry that it may lack and the last position, and reports its gaps. What is
//! stable and released rides on entries. Without any it is announced at once if somebody waits for it, and otherwise
//! after a few milliseconds.

use super::acknowledgement::DELAY;
use super::context::Context;
use super::log::Log;
use super::participant::Participant;
use super::release::ReleaseRule;
use super::sequencer::Sequencer;
use super::{Group, ROOM_KEPT_BYTES};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{GroupId, NodeId, PeerAddress};
use crate::protocol::limits::{DATAGRAM_BYTES_MAX, HEADER_BYTES};
use crate::protocol::outbox::Outbox;
use crate::protocol::wire::group::{write_start_head, write_status, Status};
use crate::protocol::wire::{Kind, Writer};

/// Room for entries in a datagram.
pub(super) const ENTRIES_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - HEADER_BYTES - 32;

impl Group {
    /// Send the entries that a participant reports to lack.
    pub(super) fn repair(&mut self, context: &mut Context<'_>, node: NodeId, from: u64, to: u64) {
        let epoch = context.view.number;
        let (Some(sequencer), Some(address)) = (&self.sequencer, context.address(node)) else {
            return;
        };
        let is_known = |participant: &Participant| participant.node == node;
        let Some(participant) = sequencer.participants.iter().copied().find(is_known) else {
            return;
        };
        let Some(log) = self.log.as_ref().filter(|log| log.epoch == epoch) else {
            return;
        };
        let (stable, released) = (sequencer.stable(), log.released);
        let mut first = from.max(participant.acknowledged.saturating_add(1));
        let last = to.min(participant.sent);
        while first <= last && context.outbox.transmit_room() > ROOM_KEPT_BYTES {
            let count = entries_that_fit(log, first, last, ENTRIES_BYTES_MAX);
            if count == 0 {
                return;
            }
            context.outbox.counters.add(Counter::EntriesResent, count);
            send_entries(
                context.outbox,
                [&address],
                self.id,
                (stable, released),
                log,
                first,
                count,
            );
            first = first.saturating_add(count);
        }
    }

    /// Send each participant the entries that it lacks, and what is stable and released.
    pub(super) fn send_ordered(&mut self, sequencer: &mut Sequencer, context: &mut Context<'_>) {
        sequencer.check_progress(context.now, context.interval, context.own.node);
        self.send_start(sequencer, context);
        let epoch = context.view.number;
        let Some(log) = self.log.as_ref().filter(|log| log.epoch == epoch) else {
            return;
        };
        let (own, now, cluster) = (context.own.node, context.now, context.view);
        let (stable, last) = (sequencer.stable(), sequencer.last);
        let reached = (stable, log.released);
        self.backlog |= !send_probes(self.id, log, reached, sequencer, context);
        // Participants that are equally far get the same datagram, which is encoded once.
        loop {
            let limit = |participant: &Participant| match cluster.member(participant.node) {
                Some(member) if participant.sent > 0 && member.identity.node != own => {
                    participant.flight_limit(stable, last)
                }
                _ => 0,
            };
            let behind = sequencer.participants.iter();
            let behind = behind.filter(|participant| participant.sent < limit(participant));
            let Some(sent) = behind.clone().map(|participant| participant.sent).min() else {
                break;
            };
            if context.outbox.transmit_room() <= ROOM_KEPT_BYTES {
                self.backlog = true;
                break;
            }
            let equal = behind.filter(|participant| participant.sent == sent);
            let end = equal.clone().map(limit).min().unwrap_or(sent);
            let first = sent.saturating_add(1);
            let count = entries_that_fit(log, first, end, ENTRIES_BYTES_MAX);
            if count == 0 {
                break;
            }
            let addresses = equal
                .filter_map(|participant| cluster.member(participant.node))
                .map(|member| &member.address);
            send_entries(
                context.outbox,
                addresses,
                self.id,
                reached,
                log,
                first,
                count,
            );
            let end = sent.saturating_add(count);
            for participant in sequencer.participants.as_mut_slice() {
                if participant.sent == sent && limit(participant) > sent {
                    participant.sent_up_to(now, end, reached);
                }
            }
        }
        self.announce(sequencer, reached, context);
    }

    /// Send the start of the epoch to each participant that lacks it.
    fn send_start(&mut self, sequencer: &mut Sequencer, context: &mut Context<'_>) {
        let Some((previous, before, view)) = sequencer.start.clone() else {
            return;
        };
        let (group, own, stable) = (self.id, context.own.node, sequencer.stable());
        for participant in sequencer.participants.as_mut_slice() {
            let lacks_it =
                participant.sent == 0 || participant.is_probed && participant.acknowledged == 0;
            let Some(address) = context.address(participant.node) else {
                continue;
            };
            if participant.node == own || !lacks_it || participant.forgotten_at.is_some() {
                continue;
            }
            if context.outbox.transmit_room() <= ROOM_KEPT_BYTES {
                self.backlog = true;
                return;
            }
            context
                .outbox
                .send([&address], Kind::GroupOrdered, |writer| {
                    writer.u64(group.0)?;
                    writer.u64(stable)?;
                    writer.u64(stable)?;
                    writer.u64(1)?;
                    write_start_head(writer, previous, before)?;
                    view.write(writer)
                });
            participant.is_probed = false;
            let sent = participant.sent.max(1);
            participant.sent_up_to(context.now, sent, (stable, stable));
        }
    }

    /// Announce what is stable and released to participants that were not sent it with entries: at once if one of them
    /// waits for it, else after a while.
    fn announce(
        &mut self,
        sequencer: &mut Sequencer,
        reached: (u64, u64),
        context: &mut Context<'_>,
    ) {
        let (stable, released) = reached;
        let (own, rule) = (context.own.node, context.release_rule);
        let last_safe = self.log.as_ref().map_or(0, |log| log.last_safe);
        let is_behind = |participant: &Participant| {
            participant.node != own
                && participant.sent > 0
                && (participant.announced_stable < stable
                    || participant.announced_released < released)
        };
        let is_waiting = |participant: &Participant| {
            let announced = participant.announced_stable;
            let is_leaving = participant
                .ends_at
                .is_some_and(|end| announced < end && stable >= end);
            announced < stable
                && (rule == ReleaseRule::AllHold
                    || announced < last_safe
                    || announced < 1
                    || is_leaving)
        };
        let is_overdue = sequencer.announce_at.is_some_and(|at| context.now >= at);
        let mut participants = sequencer.participants.iter();
        let is_urgent =
            participants.any(|participant| is_behind(participant) && is_waiting(participant));
        let mut participants = sequencer.participants.iter();
        if !participants.any(is_behind) {
            sequencer.announce_at = None;
            return;
        }
        if !is_overdue && !is_urgent {
            let at = context.now.after(DELAY);
            sequencer.announce_at.get_or_insert(at);
            return;
        }
        sequencer.announce_at = None;
        let status = Status {
            last: sequencer.last,
            stable,
            released,
        };
        let cluster = context.view;
        let behind = sequencer.participants.iter();
        let addresses = behind
            .filter(|participant| is_behind(participant))
            .filter_map(|participant| cluster.member(participant.node))
            .map(|member| &member.address);
        send_status(context.outbox, addresses, self.id, &status);
        for participant in sequencer.participants.as_mut_slice() {
            if participant.sent > 0 {
                participant.announced_stable = stable;
                participant.announced_released = released;
            }
        }
    }

    /// Announce to one node what is stable and released.
    pub(super) fn send_status(&self, context: &mut Context<'_>, address: PeerAddress) {
        let (Some(sequencer), Some(log)) = (&self.sequencer, &self.log) else {
            return;
        };
        let status = Status {
            last: sequencer.last,
            stable: sequencer.stable(),
            released: log.released,
        };
        send_status(context.outbox, [&address], self.id, &status);
    }
}

/// Send the first entry again that each probed participant may lack, and how far the coordinator is: the participant
/// reports what else it lacks. Returns false if there was no room for all.
fn send_probes(
    group: GroupId,
    log: &Log,
    reached: (u64, u64),
    sequencer: &mut Sequencer,
    context: &mut Context<'_>,
) -> bool {
    let status = Status {
        last: sequencer.last,
        stable: reached.0,
        released: reached.1,
    };
    for participant in sequencer.participants.as_mut_slice() {
        let Some(address) = context.address(participant.node) else {
            continue;
        };
        if !participant.is_probed {
            continue;
        }
        if context.outbox.transmit_room() <= ROOM_KEPT_BYTES {
            return false;
        }
        participant.is_probed = false;
        let first = participant.acknowledged.saturating_add(1);
        let count = entries_that_fit(log, first, participant.sent, ENTRIES_BYTES_MAX);
        context.outbox.counters.add(Counter::EntriesResent, count);
        if count > 0 {
            send_entries(
                context.outbox,
                [&address],
                group,
                reached,
                log,
                first,
                count,
            );
        }
        send_status(context.outbox, [&address], group, &status);
    }
    true
}

/// Send entries of a log, with what is stable and released.
fn send_entries<'a>(
    outbox: &mut Outbox,
    to: impl IntoIterator<Item = &'a PeerAddress>,
    group: GroupId,
    (stable, released): (u64, u64),
    log: &Log,
    first: u64,
    count: u64,
) {
    outbox.send(to, Kind::GroupOrdered, |writer| {
        writer.u64(group.0)?;
        writer.u64(stable)?;
        writer.u64(released)?;
        write_entries(writer, log, first, count)
    });
}

fn send_status<'a>(
    outbox: &mut Outbox,
    to: impl IntoIterator<Item = &'a PeerAddress>,
    group: GroupId,
    status: &Status,
) {
    outbox.send(to, Kind::GroupStatus, |writer| {
        writer.u64(group.0)?;
        write_status(writer, status)
    });
}

/// How many entries from `first` up to `last` fit so many bytes.
pub(super) fn entries_that_fit(log: &Log, first: u64, last: u64, bytes_max: usize) -> u64 {
    let mut bytes: usize = 0;
    let mut count: u64 = 0;
    while first.saturating_add(count) <= last {
        let Some(entry) = log.entry(first.saturating_add(count)) else {
            break;
        };
        bytes = bytes.saturating_add(entry.written_bytes());
        if bytes > bytes_max {
            break;
        }
        count = count.saturating_add(1);
    }
    count
}

/// Write entries of a log, and before them the position of the first.
pub(super) fn write_entries(
    writer: &mut Writer<'_>,
    log: &Log,
    first: u64,
    count: u64,
) -> Option<()> {
    writer.u64(first)?;
    for position in first..first.saturating_add(count) {
        log.entry(position)?.write(writer)?;
    }
    Some(())
}
