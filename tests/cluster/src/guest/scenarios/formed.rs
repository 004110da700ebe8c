// SPDX-License-Identifier: GPL-2.0

//! A formed cluster with a member of one group on each node, with which most tests of faults begin, and what they have
//! in common.

use std::cell::RefCell;
use std::rc::Rc;

use kcgcsctl::netlink::NodeState;

use super::{Surroundings, Test};
use crate::guest::cluster::{Cluster, Plan};
use crate::guest::modules;

/// The longest time that a test waits for something.
const LIMIT_MS: u64 = 60_000;
/// The most members that send at once where not all need to.
const SENDERS_MAX: usize = 8;
/// The most messages that a member under load sends between two looks at the cluster.
const BURST: usize = 2;

/// A formed cluster.
pub(super) struct Formed {
    pub(super) cluster: Cluster,
}

/// The check of a test with a formed cluster.
pub(super) type Check = fn(&mut Formed, &mut Vec<String>) -> Result<(), String>;

impl Formed {
    /// Start all nodes of the plan and a member on each, and wait for one cluster view and one group view.
    pub(super) fn begin(plan: Plan, surroundings: Surroundings) -> Result<Self, String> {
        modules::load_both()?;
        let mut cluster = Cluster::new(plan, surroundings.limit(LIMIT_MS))?;
        let all = cluster.all();
        for &node in &all {
            cluster.start(node)?;
            cluster.join(node)?;
        }
        cluster.wait_for_view(&all)?;
        cluster.wait_for_group(&all)?;
        Ok(Self { cluster })
    }

    /// End the cluster and check the trace.
    pub(super) fn end(self, remarks: &mut Vec<String>) -> Result<(), String> {
        let totals = self.cluster.end()?.check()?;
        remarks.push(format!(
            "{} views, {} messages sent, {} delivered",
            totals.views, totals.sends, totals.deliveries
        ));
        if totals.views == 0 || totals.sends == 0 || totals.deliveries < totals.sends {
            return Err("the trace has too few events for a verdict".to_string());
        }
        modules::unload_both()
    }

    /// Require that the view after number `before` excludes exactly `out`.
    pub(super) fn go_in_one_view(&mut self, before: u64, out: &[u16]) -> Result<(), String> {
        let rest = self.cluster.all_but(out);
        let after = self.cluster.wait_for_view(&rest)?.number;
        if after != before + 1 {
            return Err(format!("view {before} became view {after}"));
        }
        self.work(&rest)
    }

    /// Require that the members on `nodes` share a group view and deliver each other's messages.
    pub(super) fn work(&mut self, nodes: &[u16]) -> Result<(), String> {
        self.cluster.wait_for_group(nodes)?;
        self.cluster.send_all(&some(nodes), 1)?;
        self.cluster.wait_for_delivery(nodes)
    }

    pub(super) fn all_work_again(&mut self) -> Result<(), String> {
        let all = self.cluster.all();
        self.cluster.wait_for_view(&all)?;
        self.work(&all)
    }

    pub(super) fn view_number(&mut self) -> Result<u64, String> {
        let all = self.cluster.all();
        Ok(self.cluster.common_view(&all)?.number)
    }

    /// Wait until none of `nodes` is in a view that has a quorum.
    pub(super) fn see_no_quorum(&mut self, nodes: &[u16]) -> Result<(), String> {
        for &node in nodes {
            self.cluster.wait(
                &format!("node {node} sees no quorum"),
                |cluster| match cluster.status(node)?.state {
                    NodeState::Member => Err("it is a member".to_string()),
                    _ => Ok(()),
                },
            )?;
        }
        Ok(())
    }

    /// Wait until `look` succeeds, while the members on all nodes multicast as much as the kernel accepts.
    pub(super) fn wait_under_load<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Cluster) -> Result<T, String>,
    ) -> Result<T, String> {
        self.cluster.wait(what, |cluster| {
            load(cluster)?;
            look(cluster)
        })
    }
}

/// Have the member on each node multicast until the kernel accepts no more from it, or [`BURST`] times.
pub(super) fn load(cluster: &mut Cluster) -> Result<(), String> {
    for node in cluster.all() {
        for _ in 0..BURST {
            if cluster.send(node)?.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// Some of the nodes, evenly spread.
pub(super) fn some(nodes: &[u16]) -> Vec<u16> {
    let step = nodes.len().div_ceil(SENDERS_MAX).max(1);
    nodes.iter().step_by(step).copied().collect()
}

/// Tests, each with its name and check, that run one after another with one cluster. `name` is put before their names.
/// After a test that fails, all later ones fail too.
pub(super) fn tests_of_one_cluster(
    name: &str,
    plan: Plan,
    surroundings: Surroundings,
    checks: &[(&str, Check)],
) -> Vec<Test> {
    let shared: Rc<RefCell<Option<Formed>>> = Rc::default();
    let begin = Rc::clone(&shared);
    let mut tests = vec![Test::new(
        format!("{name}: all_nodes_form_one_view_and_one_group"),
        move |_| {
            *begin.borrow_mut() = Some(Formed::begin(plan, surroundings)?);
            Ok(())
        },
    )];
    for &(claim, check) in checks {
        let shared = Rc::clone(&shared);
        tests.push(Test::new(format!("{name}: {claim}"), move |remarks| {
            // The cluster is taken, so that it ends if the test fails.
            let mut formed = shared.borrow_mut().take().ok_or(NO_CLUSTER)?;
            check(&mut formed, remarks)?;
            *shared.borrow_mut() = Some(formed);
            Ok(())
        }));
    }
    tests.push(Test::new(
        format!("{name}: the_trace_of_all_kernels_holds_every_promise"),
        move |remarks| shared.borrow_mut().take().ok_or(NO_CLUSTER)?.end(remarks),
    ));
    tests
}

const NO_CLUSTER: &str = "not tried, an earlier step failed";
