// SPDX-License-Identifier: GPL-2.0

//! KCGCS as a contender, with all parameters at their defaults. The reports to nodes are their lines in the kernel's
//! log, with the log's times.

use std::collections::BTreeMap;
use std::time::Duration;

use kcgcsctl::clock::monotonic_ns;

use super::{Contender, Notice, Running, Treatment};
use crate::guest::bench::detection::installed_view;
use crate::guest::bench::LIMIT;
use crate::guest::cluster::{Cluster, Plan};
use crate::guest::kernel_log::{mark, KernelLog};
use crate::guest::network::Network;

/// The line with which the log's clock is compared with `CLOCK_MONOTONIC`.
const MARK: &str = "kcgcs-bench: clocks are compared";

pub(super) fn contender(idle_seconds: u64) -> Contender {
    Contender {
        name: "KCGCS",
        treatment: Treatment::of_seconds(idle_seconds),
        takes_part: |_| true,
        slow_above: u16::MAX,
        start: Box::new(|nodes| Ok(Box::new(Kcgcs::start(nodes)?))),
    }
}

struct Kcgcs {
    cluster: Cluster,
    log: KernelLog,
    /// The time of the last [`MARK`] on `CLOCK_MONOTONIC`, and the difference to the log's times.
    marked_ns: u64,
    ahead_ns: u64,
    /// The members of each node's last view.
    views: BTreeMap<u16, Vec<u16>>,
}

impl Kcgcs {
    fn start(nodes: u16) -> Result<Self, String> {
        let mut this = Self {
            log: KernelLog::from_now()?,
            cluster: Cluster::new(Plan::of(nodes), LIMIT)?,
            marked_ns: 0,
            ahead_ns: 0,
            views: BTreeMap::new(),
        };
        this.before_cut()?;
        for node in this.cluster.all() {
            this.cluster.start(node)?;
        }
        Ok(this)
    }

    fn notice(&mut self, at_ns: u64, observer: u16, members: Vec<u16>) -> Notice {
        let before = self.views.insert(observer, members.clone());
        let before = before.unwrap_or_default();
        let without = |these: &[u16], those: &[u16]| {
            let rest = these.iter().filter(|node| !those.contains(node));
            rest.copied().collect()
        };
        Notice {
            at_ns,
            observer,
            gained: without(&members, &before),
            lost: without(&before, &members),
        }
    }
}

impl Running for Kcgcs {
    fn network(&self) -> &Network {
        &self.cluster.network
    }

    fn notices(&mut self, limit: Duration) -> Result<Vec<Notice>, String> {
        // There is no notification of a new line.
        std::thread::sleep(limit);
        let mut notices = Vec::new();
        for line in self.log.read_new()? {
            let log_ns = line.time_us * 1000;
            if line.text == MARK {
                self.ahead_ns = self.marked_ns.wrapping_sub(log_ns);
            } else if line.text.contains("lines left out") {
                return Err(format!("lines of the log were left out: {}", line.text));
            } else if let Some((observer, members)) = installed_view(&line.text) {
                let at_ns = log_ns.wrapping_add(self.ahead_ns);
                notices.push(self.notice(at_ns, observer, members));
            }
        }
        Ok(notices)
    }

    fn before_cut(&mut self) -> Result<(), String> {
        self.marked_ns = monotonic_ns();
        mark(MARK)
    }

    fn end(self: Box<Self>) -> Result<(), String> {
        self.cluster.end().map(drop)
    }
}
