// SPDX-License-Identifier: GPL-2.0

//! The administrators' commands `kcgcsctl evict`, `pin` and `unpin`.

use std::time::Duration;

use super::{contains, json, Tool, LOOK_EVERY};
use crate::guest::wait::{holds_for, wait_for_every};

/// The time for which the view must not change.
const QUIET: Duration = Duration::from_secs(5);

/// The member numbers of a node's view.
fn members(tool: &Tool, node: u16) -> Result<Vec<u64>, String> {
    let view = json(&tool.expect(node, &["--json", "view"], 0)?)?;
    let members = view["members"].as_array().ok_or("no members")?;
    Ok(members
        .iter()
        .filter_map(|member| member[0].as_u64())
        .collect())
}

fn has_members(tool: &Tool, node: u16, expected: &[u64]) -> Result<(), String> {
    match members(tool, node)? {
        found if found == expected => Ok(()),
        found => Err(format!("node {node} has {found:?} in its view")),
    }
}

pub(super) fn evict(tool: &Tool) -> Result<(), String> {
    tool.all_up()?;
    let printed = tool.expect(1, &["evict", "3"], 0)?;
    contains("evict", &printed, &["node 3 is evicted\n"])?;
    wait_for_every(
        LOOK_EVERY,
        "the evicted node learns of its eviction",
        tool.limit,
        || {
            let status = json(&tool.expect(3, &["--json", "status"], 0)?)?;
            match status["state"].as_str() {
                Some("evicted") => Ok(()),
                other => Err(format!("its state is {other:?}")),
            }
        },
    )?;
    holds_for("the node stays out", QUIET, || {
        has_members(tool, 2, &[1, 2])
    })?;
    for (who, why) in [("3", "no other member"), ("1", "no other member")] {
        let refused = tool.run(1, &["evict", who])?;
        contains("evict", &refused.complaint, &[why])?;
        refused.expect(1, "evict of a node that is no other member")?;
    }
    tool.expect(1, &["evict", "0"], 2)?;
    let refused = tool.run(3, &["evict", "1"])?;
    contains("evict", &refused.complaint, &["no quorum of it"])?;

    // It may come back when it is started anew.
    tool.expect(3, &["down"], 0)?;
    tool.up(3)?;
    wait_for_every(LOOK_EVERY, "the node is back", tool.limit, || {
        has_members(tool, 1, &[1, 2, 3])
    })?;
    tool.all_down()
}

pub(super) fn pin(tool: &Tool) -> Result<(), String> {
    tool.all_up()?;
    let printed = tool.expect(1, &["pin", "--seconds", "3600"], 0)?;
    contains("pin", &printed, &["views are pinned for 3600 s"])?;
    wait_for_every(LOOK_EVERY, "all nodes know of the pin", tool.limit, || {
        for node in 1..=super::NODES {
            contains(
                "status",
                &tool.expect(node, &["status"], 0)?,
                &["s more, by node 1\n"],
            )?;
        }
        Ok(())
    })?;
    // A node that leaves does not wait for a view.
    tool.expect(3, &["down"], 0)?;
    tool.up(3)?;
    holds_for("the view does not change", QUIET, || {
        has_members(tool, 1, &[1, 2, 3])?;
        let status = json(&tool.expect(2, &["--json", "status"], 0)?)?;
        if status["state"] == "member" && status["pinned_by"] == 1 {
            Ok(())
        } else {
            Err(format!("node 2 reports {status}"))
        }
    })?;
    let printed = tool.expect(2, &["unpin"], 0)?;
    contains("unpin", &printed, &["not pinned any more"])?;
    let limit = tool.limit.as_millis().to_string();
    tool.expect(
        3,
        &["watch", "--until-members", "3", "--timeout-ms", &limit],
        0,
    )?;
    let text = tool.expect(1, &["status"], 0)?;
    contains("status", &text, &["pinned       no\n"])?;
    tool.expect(1, &["pin", "--seconds", "0"], 2)?;
    tool.all_down()?;
    tool.expect(1, &["pin"], 1).map(drop)
}
