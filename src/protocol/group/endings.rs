// SPDX-License-Identifier: GPL-2.0

//! What members on this node are told before a view or a log ends: that the view is about to change, and how many of
//! their messages may be lost with the log.

use super::entry::Entry;
use super::{Group, EVENTS_KEPT};
use crate::protocol::identity::Identity;
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::Event;

impl Group {
    /// Count as lost what members on this node have sent and what is ordered, but not known to be held by all: the
    /// others may go on without it. To be called before the log is given up.
    pub(super) fn count_unstable(&mut self, own: Identity) {
        let Some(log) = &self.log else {
            return;
        };
        for position in log.stable.saturating_add(1)..=log.accepted {
            let part = match log.entry(position) {
                Some(Entry::Data { part, .. }) if part.is_last() => *part,
                _ => continue,
            };
            let Some(sender) = log.sender(position) else {
                continue;
            };
            if sender.node == own.node && sender.incarnation == own.incarnation {
                let mut locals = self.locals.as_mut_slice().iter_mut();
                let local = locals.find(|local| local.endpoint == sender.endpoint);
                // A message that is still pending counts with those.
                if let Some(local) = local.filter(|local| !local.is_pending(part.sequence)) {
                    local.count_lost();
                }
            }
        }
    }

    /// Report to the members that the view is about to change, as far as there is room.
    pub(super) fn report_blocks(&mut self, outbox: &mut Outbox) {
        for local in self.locals.as_mut_slice() {
            if outbox.event_room() <= EVENTS_KEPT {
                self.backlog |= local.is_block_due();
            } else if local.take_block() {
                outbox.event(Event::Block {
                    endpoint: local.endpoint,
                });
            }
        }
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_group_endings))]
mod tests {
    use super::super::local::Standing;
    use super::super::Groups;
    use super::*;
    use crate::protocol::configuration::Configuration;
    use crate::protocol::group_properties::GroupProperties;
    use crate::protocol::identity::GroupName;
    use crate::protocol::test_support::{at, identity, outbox, view, TestResult, Unexpected};
    use crate::protocol::time::Instant;

    #[test]
    fn members_are_told_that_the_view_changes_as_soon_as_there_is_room() -> TestResult {
        let mut outbox = outbox()?;
        let mut groups = Groups::new(identity(1), &Configuration::DEFAULT)?;
        let name = GroupName::new(b"g").ok_or(Unexpected)?;
        let endpoint = groups
            .join(at(0), name, GroupProperties::DEFAULT, None)
            .map_err(|_| Unexpected)?;
        for group in groups.groups.as_mut_slice() {
            for local in group.locals.as_mut_slice() {
                local.standing = Standing::Member;
            }
        }
        let mut fillers: usize = 0;
        while outbox.event_room() > EVENTS_KEPT {
            outbox.event(Event::Left);
            fillers = fillers.saturating_add(1);
        }
        let view = view([1, 2])?;
        groups.freeze(&mut outbox);
        groups.after_input(at(0), Some(&view), &mut outbox);
        assert_eq!(groups.next_deadline(), Some(Instant::ZERO));
        for _ in 0..fillers {
            assert!(matches!(outbox.poll_event(), Some(Event::Left)));
        }
        assert!(outbox.poll_event().is_none());
        for _ in 0..2 {
            groups.after_input(at(0), Some(&view), &mut outbox);
        }
        let event = outbox.poll_event();
        assert!(matches!(event, Some(Event::Block { endpoint: to }) if to == endpoint));
        assert!(outbox.poll_event().is_none());
        assert_eq!(groups.next_deadline(), None);
        Ok(())
    }
}
