// SPDX-License-Identifier: GPL-2.0

//! Reassembly: the fragments that a group's coordinator keeps of messages that are not complete yet, or not next.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::MemberId;
use crate::protocol::limits::{GROUP_REASSEMBLY_FRAGMENTS_MAX, MESSAGE_FRAGMENTS_MAX};
use crate::protocol::wire::group::Part;

struct StoredFragment {
    sender: MemberId,
    part: Part,
    bytes: BoundedVec<u8>,
}

impl StoredFragment {
    fn is_of(&self, sender: MemberId, sequence: u64) -> bool {
        self.sender == sender && self.part.sequence == sequence
    }
}

/// Fragments of all senders.
pub(super) struct Reassembly {
    fragments: BoundedVec<StoredFragment>,
    /// The sender whose next message may use the last places until it is ordered.
    favoured: Option<MemberId>,
}

impl Reassembly {
    /// No fragments. Allocates.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self {
            fragments: BoundedVec::with_capacity(GROUP_REASSEMBLY_FRAGMENTS_MAX)?,
            favoured: None,
        })
    }

    /// Keep a fragment if there is room; if not, its sender sends it again. `is_next`: its message is the next one of its
    /// sender to be ordered.
    pub(super) fn keep(&mut self, sender: MemberId, part: &Part, bytes: &[u8], is_next: bool) {
        let is_known = self.fragments.iter().any(|stored| {
            stored.is_of(sender, part.sequence) && stored.part.fragment == part.fragment
        });
        if is_known || !self.has_room_for(sender, is_next) {
            return;
        }
        let Ok(mut copy) = BoundedVec::with_capacity(bytes.len()) else {
            return;
        };
        if copy.extend_from_slice(bytes).is_ok() {
            let _ = self.fragments.push(StoredFragment {
                sender,
                part: *part,
                bytes: copy,
            });
        }
    }

    /// Whether one more fragment may be kept. The last places, as many as the largest message needs, are reserved for the
    /// next message of one sender at a time. Otherwise incomplete messages could fill all places, and none would ever be
    /// complete.
    fn has_room_for(&mut self, sender: MemberId, is_next: bool) -> bool {
        let room = self
            .fragments
            .capacity()
            .saturating_sub(self.fragments.len());
        if room > MESSAGE_FRAGMENTS_MAX {
            return true;
        }
        is_next && room > 0 && *self.favoured.get_or_insert(sender) == sender
    }

    /// The number of fragments of a message if all are here.
    pub(super) fn complete(&self, sender: MemberId, sequence: u64) -> Option<u16> {
        let fragments = |stored: &&StoredFragment| stored.is_of(sender, sequence);
        let count = self.fragments.iter().find(fragments)?.part.fragments;
        let have = self.fragments.iter().filter(fragments);
        let have = have.filter(|stored| stored.part.fragments == count);
        (have.count() == usize::from(count)).then_some(count)
    }

    /// Take a fragment out.
    pub(super) fn take(
        &mut self,
        sender: MemberId,
        sequence: u64,
        fragment: u16,
    ) -> Option<(Part, BoundedVec<u8>)> {
        let place = self.fragments.iter().position(|stored| {
            stored.is_of(sender, sequence) && stored.part.fragment == fragment
        })?;
        let stored = self.fragments.remove(place)?;
        Some((stored.part, stored.bytes))
    }

    /// Drop what is left of a message that was ordered.
    pub(super) fn forget(&mut self, sender: MemberId, sequence: u64) {
        self.fragments
            .retain(|stored| !stored.is_of(sender, sequence));
        self.favoured = self.favoured.filter(|favoured| *favoured != sender);
    }

    /// Keep only the fragments of some senders.
    pub(super) fn retain(&mut self, is_kept: impl Fn(MemberId) -> bool) {
        self.fragments.retain(|stored| is_kept(stored.sender));
        self.favoured = self.favoured.filter(|favoured| is_kept(*favoured));
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(
    CONFIG_KUNIT = "y",
    kernel::macros::kunit_tests(kcgcs_group_reassembly)
)]
mod tests {
    use super::*;
    use crate::protocol::identity::{EndpointId, Incarnation};
    use crate::protocol::outputs::Order;
    use crate::protocol::test_support::{node, TestResult};

    const LONG: u16 = MESSAGE_FRAGMENTS_MAX as u16;
    /// More senders than there is room for all fragments of their messages.
    const SENDERS: u16 = 2 * (GROUP_REASSEMBLY_FRAGMENTS_MAX / MESSAGE_FRAGMENTS_MAX) as u16;

    fn sender(number: u16) -> MemberId {
        MemberId {
            node: node(number),
            endpoint: EndpointId(1),
            incarnation: Incarnation(1),
        }
    }

    fn part(sequence: u64, fragment: u16, fragments: u16) -> Part {
        Part {
            order: Order::Agreed,
            sequence,
            fragment,
            fragments,
        }
    }

    #[test]
    fn a_message_is_complete_when_its_last_missing_fragment_arrives() -> TestResult {
        let mut reassembly = Reassembly::new()?;
        for fragment in [2, 0, 2] {
            reassembly.keep(sender(1), &part(1, fragment, 3), b"", true);
        }
        reassembly.keep(sender(2), &part(1, 1, 3), b"", true);
        reassembly.keep(sender(1), &part(2, 1, 3), b"", false);
        assert_eq!(reassembly.complete(sender(1), 1), None);
        reassembly.keep(sender(1), &part(1, 1, 3), b"x", true);
        assert_eq!(reassembly.complete(sender(1), 1), Some(3));
        let taken = reassembly.take(sender(1), 1, 1);
        assert!(taken.is_some_and(|(part, bytes)| part.fragment == 1 && &bytes[..] == b"x"));
        Ok(())
    }

    #[test]
    fn fragments_with_different_counts_make_no_message() -> TestResult {
        let mut reassembly = Reassembly::new()?;
        reassembly.keep(sender(1), &part(1, 0, 2), b"", true);
        reassembly.keep(sender(1), &part(1, 1, 3), b"", true);
        assert_eq!(reassembly.complete(sender(1), 1), None);
        Ok(())
    }

    #[test]
    fn incomplete_messages_of_many_senders_do_not_block_each_other() -> TestResult {
        let mut reassembly = Reassembly::new()?;
        for fragment in 0..LONG {
            for number in 1..=SENDERS {
                reassembly.keep(sender(number), &part(1, fragment, LONG), b"", true);
            }
        }
        // Each sender sends all fragments again; at least one of them finds room for all.
        let mut ordered = 0;
        for _ in 0..SENDERS {
            for number in 1..=SENDERS {
                for fragment in 0..LONG {
                    reassembly.keep(sender(number), &part(1, fragment, LONG), b"", true);
                }
                if reassembly.complete(sender(number), 1).is_some() {
                    reassembly.forget(sender(number), 1);
                    ordered += 1;
                }
            }
        }
        assert!(ordered >= SENDERS);
        Ok(())
    }

    #[test]
    fn fragments_of_a_sender_that_is_gone_make_room_for_others() -> TestResult {
        let mut reassembly = Reassembly::new()?;
        for fragment in 0..LONG {
            for number in 1..=SENDERS {
                reassembly.keep(sender(number), &part(1, fragment, LONG), b"", true);
            }
        }
        reassembly.retain(|member| member == sender(SENDERS));
        for fragment in 0..LONG {
            reassembly.keep(sender(SENDERS), &part(1, fragment, LONG), b"", true);
        }
        assert_eq!(reassembly.complete(sender(SENDERS), 1), Some(LONG));
        Ok(())
    }
}
