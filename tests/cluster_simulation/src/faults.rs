// SPDX-License-Identifier: GPL-2.0

//! Inject the faults of a plan, and end them. A fault that would leave no quorum of a view is left out, because
//! without a quorum a cluster promises nothing but to stay blocked.

use crate::cluster::Cluster;
use crate::event_queue::EventQueue;
use crate::host::Host;
use crate::network::{Flapping, Impairment, NetworkOptions};
use crate::plan::{Fault, Plan, Victim};
use crate::quorum::{is_partitionable, may_impair, may_lose, may_report_reason};
use crate::timing::{MS, SECOND};

/// The longest time that a planned crash waits for a view change to begin.
const VIEW_CHANGE_WAIT_NS: u64 = 3 * SECOND;

/// An action on the agenda.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    /// Inject the fault at this place of the plan.
    Fault(usize),
    /// Start a machine that is down.
    Start(usize),
    /// Run a machine's work items in time again.
    FastEngine(usize),
    /// Give the network the plan's quality again.
    RestoreNetwork,
    /// End the impairment with this number.
    Mend(u64),
    /// Crash the coordinator of this rank if a view change has begun since, or else look again a little later.
    CrashInViewChange {
        /// The rank of the coordinator.
        rank: usize,
        /// The time until its machine starts again, if it does.
        back_after_ms: Option<u64>,
        /// How often nodes had reported a view change by the time of the plan.
        prepares: u64,
        /// The time at which the crash is given up.
        until: u64,
    },
}

/// How many faults of each kind were injected.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultCounts {
    /// Machines that crashed.
    pub crashes: u64,
    /// Machines that started again.
    pub restarts: u64,
    /// Nodes that left the cluster.
    pub leaves: u64,
    /// Machines that were frozen.
    pub freezes: u64,
    /// Cuts, bad and flapping links, storms.
    pub network: u64,
    /// Evictions that the node asked for them accepted.
    pub evictions: u64,
    /// Pins that the node asked for them accepted.
    pub pins: u64,
    /// Faults that were left out: no quorum would have been left, or the machine was down.
    pub left_out: u64,
}

/// Injects the faults of a plan.
pub struct FaultInjector {
    plan: Plan,
    /// The faults injected so far.
    pub counts: FaultCounts,
}

