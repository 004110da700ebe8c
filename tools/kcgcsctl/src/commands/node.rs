// SPDX-License-Identifier: GPL-2.0

//! Commands that ask the kernel once: `up`, `down`, `status`, `view`, `delays` and `groups`.

use serde_json::json;

use crate::arguments::Up;
use crate::clock::monotonic_ns;
use crate::failure::Failure;
use crate::netlink::{Connection, StartRequest};
use crate::show;
use crate::text::printable;

pub(super) fn up(arguments: &Up, json: bool) -> Result<(), Failure> {
    let mut connection = Connection::open()?;
    connection.start(&StartRequest {
        cluster: arguments.cluster.clone(),
        node_id: arguments.node_id,
        address: arguments.address.clone(),
        peers: arguments.peers.clone(),
        settings: arguments.settings.clone(),
        detector: arguments.detector.clone(),
    })?;
    let node = connection.node()?;
    if json {
        show::print_json(&show::node_json(&node))
    } else {
        show::print_line(&format!(
            "node {} of cluster {} runs at {}",
            node.node,
            printable(&node.cluster),
            node.address
        ))
    }
}

pub(super) fn down(json: bool) -> Result<(), Failure> {
    Connection::open()?.stop()?;
    if json {
        show::print_json(&json!({"state": "stopped"}))
    } else {
        show::print_line("stopped")
    }
}

pub(super) fn status(json: bool) -> Result<(), Failure> {
    let node = Connection::open()?.node()?;
    if json {
        show::print_json(&show::node_json(&node))
    } else {
        show::print(&show::node_text(&node))
    }
}

pub(super) fn view(json: bool) -> Result<(), Failure> {
    let mut connection = Connection::open()?;
    let node = connection.node()?;
    let view = connection.view()?;
    match (view, json) {
        (Some(view), true) => show::print_json(&show::view_line(monotonic_ns(), &node, &view)),
        (Some(view), false) => show::print(&show::view_text(&view)),
        // There is no event to write.
        (None, true) => Ok(()),
        (None, false) => show::print_line(&format!("no view: {}", node.state)),
    }
}

pub(super) fn delays(json: bool) -> Result<(), Failure> {
    let neighbours = Connection::open()?.delays()?;
    if json {
        let mut objects = neighbours.iter().map(show::delays_json);
        objects.try_for_each(|object| show::print_json(&object))
    } else {
        show::print(&show::delays_text(&neighbours))
    }
}

pub(super) fn groups(json: bool) -> Result<(), Failure> {
    let groups = Connection::open()?.groups()?;
    if json {
        groups.iter().try_for_each(show::print_json)
    } else {
        show::print(&show::groups_text(&groups))
    }
}
