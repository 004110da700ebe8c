// SPDX-License-Identifier: GPL-2.0

//! The shell around a node, as in the kernel module: it passes datagrams, reports and deadlines to the node, sends
//! and records its outputs, and keeps its timers.

use std::rc::Rc;

use kcgcs_protocol::protocol::identity::PeerAddress;
use kcgcs_protocol::protocol::limits::{DATAGRAM_BYTES_MAX, DETECTOR_BYTES_MAX};
use kcgcs_protocol::protocol::node::Node;
use kcgcs_protocol::protocol::outputs::Event;
use kcgcs_protocol::protocol::time::Instant;
use trace_checker::trace::{EventKind, TraceEvent};

use super::{Cluster, Occurrence, OnWire};
use crate::host::{host_at, Alive, EngineInput, ENGINE_QUEUE_MAX};
use crate::recorder::{record, Note};
use crate::sabotage::Sabotage;
use crate::timing::aftermath_ns;

impl Cluster {
    pub(super) fn command(&mut self, host: usize, run: impl FnOnce(&mut Node, Instant)) {
        let now = self.instant(host);
        if let Some(alive) = self.hosts[host].alive.as_mut() {
            run(&mut alive.node, now);
            self.drain_node(host);
        }
    }

    pub(super) fn write(&mut self, host: usize, kind: EventKind) {
        let machine = &self.hosts[host];
        self.trace.push(TraceEvent {
            t: self.now,
            node: machine.id,
            incarnation: machine
                .alive
                .as_ref()
                .map_or(machine.last_incarnation, |alive| {
                    alive.identity.incarnation.0
                }),
            kind,
        });
    }

    pub(super) fn datagram(&mut self, to: usize, from: PeerAddress, bytes: Rc<[u8]>) {
        let now = self.instant(to);
        let machine = &mut self.hosts[to];
        let Some(alive) = machine.alive.as_mut() else {
            return;
        };
        if alive
            .failure_detector
            .handle_datagram(now, from, &bytes)
            .is_for_engine()
        {
            if alive.queue.len() < ENGINE_QUEUE_MAX {
                alive.queue.push_back(EngineInput::Datagram(from, bytes));
            } else {
                machine.queue_drops += 1;
            }
        }
        self.drain_detector(to);
    }

    pub(super) fn detector_timer(&mut self, host: usize, start: u64) {
        let (now, instant) = (self.now, self.instant(host));
        let Some(alive) = self.alive(host, start) else {
            return;
        };
        if alive.detector_timer.is_none_or(|due| due > now) {
            return;
        }
        alive.detector_timer = None;
        alive.failure_detector.handle_timer(instant);
        if alive.detector_wakeups.is_busy_loop(now) {
            alive.detector_timer = Some(u64::MAX);
            self.fault(
                host,
                "the failure detector asks to be woken again and again",
            );
            return;
        }
        self.drain_detector(host);
    }

    pub(super) fn engine_timer(&mut self, host: usize, start: u64) {
        let now = self.now;
        let Some(alive) = self.alive(host, start) else {
            return;
        };
        if alive.engine_timer.is_none_or(|due| due > now) {
            return;
        }
        alive.engine_timer = None;
        alive.queue.push_back(EngineInput::Deadline);
        self.schedule_engine(host);
    }

    pub(super) fn engine_run(&mut self, host: usize, start: u64) {
        let now = self.now;
        let instant = self.instant(host);
        let Some(alive) = self.alive(host, start) else {
            return;
        };
        alive.engine_is_due = false;
        // Inputs that arrive during this run wait for the next one.
        for _ in 0..alive.queue.len() {
            let Some(alive) = self.alive(host, start) else {
                return;
            };
            match alive.queue.pop_front() {
                None => break,
                Some(EngineInput::Datagram(from, bytes)) => {
                    alive.node.handle_datagram(instant, from, &bytes);
                }
                Some(EngineInput::Report(report)) => {
                    alive.node.handle_detector_report(instant, report);
                }
                Some(EngineInput::Deadline) => {
                    alive.node.handle_deadline(instant);
                    if alive.engine_wakeups.is_busy_loop(now) {
                        alive.engine_timer = Some(u64::MAX);
                        let reason = alive.node.next_deadline();
                        let what =
                            format!("the engine asks to be woken again and again: {reason:?}");
                        self.fault(host, &what);
                        return;
                    }
                }
            }
            self.drain_node(host);
        }
    }

