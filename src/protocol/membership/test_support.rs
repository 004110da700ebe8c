// SPDX-License-Identifier: GPL-2.0

//! A node in a view, for the unit tests of the rooms.

use super::local::LocalNode;
use crate::platform::BoundedVec;
use crate::protocol::configuration::{Configuration, ValidConfiguration};
use crate::protocol::test_support::{address, at, identity, view, Unexpected};

/// Node 1 of a cluster with these settings, without a view.
pub(super) fn joining_node(settings: Configuration) -> Result<LocalNode, Unexpected> {
    let mut peers = BoundedVec::with_capacity(3)?;
    for number in 1..=3 {
        peers.push(address(number)).map_err(|_| Unexpected)?;
    }
    let configuration = ValidConfiguration::new(settings, b"test", address(1), &peers)?;
    Ok(LocalNode::new(
        identity(1),
        address(1),
        configuration,
        at(0),
    )?)
}

/// Node 1 in a view of nodes 1 to `members`, installed at the start of the clock.
pub(super) fn member_node(settings: Configuration, members: u16) -> Result<LocalNode, Unexpected> {
    let mut local = joining_node(settings)?;
    local.install(at(0), &mut view(1..=members)?);
    Ok(local)
}
