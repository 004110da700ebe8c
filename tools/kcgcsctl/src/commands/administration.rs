// SPDX-License-Identifier: GPL-2.0

//! What an administrator asks the cluster for: `evict`, `pin` and `unpin`.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::arguments::Evict;
use crate::failure::Failure;
use crate::netlink::Connection;
use crate::show;

/// Between two looks at the view.
const INTERVAL: Duration = Duration::from_millis(20);

/// Puts a node out, and waits for the view without it.
pub(super) fn evict(wishes: &Evict, json: bool) -> Result<(), Failure> {
    let mut connection = Connection::open()?;
    let has = |connection: &mut Connection| -> Result<Option<u64>, Failure> {
        let view = connection.view()?;
        let member = view.and_then(|view| {
            let mut members = view.members.into_iter();
            members.find(|member| member.node == wishes.node)
        });
        Ok(member.map(|member| member.incarnation))
    };
    let evicted = has(&mut connection)?;
    connection.evict(wishes.node)?;
    let started = Instant::now();
    // A later incarnation of the node may come while one looks.
    while evicted.is_some() && has(&mut connection)? == evicted {
        if started.elapsed() >= Duration::from_millis(wishes.timeout_ms) {
            return Err(Failure::TimedOut(format!(
                "the view still has node {}: are views pinned, or is there no quorum?",
                wishes.node
            )));
        }
        sleep(INTERVAL);
    }
    if json {
        show::print_json(&json!({"evicted": wishes.node}))
    } else {
        show::print_line(&format!("node {} is out", wishes.node))
    }
}

/// Pins the views for so many seconds; zero ends that.
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