    fn alive(&mut self, host: usize, start: u64) -> Option<&mut Alive> {
        self.hosts[host]
            .alive
            .as_deref_mut()
            .filter(|alive| alive.start == start)
    }

    fn send(&mut self, host: usize, to: PeerAddress, bytes: &[u8]) {
        self.hosts[host].sent += 1;
        self.hosts[host].sent_bytes += bytes.len() as u64;
        let target = host_at(to);
        if target >= self.hosts.len() {
            self.fault(
                host,
                &format!("a datagram was sent to {to:?}, which is no host"),
            );
            return;
        }
        let shared: Rc<[u8]> = Rc::from(bytes);
        if let Some(seen) = self.wiretap.as_mut() {
            seen.push(OnWire {
                time: self.now,
                from: host,
                to: target,
                bytes: Rc::clone(&shared),
            });
        }
        let arrivals = self.network.arrivals(self.now, host, target);
        for arrival in arrivals.into_iter().flatten() {
            let bytes = if arrival.is_damaged {
                Rc::from(self.network.damage(bytes))
            } else {
                Rc::clone(&shared)
            };
            self.put_on_wire(OnWire {
                time: arrival.at,
                from: host,
                to: target,
                bytes,
            });
        }
    }

    /// Deliver a datagram at its time, as if its sender had sent it.
    pub fn put_on_wire(&mut self, what: OnWire) {
        let from = self.hosts[what.from].address;
        let (to, bytes) = (what.to, what.bytes);
        self.queue
            .push(what.time, Occurrence::Datagram { to, from, bytes });
    }

    /// The reading of the machine's clock.
    pub(super) fn instant(&self, host: usize) -> Instant {
        Instant::from_nanoseconds(self.hosts[host].clock.reading(self.now))
    }

    /// Poll all outputs of the failure detector, and set its timer.
    fn drain_detector(&mut self, host: usize) {
        let now = self.instant(host);
        let mut buffer = [0_u8; DETECTOR_BYTES_MAX];
        while let Some(transmit) = self.hosts[host]
            .alive
            .as_mut()
            .and_then(|alive| alive.failure_detector.poll_transmit(now, &mut buffer))
        {
            self.send(host, transmit.to, &buffer[..transmit.length]);
        }
        let clock = self.hosts[host].clock;
        let Some(alive) = self.hosts[host].alive.as_mut() else {
            return;
        };
        while let Some(report) = alive.failure_detector.poll_report() {
            if alive.queue.len() < ENGINE_QUEUE_MAX {
                alive.queue.push_back(EngineInput::Report(report));
            }
        }
        let due = alive
            .failure_detector
            .next_deadline()
            .map(|due| clock.time_of(due.as_nanoseconds()));
        let start = alive.start;
        if alive.detector_timer != due && alive.detector_timer != Some(u64::MAX) {
            alive.detector_timer = due;
            if let Some(due) = due {
                let late = self
                    .lateness
                    .exponential(self.options.timer_delay_mean_us * 1_000);
                self.queue.push(
                    due.max(self.now) + late,
                    Occurrence::DetectorTimer { host, start },
                );
            }
        }
        self.schedule_engine(host);
    }

    fn schedule_engine(&mut self, host: usize) {
        let machine = &mut self.hosts[host];
        let engine_delay_mean_us = machine.engine_delay_mean_us;
        let Some(alive) = machine.alive.as_mut() else {
            return;
        };
        if !alive.queue.is_empty() && !alive.engine_is_due {
            alive.engine_is_due = true;
            let start = alive.start;
            let late = self.lateness.exponential(engine_delay_mean_us * 1_000);
            self.queue
                .push(self.now + late, Occurrence::EngineRun { host, start });
        }
    }

