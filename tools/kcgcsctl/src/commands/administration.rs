// SPDX-License-Identifier: GPL-2.0

//! `evict`, `pin` and `unpin`.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::arguments::Evict;
use crate::failure::Failure;
use crate::netlink::Connection;
use crate::show;

/// The time between two looks at the view.
const INTERVAL: Duration = Duration::from_millis(20);

/// Evict a node, and wait for the view without it.
pub(super) fn evict(arguments: &Evict, json: bool) -> Result<(), Failure> {
    let mut connection = Connection::open()?;
    let incarnation_in_view = |connection: &mut Connection| -> Result<Option<u64>, Failure> {
        let view = connection.view()?;
        let member = view.and_then(|view| {
            let mut members = view.members.into_iter();
            members.find(|member| member.node == arguments.node)
        });
        Ok(member.map(|member| member.incarnation))
    };
    let evicted = incarnation_in_view(&mut connection)?;
    connection.evict(arguments.node)?;
    let started = Instant::now();
    // A later incarnation of the node may join in the meantime.
    while evicted.is_some() && incarnation_in_view(&mut connection)? == evicted {
        if started.elapsed() >= Duration::from_millis(arguments.timeout_ms) {
            return Err(Failure::TimedOut(format!(
                "the view still has node {} after {} ms: is the view pinned, or is there no quorum?",
                arguments.node, arguments.timeout_ms
            )));
        }
        sleep(INTERVAL);
    }
    if json {
        show::print_json(&json!({"evicted": arguments.node}))
    } else {
        show::print_line(&format!("node {} is evicted", arguments.node))
    }
}

/// Pin the views for this many seconds. Zero ends a pin.
pub(super) fn pin(seconds: u32, json: bool) -> Result<(), Failure> {
    Connection::open()?.pin(seconds.saturating_mul(1000))?;
    if json {
        show::print_json(&json!({"pinned_seconds": seconds}))
    } else if seconds == 0 {
        show::print_line("views are not pinned any more")
    } else {
        show::print_line(&format!("views are pinned for {seconds} s"))
    }
}
