// SPDX-License-Identifier: GPL-2.0

//! A cluster that has formed, with a member of one group on each node: where most stories about faults
//! begin, and what they have in common.

use std::cell::RefCell;
use std::rc::Rc;

use kcgcsctl::netlink::NodeState;

use super::{Surroundings, Test};
use crate::guest::cluster::{Cluster, Plan};
use crate::guest::modules;

/// How long a test may wait for what must happen.
const LIMIT_MS: u64 = 60_000;
/// Members that send at once where all need not.
const SENDERS_MAX: usize = 8;
/// Under load each member sends as long as the kernel takes it, at one look at the cluster at most so often.
const BURST: usize = 2;

/// The cluster.
pub(super) struct Formed {
    pub(super) cluster: Cluster,
}

/// What finds out whether a test's claim holds of a formed cluster.
pub(super) type Check = fn(&mut Formed, &mut Vec<String>) -> Result<(), String>;

impl Formed {
    /// All nodes of the plan are up and in one view, their members in one view of the group.
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

    /// Everything goes, and the trace is judged.
    pub(super) fn end(self, remarks: &mut Vec<String>) -> Result<(), String> {
        let totals = self.cluster.end()?.check()?;
        remarks.push(format!(
            "{} views, {} messages sent, {} delivered",
            totals.views, totals.sends, totals.deliveries
        ));
        if totals.views == 0 || totals.sends == 0 || totals.deliveries < totals.sends {
            return Err("the trace is too thin to say anything".to_string());
        }
        modules::unload_both()
    }

    /// `out` go, in the view that follows number `before`.
    pub(super) fn go_in_one_view(&mut self, before: u64, out: &[u16]) -> Result<(), String> {
        let rest = self.cluster.all_but(out);
        let after = self.cluster.wait_for_view(&rest)?.number;
        if after != before + 1 {
            return Err(format!("view {before} became view {after}"));
        }
        self.work(&rest)
    }

    /// Members on `nodes` are together in the group and get each other's messages.
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

    /// None of `nodes` is in a view that has a quorum.
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

    /// Waits until `look` is content, while the members on all nodes multicast as much as the kernel takes.
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

/// The member on each node multicasts until the kernel takes no more from it, or often enough.
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

/// Tests that share one cluster and run one after another: what each claims, and what finds out. `name` is put
/// before their names. A test that fails ends the story.
pub(super) fn tests_of_one_cluster(
    name: &str,
    plan: Plan,
    surroundings: Surroundings,
    checks: &[(&str, Check)],
) -> Vec<Test> {
    let story: Rc<RefCell<Option<Formed>>> = Rc::default();
    let begin = Rc::clone(&story);
    let mut tests = vec![Test::new(
        format!("{name}: all_nodes_form_one_view_and_one_group"),
        move |_| {
            *begin.borrow_mut() = Some(Formed::begin(plan, surroundings)?);
            Ok(())
        },
    )];
    for &(claim, check) in checks {
        let story = Rc::clone(&story);
        tests.push(Test::new(format!("{name}: {claim}"), move |remarks| {
            // Taken, so that nothing is left of it if the test fails.
            let mut formed = story.borrow_mut().take().ok_or(NO_CLUSTER)?;
            check(&mut formed, remarks)?;
            *story.borrow_mut() = Some(formed);
            Ok(())
        }));
    }
    tests.push(Test::new(
        format!("{name}: the_trace_of_all_kernels_holds_every_promise"),
        move |remarks| story.borrow_mut().take().ok_or(NO_CLUSTER)?.end(remarks),
    ));
    tests
}

const NO_CLUSTER: &str = "not tried, an earlier step failed";
