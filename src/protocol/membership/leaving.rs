// SPDX-License-Identifier: GPL-2.0

//! Leaving the cluster: asking to be removed, and staying until the others know a decision that only this node knows.
//!
//! ```text
//!  (member) --leave_cluster--> request, repeated to coordinators --a view without this node, or a second--> gone
//!  (member) --decides on a view without itself--> announces it --all have installed it--> gone, or a new incarnation
//! ```

use super::local::LocalNode;
use super::reports::send_report;
use super::suspicion::Suspicion;
use crate::protocol::identity::ViewNumber;
use crate::protocol::limits::COORDINATORS_MAX;
use crate::protocol::outbox::Outbox;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::membership::ReportRecord;

/// How long a node that leaves waits for the others to agree.
const LEAVE_TIMEOUT: Duration = Duration::from_milliseconds(1000);

/// A request to be removed from the view.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
struct LeaveRequest {
    give_up_at: Instant,
    send_at: Instant,
    attempts: u32,
}

/// How this node is on its way out of the view, if it is.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) struct Leaving {
    request: Option<LeaveRequest>,
    /// The view that this node has decided on and is not in. The node stays until the others have installed it: they may
    /// lack its vote to decide it again.
    decided: Option<ViewNumber>,
}

impl Leaving {
    /// Forget any request: the view has changed or was given up.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A view with this node was installed: an earlier decision without it is void. A request stands.
    pub(super) fn install(&mut self) {
        self.decided = None;
    }

    /// Begin to ask for removal.
    pub(super) fn request(&mut self, now: Instant) {
        self.request = Some(LeaveRequest {
            give_up_at: now.after(LEAVE_TIMEOUT),
            send_at: now,
            attempts: 0,
        });
    }

    /// Note that this node has decided on a view without itself.
    pub(super) fn note_decided(&mut self, number: ViewNumber) {
        self.decided = Some(number);
    }

    /// The view that this node has decided on and is not in.
    pub(super) fn decided(&self) -> Option<ViewNumber> {
        self.decided
    }

    /// Send the request again, if that is due. Returns whether the time for it is over.
    ///
    /// The first request goes to the coordinator of this node's arc, further ones to several members, without those that
    /// are suspected.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        local: &LocalNode,
        suspicion: &Suspicion,
        outbox: &mut Outbox,
    ) -> bool {
        let Some(request) = self.request.as_mut() else {
            return false;
        };
        if now >= request.give_up_at {
            return true;
        }
        if now < request.send_at {
            return false;
        }
        let wanted = match request.attempts {
            0 => 1,
            _ => COORDINATORS_MAX,
        };
        let own = local.own();
        let view = local.view_or_empty();
        let to = view
            .coordinators_for(own.node, local.coordinators_wanted())
            .chain(view.members().iter())
            .filter(|member| {
                member.identity.node != own.node && !suspicion.is_suspected(local, member.identity)
            })
            .take(wanted);
        for member in to {
            send_report(&[member.address], &ReportRecord::Leave(own), outbox);
        }
        request.attempts = request.attempts.saturating_add(1);
        request.send_at = now.after(local.configuration().retransmit().times(2));
        false
    }

    /// When the request is sent again or given up.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.request
            .map(|request| request.send_at.min(request.give_up_at))
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_leaving))]
mod tests {
    use super::*;
    use crate::protocol::configuration::Configuration;
    use crate::protocol::limits::DATAGRAM_BYTES_MAX;
    use crate::protocol::membership::test_support::member_node;
    use crate::protocol::test_support::{at, identity, node, outbox, TestResult, Unexpected};

    /// Sends what is due at `now`. Returns how many members were asked, and whether the time is over.
    fn ask(
        leaving: &mut Leaving,
        now: Instant,
        local: &LocalNode,
        suspicion: &Suspicion,
    ) -> Result<(usize, bool), Unexpected> {
        let mut outbox = outbox()?;
        let is_over = leaving.advance(now, local, suspicion, &mut outbox);
        let mut asked = 0;
        while outbox.poll_transmit(&mut [0; DATAGRAM_BYTES_MAX]).is_some() {
            asked += 1;
        }
        Ok((asked, is_over))
    }

    #[test]
    fn a_leaving_node_asks_one_coordinator_and_then_several_members_for_a_second() -> TestResult {
        let local = member_node(Configuration::DEFAULT, 4)?;
        let suspicion = Suspicion::new(local.configuration())?;
        let mut leaving = Leaving::default();
        assert_eq!(ask(&mut leaving, at(0), &local, &suspicion)?, (0, false));
        leaving.request(at(0));
        assert_eq!(ask(&mut leaving, at(0), &local, &suspicion)?, (1, false));
        assert_eq!(ask(&mut leaving, at(1), &local, &suspicion)?, (0, false));
        let next = leaving.next_deadline().ok_or(Unexpected)?;
        let (asked, is_over) = ask(&mut leaving, next, &local, &suspicion)?;
        assert!(asked >= 3 && !is_over);
        assert_eq!(ask(&mut leaving, at(1000), &local, &suspicion)?, (0, true));
        leaving.clear();
        assert_eq!(leaving.next_deadline(), None);
        Ok(())
    }

    #[test]
    fn a_leaving_node_does_not_ask_suspected_members() -> TestResult {
        let local = member_node(Configuration::DEFAULT, 3)?;
        let mut suspicion = Suspicion::new(local.configuration())?;
        suspicion.handle_accuse(at(0), identity(2), node(3));
        suspicion.handle_accuse(at(0), identity(3), node(2));
        let mut leaving = Leaving::default();
        leaving.request(at(0));
        assert_eq!(ask(&mut leaving, at(0), &local, &suspicion)?, (0, false));
        Ok(())
    }

    #[test]
    fn a_decision_without_this_node_is_void_once_a_view_with_it_is_installed() {
        let mut leaving = Leaving::default();
        leaving.request(at(0));
        leaving.note_decided(ViewNumber(7));
        assert_eq!(leaving.decided(), Some(ViewNumber(7)));
        leaving.install();
        assert_eq!(leaving.decided(), None);
        // The request stands.
        assert!(leaving.next_deadline().is_some());
    }
}
