// SPDX-License-Identifier: GPL-2.0

//! A failure detector for unit tests: node 1 in view 5, which sends heartbeats to node 2 and monitors nodes 2 and 3.

use super::{DetectorAssignment, DetectorPeer, DetectorReport, DetectorVerdict, FailureDetector};
use crate::protocol::configuration::{Configuration, ValidConfiguration};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, PeerAddress, ViewNumber};
use crate::protocol::limits::{DETECTOR_BYTES_MAX, HEARTBEAT_BYTES};
use crate::protocol::test_support::{address, identity, TestResult, Unexpected};
use crate::protocol::time::Instant;
use crate::protocol::wire::heartbeat::DetectorBody;
use crate::protocol::wire::{write_datagram, Datagram, Header, Kind};

/// The view of the bench.
pub(super) const VIEW: ViewNumber = ViewNumber(5);

/// A node and its address.
pub(super) fn peer(number: u16) -> DetectorPeer {
    DetectorPeer {
        identity: identity(number),
        address: address(number),
    }
}

/// An assignment with these targets and monitored nodes.
pub(super) fn assignment(targets: &[u16], monitored: &[u16]) -> DetectorAssignment {
    let mut assignment = DetectorAssignment::silent(identity(1));
    assignment.view = VIEW;
    for (place, number) in assignment.targets.iter_mut().zip(targets) {
        *place = Some(peer(*number));
    }
    for (place, number) in assignment.monitored.iter_mut().zip(monitored) {
        *place = Some(peer(*number));
    }
    assignment
}

/// A failure detector and the cluster's number.
pub(super) struct Bench {
    pub(super) detector: FailureDetector,
    cluster: u32,
}

/// A datagram that was sent.
pub(super) struct Sent {
    pub(super) kind: Kind,
    pub(super) to: PeerAddress,
    pub(super) header: Header,
    pub(super) body: DetectorBody,
}

impl Bench {
    /// A failure detector at `now`, in the view of the bench.
    pub(super) fn new(now: Instant, settings: Configuration) -> Result<Self, Unexpected> {
        let mut bench = Self::silent(now, settings)?;
        bench.detector.install(now, &assignment(&[2], &[2, 3]), &[]);
        Ok(bench)
    }

    /// A failure detector without a view.
    pub(super) fn silent(now: Instant, settings: Configuration) -> Result<Self, Unexpected> {
        let valid = ValidConfiguration::new(settings, b"bench", address(1), &[])?;
        Ok(Self {
            detector: FailureDetector::new(identity(1), &valid, now, 7)?,
            cluster: valid.cluster(),
        })
    }

    /// A heartbeat, probe or reply arrives.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        from: PeerAddress,
        (kind, sender, view): (Kind, Identity, ViewNumber),
        counter: u64,
        number: u32,
    ) -> DetectorVerdict {
        let header = Header {
            kind,
            cluster: self.cluster,
            sender,
            view,
            lineage: 0,
            counter,
        };
        let body = DetectorBody {
            number,
            heard_age_ms: 0,
        };
        let mut buffer = [0; HEARTBEAT_BYTES];
        let _ = write_datagram(&mut buffer, &header, |writer| body.write(writer));
        self.detector.handle_datagram(now, from, &buffer)
    }

    /// The value of a counter.
    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.detector.counters().value(counter)
    }

    /// A heartbeat arrives from a node in the view.
    pub(super) fn hear(&mut self, now: Instant, number: u16, counter: u64) -> DetectorVerdict {
        let head = (Kind::Heartbeat, identity(number), VIEW);
        self.receive(now, address(number), head, counter, 0)
    }

    /// The reply of a node to one of this node's probes arrives.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        number: u16,
        counter: u64,
        probe: u32,
    ) -> DetectorVerdict {
        let head = (Kind::ProbeReply, identity(number), VIEW);
        self.receive(now, address(number), head, counter, probe)
    }

    /// The next datagram that is sent.
    pub(super) fn sent(&mut self, now: Instant) -> Option<Sent> {
        let mut buffer = [0; DETECTOR_BYTES_MAX];
        let transmit = self.detector.poll_transmit(now, &mut buffer)?;
        let datagram = Datagram::parse(buffer.get(..transmit.length)?, self.cluster).ok()?;
        Some(Sent {
            kind: datagram.header.kind,
            to: transmit.to,
            header: datagram.header,
            body: DetectorBody::parse(datagram.body).ok()?,
        })
    }

    /// Send all that is due. Returns how many datagrams of `kind` went to `to`.
    pub(super) fn count_sent(&mut self, now: Instant, kind: Kind, to: PeerAddress) -> usize {
        let mut count = 0;
        while let Some(sent) = self.sent(now) {
            count += usize::from(sent.kind == kind && sent.to == to);
        }
        count
    }

    /// Handle the timer at each deadline up to and including `until`. Node 3 is heard whenever its heartbeat is
    /// due. Returns the last report.
    pub(super) fn run(&mut self, until: Instant) -> Result<Option<DetectorReport>, Unexpected> {
        let mut last = None;
        while let Some(now) = self.detector.next_deadline().filter(|at| *at <= until) {
            self.keep_alive(now)?;
            self.detector.handle_timer(now);
            while self.sent(now).is_some() {}
            while let Some(report) = self.detector.poll_report() {
                last = Some(report);
            }
        }
        Ok(last)
    }

    /// Node 3 is heard at `now`.
    fn keep_alive(&mut self, now: Instant) -> TestResult {
        let counter = now.as_nanoseconds();
        match self.hear(now, 3, counter) {
            DetectorVerdict::Consumed
            | DetectorVerdict::Dropped(Counter::DroppedDuplicate | Counter::DroppedUnwatched) => {
                Ok(())
            }
            _ => Err(Unexpected),
        }
    }
}