impl FaultInjector {
    /// The injector for this plan.
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            counts: FaultCounts::default(),
        }
    }

    /// Put all starts and faults of the plan on the agenda.
    pub fn begin(&self, agenda: &mut EventQueue<Later>) {
        for (host, at_ms) in self.plan.starts_ms.iter().enumerate() {
            agenda.push(at_ms * MS, Later::Start(host));
        }
        for (place, planned) in self.plan.faults.iter().enumerate() {
            agenda.push(planned.at_us * 1_000, Later::Fault(place));
        }
    }

    /// Carry out an action of the agenda.
    pub fn act(&mut self, cluster: &mut Cluster, what: Later, agenda: &mut EventQueue<Later>) {
        match what {
            Later::Fault(place) => {
                if let Some(planned) = self.plan.faults.get(place) {
                    let fault = planned.fault.clone();
                    let is_done = self.inject(cluster, &fault, agenda);
                    self.counts.left_out += u64::from(!is_done);
                }
            }
            Later::Start(host) => self.restart(cluster, host),
            Later::FastEngine(host) => {
                cluster.hosts[host].engine_delay_mean_us = cluster.options().engine_delay_mean_us;
            }
            Later::RestoreNetwork => cluster.network.set_options(self.plan.network),
            Later::Mend(number) => cluster.mend(number),
            Later::CrashInViewChange {
                rank,
                back_after_ms,
                prepares,
                until,
            } => {
                if cluster.prepares > prepares {
                    self.crash_coordinator(cluster, rank, back_after_ms, agenda);
                } else if cluster.now() < until {
                    agenda.push(cluster.now() + MS / 4, what);
                }
            }
        }
    }

    /// End all faults. Machines that the plan lets stay down do so if `quorum` others are up.
    pub fn heal(&mut self, cluster: &mut Cluster, quorum: usize) {
        cluster.reconnect();
        cluster.network.set_options(NetworkOptions::PERFECT);
        let usual = cluster.options().engine_delay_mean_us;
        for host in &mut cluster.hosts {
            host.engine_delay_mean_us = usual;
        }
        let stays_down = self.plan.stays_down.clone();
        // The machines that come back in any case are started and counted first.
        for may_stay in [false, true] {
            for host in 0..cluster.hosts.len() {
                let up = cluster.hosts.iter().filter(|h| stays_up(h)).count();
                let stays = stays_down.get(host).copied().unwrap_or(false);
                if stays == may_stay && (!stays || up < quorum) {
                    self.restart(cluster, host);
                }
            }
        }
    }

    fn restart(&mut self, cluster: &mut Cluster, host: usize) {
        if cluster.hosts[host].alive.is_none() {
            self.counts.restarts += u64::from(cluster.hosts[host].starts > 0);
            cluster.start(host);
        }
    }

    /// Inject a fault, and return whether that was possible.
    fn inject(
        &mut self,
        cluster: &mut Cluster,
        fault: &Fault,
        agenda: &mut EventQueue<Later>,
    ) -> bool {
        let now = cluster.now();
        let is_up = |host: usize| cluster.hosts[host].alive.is_some();
        match *fault {
            Fault::Crash(ref victims) => self.crash(cluster, victims, agenda),
            Fault::CrashCoordinator {
                rank,
                in_view_change: true,
                back_after_ms,
            } => {
                let crash = Later::CrashInViewChange {
                    rank,
                    back_after_ms,
                    prepares: cluster.prepares,
                    until: now + VIEW_CHANGE_WAIT_NS,
                };
                agenda.push(now, crash);
                true
            }
            Fault::CrashCoordinator {
                rank,
                back_after_ms,
                ..
            } => self.crash_coordinator(cluster, rank, back_after_ms, agenda),
            Fault::Leave(victim) => self.leave(cluster, victim, agenda),
            Fault::Evict {
                by,
                host,
                back_after_ms,
            } => {
                let victim = Victim {
                    host,
                    back_after_ms,
                };
                self.evict(cluster, by, victim, agenda)
            }
            Fault::Pin { by, for_ms } => {
                let is_done = cluster.pin(by, for_ms);
                self.counts.pins += u64::from(is_done);
                is_done
            }
            Fault::Unpin { by } => cluster.pin(by, 0),
            Fault::Freeze { host, for_ms } => {
                // The shortest freezes are not noticed.
                let is_short = for_ms <= 30;
                let is_harmless = is_short || is_partitionable(cluster);
                if !is_up(host) || !(is_harmless || may_lose(cluster, &[host])) {
                    return false;
                }
                let until = now + for_ms * MS;
                cluster.freeze(host, until.max(cluster.hosts[host].frozen_until));
                self.counts.freezes += 1;
                true
            }
            Fault::SlowEngine {
                host,
                mean_us,
                for_ms,
            } => {
                if !is_up(host) {
                    return false;
                }
                cluster.hosts[host].engine_delay_mean_us = mean_us;
                agenda.push(now + for_ms * MS, Later::FastEngine(host));
                true
            }
            Fault::Storm { network, for_ms } => {
                cluster.network.set_options(network);
                self.counts.network += 1;
                agenda.push(now + for_ms * MS, Later::RestoreNetwork);
                true
            }
            Fault::Components { ref sides, for_ms } => {
                let impairment = Impairment::Components(sides.clone());
                self.impair(cluster, impairment, for_ms, agenda)
            }
            Fault::Between {
                ref from,
                ref to,
                quality,
                flapping_ms,
                for_ms,
            } => {
                let impairment = Impairment::Between {
                    from: from.clone(),
                    to: to.clone(),
                    quality,
                    flapping: flapping_ms.map(|(bad_ms, good_ms)| Flapping {
                        since: now,
                        bad_ns: bad_ms * MS,
                        good_ns: good_ms * MS,
                    }),
                };
                self.impair(cluster, impairment, for_ms, agenda)
            }
        }
    }

    fn impair(
        &mut self,
        cluster: &mut Cluster,
        impairment: Impairment,
        for_ms: u64,
        agenda: &mut EventQueue<Later>,
    ) -> bool {
        if !may_impair(cluster, &impairment) {
            return false;
        }
        let number = cluster.impair(impairment);
        self.counts.network += 1;
        agenda.push(cluster.now() + for_ms * MS, Later::Mend(number));
        true
    }

    fn crash(
        &mut self,
        cluster: &mut Cluster,
        victims: &[Victim],
        agenda: &mut EventQueue<Later>,
    ) -> bool {
        let hosts: Vec<usize> = victims.iter().map(|victim| victim.host).collect();
        let is_up = |victim: &&Victim| cluster.hosts[victim.host].alive.is_some();
        let up: Vec<&Victim> = victims.iter().filter(is_up).collect();
        if up.is_empty() || !may_lose(cluster, &hosts) {
            return false;
        }
        for victim in up {
            cluster.crash(victim.host);
            self.counts.crashes += 1;
            plan_return(cluster, *victim, agenda);
        }
        true
    }

    fn crash_coordinator(
        &mut self,
        cluster: &mut Cluster,
        rank: usize,
        back_after_ms: Option<u64>,
        agenda: &mut EventQueue<Later>,
    ) -> bool {
        let newest = cluster
            .hosts
            .iter()
            .filter_map(|host| host.alive.as_ref()?.node.view())
            .max_by_key(|view| view.number);
        let wanted = cluster.options().configuration.coordinators;
        let coordinators: Vec<usize> = newest.map_or(Vec::new(), |view| {
            view.coordinators(wanted)
                .map(|member| usize::from(member.identity.node.number()) - 1)
                .collect()
        });
        if coordinators.is_empty() {
            return false;
        }
        let victim = Victim {
            host: coordinators[rank % coordinators.len()],
            back_after_ms,
        };
        self.crash(cluster, &[victim], agenda)
    }

    fn leave(
        &mut self,
        cluster: &mut Cluster,
        victim: Victim,
        agenda: &mut EventQueue<Later>,
    ) -> bool {
        if !may_depart(cluster, victim.host) {
            return false;
        }
        cluster.leave(victim.host);
        self.counts.leaves += 1;
        plan_return(cluster, victim, agenda);
        true
    }

    fn evict(
        &mut self,
        cluster: &mut Cluster,
        by: usize,
        victim: Victim,
        agenda: &mut EventQueue<Later>,
    ) -> bool {
        if !may_depart(cluster, victim.host) || !cluster.evict(by, victim.host) {
            return false;
        }
        self.counts.evictions += 1;
        plan_return(cluster, victim, agenda);
        true
    }
}

/// Whether a node is up and may leave or be evicted.
fn may_depart(cluster: &Cluster, host: usize) -> bool {
    cluster.hosts[host].alive.is_some() && may_lose(cluster, &[host]) && may_report_reason(cluster)
}

/// Whether a machine is up and no administrator has evicted its node.
fn stays_up(host: &Host) -> bool {
    let alive = host.alive.as_ref();
    alive.is_some_and(|alive| alive.evicted_by.is_empty())
}

fn plan_return(cluster: &Cluster, victim: Victim, agenda: &mut EventQueue<Later>) {
    if let Some(after_ms) = victim.back_after_ms {
        agenda.push(cluster.now() + after_ms * MS, Later::Start(victim.host));
    }
}
