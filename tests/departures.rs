// SPDX-License-Identifier: GPL-2.0

//! What a node has accepted of its members is delivered, or the member is told that it was not: members that leave,
//! nodes that are excluded, that leave their cluster, or that have no quorum.

mod lab;

use kcgcs_protocol::protocol::identity::EndpointId;
use kcgcs_protocol::protocol::limits::ENDPOINT_PENDING_MESSAGES_MAX;
use lab::groups::{delivered, joined, orders};
use lab::Lab;

/// The messages that one member sends at once: as many as its node accepts, so that some have not been sent yet.
const MESSAGES: usize = ENDPOINT_PENDING_MESSAGES_MAX;

fn send_all(lab: &mut Lab, number: u16, endpoint: EndpointId) {
    for message in 0..MESSAGES {
        lab.multicast(number, endpoint, &[message as u8]).unwrap();
    }
}

#[test]
fn messages_accepted_before_a_leave_reach_the_other_members() {
    let (lab, _) = joined(3);
    let coordinator = orders(&lab, 1);
    for leaver in 1..=3 {
        let (mut lab, handles) = joined(3);
        let endpoint = handles[usize::from(leaver) - 1].1;
        send_all(&mut lab, leaver, endpoint);
        lab.leave(leaver, endpoint);
        lab.run_for(1_000);
        for (number, endpoint) in handles.iter().filter(|(number, _)| *number != leaver) {
            assert_eq!(
                delivered(&lab, *number, *endpoint),
                MESSAGES,
                "node {number}, leaver {leaver}, coordinator {coordinator}"
            );
        }
    }
}