    /// Poll all outputs of the node in the order of its contract, and set its timer.
    pub(super) fn drain_node(&mut self, host: usize) {
        let now = self.instant(host);
        let mut buffer = [0_u8; DATAGRAM_BYTES_MAX];
        while let Some(transmit) = self.hosts[host]
            .alive
            .as_mut()
            .and_then(|alive| alive.node.poll_transmit(&mut buffer))
        {
            self.send(host, transmit.to, &buffer[..transmit.length]);
        }
        if let Some(alive) = self.hosts[host].alive.as_mut() {
            while let Some(assignment) = alive.node.poll_assignment() {
                let view = alive.node.view();
                let members = view.map_or(&[][..], |view| view.members());
                alive.failure_detector.install(now, &assignment, members);
            }
        }
        self.take_events(host);
        let clock = self.hosts[host].clock;
        let Some(alive) = self.hosts[host].alive.as_mut() else {
            return;
        };
        let due = alive
            .node
            .next_deadline()
            .map(|(due, _)| clock.time_of(due.as_nanoseconds()));
        let start = alive.start;
        if alive.engine_timer != due && alive.engine_timer != Some(u64::MAX) {
            alive.engine_timer = due;
            if let Some(due) = due {
                let late = self
                    .lateness
                    .exponential(self.options.timer_delay_mean_us * 1_000);
                self.queue.push(
                    due.max(self.now) + late,
                    Occurrence::EngineTimer { host, start },
                );
            }
        }
        self.drain_detector(host);
    }

    fn take_events(&mut self, host: usize) {
        loop {
            let Some(alive) = self.hosts[host].alive.as_deref_mut() else {
                return;
            };
            let Some(event) = alive.node.poll_event() else {
                return;
            };
            let loses_one = &mut self.hosts[host].loses_one;
            if matches!(event, Event::Deliver { .. }) && std::mem::take(loses_one) {
                continue;
            }
            let sabotage = self.options.sabotage;
            if sabotage == Some(Sabotage::PinForgotten) && matches!(event, Event::Unpinned) {
                continue;
            }
            if sabotage == Some(Sabotage::EvictedComesBack)
                && matches!(event, Event::Evicted { .. })
            {
                self.write(host, EventKind::Stop);
                self.hosts[host].alive = None;
                self.start(host);
                return;
            }
            let Some(alive) = self.hosts[host].alive.as_deref_mut() else {
                return;
            };
            let note = record(self.now, alive, event, &mut self.lists, &mut self.trace);
            let incarnation = alive.identity.incarnation.0;
            match note {
                None => {}
                Some(Note::Prepare) => self.prepares += 1,
                Some(Note::Excluded) => {
                    self.exclusions += 1;
                    // The node may learn of its exclusion late.
                    let aftermath = aftermath_ns(&self.options.configuration);
                    let machine = &mut self.hosts[host];
                    let disturbed = self.network.is_disturbed(host)
                        || machine.engine_delay_mean_us > self.options.engine_delay_mean_us
                        || machine.disturbed_until + aftermath > self.now;
                    self.false_exclusions += u64::from(!disturbed);
                    if incarnation <= machine.last_incarnation {
                        let what = format!("excluded, and uses incarnation {incarnation} again");
                        self.fault(host, &what);
                    } else {
                        machine.last_incarnation = incarnation;
                        machine.fenced_until = 0;
                    }
                    self.guard(host);
                }
                Some(Note::Moved { transitional }) => {
                    self.moved += 1;
                    self.moved_together += u64::from(transitional > 1);
                }
                Some(Note::Left) => alive.has_left = true,
                Some(Note::Pinned) if sabotage == Some(Sabotage::PinForgotten) => {
                    self.command(host, |node, now| {
                        let _ = node.pin(now, 0);
                    });
                }
                Some(Note::Pinned) => {}
                Some(Note::FenceWanted(subject)) => self.fence_wanted(host, subject),
                Some(Note::Unexpected(what)) => self.fault(host, &what),
            }
            let machine = &mut self.hosts[host];
            let has_left = machine.alive.as_ref().is_some_and(|alive| alive.has_left);
            if has_left {
                machine.alive = None;
                return;
            }
        }
    }
}
