// SPDX-License-Identifier: GPL-2.0

//! The set-up that the tests of hostile datagrams share: a cluster of three, a recording of its datagrams, a stranger,
//! and a socket that sends frames in the nodes' names.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;

use crate::guest::cluster::{Cluster, Plan};
use crate::guest::member::Member;
use crate::guest::modules;
use crate::guest::network::address4;
use crate::guest::packet::{datagram_to, frame, PacketSocket, PORT};
use crate::guest::recording::{Recording, Sample};
use crate::guest::scenarios::Surroundings;

const LIMIT_MS: u64 = 60_000;
/// The node that is attacked.
pub(super) const TARGET: u16 = 1;
/// The node in whose name datagrams are forged.
pub(super) const VICTIM: u16 = 2;
/// The node that has had an earlier incarnation.
pub(super) const REBORN: u16 = 3;
/// The port of the stranger.
const STRANGER: u16 = 4;
/// Groups that are joined for the recording. The target orders some of them.
const MORE_GROUPS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// The distance of the numbers of forged datagrams from the victim's own.
pub(super) const AHEAD: u64 = 200;

/// Kinds, as on the wire.
pub(super) mod kind {
    pub(in super::super) const PROBE: u8 = 2;
    pub(in super::super) const JOIN: u8 = 8;
    pub(in super::super) const JOIN_ANSWER: u8 = 9;
    pub(in super::super) const REPORT: u8 = 10;
    pub(in super::super) const GROUP_REQUEST: u8 = 32;
    pub(in super::super) const FIRST_OF_GROUPS: u8 = 32;
}

/// The state that the tests share.
pub(super) struct Attack {
    pub(super) surroundings: Surroundings,
    pub(super) cluster: Cluster,
    ear: PacketSocket,
    stranger: UdpSocket,
    impostor: PacketSocket,
    pub(super) recording: Recording,
    /// The view that must not change.
    pub(super) view: u64,
    /// The number of forged datagrams with new numbers so far.
    ahead: u64,
}

impl Attack {
    pub(super) fn begin(
        surroundings: Surroundings,
        remarks: &mut Vec<String>,
    ) -> Result<Self, String> {
        modules::load_both()?;
        let plan = Plan {
            more_ports: 1,
            ..Plan::of(3)
        };
        let mut cluster = Cluster::new(plan, surroundings.limit(LIMIT_MS))?;
        let ear = cluster.network.namespace(TARGET)?.run(PacketSocket::open)?;
        let namespace = cluster.network.namespace(STRANGER)?;
        let impostor = namespace.run(PacketSocket::open)?;
        let stranger = namespace.run(|| {
            UdpSocket::bind((Ipv4Addr::from(address4(STRANGER)), PORT))
                .map_err(|error| format!("the stranger's socket: {error}"))
        })?;
        let all = cluster.all();
        for node in all.clone() {
            cluster.start(node)?;
            cluster.join(node)?;
        }
        cluster.wait_for_group(&all)?;
        let mut attack = Self {
            surroundings,
            cluster,
            ear,
            stranger,
            impostor,
            recording: Recording::default(),
            view: 0,
            ahead: 0,
        };
        attack.make_them_talk()?;
        // Give this node an incarnation that has ended.
        attack.cluster.stop(REBORN)?;
        attack.cluster.start(REBORN)?;
        attack.cluster.join(REBORN)?;
        attack.cluster.wait_for_group(&all)?;
        attack.make_them_talk()?;
        attack.view = attack.cluster.wait_for_view(&all)?.number;
        attack.is_well()?;
        let kinds = attack.recording.kinds();
        remarks.push(format!(
            "{} datagrams of the kinds {kinds:?}",
            attack.recording.count()
        ));
        if kinds.len() < 12 {
            return Err(format!("only the kinds {kinds:?} were recorded"));
        }
        Ok(attack)
    }

    fn make_them_talk(&mut self) -> Result<(), String> {
        let mut guests = Vec::new();
        for group in MORE_GROUPS {
            for node in [VICTIM, REBORN] {
                let namespace = self.cluster.network.namespace(node)?;
                guests.push(Member::join(namespace, node, &Arc::from(group))?);
            }
        }
        self.cluster.wait("all guests are admitted", |_| {
            for guest in &mut guests {
                guest.pump()?;
                if guest.nodes() != [VICTIM, REBORN] {
                    return Err(format!("a guest has {:?}", guest.nodes()));
                }
            }
            Ok(())
        })?;
        for guest in &mut guests {
            guest.send(b"for the recording")?;
        }
        let all = self.cluster.all();
        self.cluster.send_all(&all, 8)?;
        self.cluster.wait_for_delivery(&all)?;
        self.listen()?;
        for guest in guests {
            guest.leave()?;
        }
        self.listen()
    }

    /// Record the datagrams that have arrived at the target, without those of the stranger.
    pub(super) fn listen(&mut self) -> Result<(), String> {
        while let Some(heard) = self.ear.receive()? {
            if let Some((from @ 2..=3, payload)) = datagram_to(TARGET, &heard) {
                if heard.get(6..12) == Some(&crate::guest::network::hardware_address(from)[..]) {
                    self.recording.add(from, payload);
                }
            }
        }
        Ok(())
    }

    /// The counters of refused datagrams at the target.
    pub(super) fn drops(&mut self) -> Result<BTreeMap<String, u64>, String> {
        let status = self.cluster.status(TARGET)?;
        let counters = status.counters.into_iter();
        Ok(counters
            .filter(|(name, _)| name.starts_with("dropped_"))
            .collect())
    }

    /// Call `send`, wait until as many datagrams were refused as it returns, and return how many were counted under
    /// which name.
    pub(super) fn refused(
        &mut self,
        send: impl FnOnce(&mut Self) -> Result<u64, String>,
    ) -> Result<BTreeMap<String, u64>, String> {
        let before = self.drops()?;
        let count = send(self)?;
        let before_total: u64 = before.values().sum();
        let target = &mut *self;
        let after = {
            let limit = target.surroundings.limit(LIMIT_MS);
            crate::guest::wait::wait_for("every datagram is counted", limit, || {
                let after = target.drops()?;
                let total = after.values().sum::<u64>() - before_total;
                if total >= count {
                    Ok(after)
                } else {
                    Err(format!("{total} of {count} were counted"))
                }
            })?
        };
        Ok(after
            .into_iter()
            .map(|(name, value)| {
                let old = before.get(&name).copied().unwrap_or(0);
                (name, value - old)
            })
            .filter(|(_, more)| *more > 0)
            .collect())
    }

    /// As [`Self::refused`], and require exactly these counts.
    pub(super) fn expect(
        &mut self,
        what: &str,
        wanted: &[(&str, u64)],
        send: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let total = wanted.iter().map(|(_, count)| count).sum();
        let got = self.refused(|attack| {
            send(attack)?;
            Ok(total)
        })?;
        let wanted: BTreeMap<String, u64> = wanted
            .iter()
            .map(|(name, count)| (name.to_string(), *count))
            .collect();
        if got == wanted {
            Ok(())
        } else {
            Err(format!("{what}: counted {got:?}, not {wanted:?}"))
        }
    }

    /// Send a datagram from the stranger.
    pub(super) fn say(&self, payload: &[u8]) -> Result<(), String> {
        let target = (Ipv4Addr::from(address4(TARGET)), PORT);
        self.stranger
            .send_to(payload, target)
            .map(drop)
            .map_err(|error| format!("the stranger: {error}"))
    }

    /// Send a datagram in a member's name.
    pub(super) fn forge(&self, from: u16, payload: &[u8]) -> Result<(), String> {
        self.impostor.send(&frame(from, TARGET, payload))
    }

    /// A datagram of the victim's present incarnation and view that is handled by the engine, not in the soft
    /// interrupt.
    pub(super) fn base(&self) -> Result<Sample, String> {
        self.recording
            .latest(VICTIM, |kind| kind >= kind::FIRST_OF_GROUPS)
            .ok_or_else(|| "no datagram of a group was recorded".to_string())
    }

    /// A number for a datagram in the victim's name that it has not used.
    pub(super) fn unused_counter(&mut self) -> Result<u64, String> {
        self.listen()?;
        self.ahead += 1;
        Ok(self.recording.highest_counter(VICTIM) + AHEAD + self.ahead % AHEAD)
    }

    /// Require that the view is unchanged, and that all members deliver the messages of all.
    pub(super) fn is_well(&mut self) -> Result<(), String> {
        let all = self.cluster.all();
        self.cluster.send_all(&all, 2)?;
        self.cluster.wait_for_delivery(&all)?;
        self.listen()?;
        let view = self.cluster.common_view(&all)?.number;
        if view == self.view {
            Ok(())
        } else {
            Err(format!("view {} became view {view}", self.view))
        }
    }
}
