// SPDX-License-Identifier: GPL-2.0

//! Reassembly: the fragments that a group's coordinator keeps of messages that are not complete yet, or not next.

use super::entry::copy;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::MemberId;
use crate::protocol::limits::{GROUP_REASSEMBLY_FRAGMENTS_MAX, MESSAGE_FRAGMENTS_MAX};
use crate::protocol::outputs::Payload;
use crate::protocol::wire::group::Part;

/// A message of which some fragments have arrived.
struct Partial {
    sender: MemberId,
    sequence: u64,
    /// One place for each fragment.
    fragments: BoundedVec<Option<(Part, Payload)>>,
    arrived: usize,
}

impl Partial {
    fn is_of(&self, sender: MemberId, sequence: u64) -> bool {
        self.sender == sender && self.sequence == sequence
    }

    fn is_complete(&self) -> bool {
        self.arrived == self.fragments.len()
    }
}

/// Fragments of all senders.
pub(super) struct Reassembly {
    messages: BoundedVec<Partial>,
    /// Fragments of all messages.
    fragments: usize,
    /// The sender whose next message may use the last places until it is ordered.
    favoured: Option<MemberId>,
}

impl Reassembly {
    /// No fragments. Allocates.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self {
            messages: BoundedVec::with_capacity(GROUP_REASSEMBLY_FRAGMENTS_MAX)?,
            fragments: 0,
            favoured: None,
        })
    }

    /// Whether it keeps nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Keep a fragment if there is room; if not, its sender sends it again. `is_next`: its message is the next one of its
    /// sender to be ordered.
    pub(super) fn keep(&mut self, sender: MemberId, part: &Part, bytes: &[u8], is_next: bool) {
        let count = usize::from(part.fragments);
        let mut messages = self.messages.iter();
        let known = messages.position(|message| {
            message.is_of(sender, part.sequence) && message.fragments.len() == count
        });
        let has = |message: &Partial| {
            let place = message.fragments.get(usize::from(part.fragment));
            place.is_none_or(Option::is_some)
        };
        let is_known = known
            .and_then(|place| self.messages.get(place))
            .is_some_and(has);
        if is_known || !self.has_room_for(sender, is_next) {
            return;
        }
        // The sender sends again what there was no memory for.
        let _ = self.put(known, sender, part, bytes);
    }

    fn put(
        &mut self,
        known: Option<usize>,
        sender: MemberId,
        part: &Part,
        bytes: &[u8],
    ) -> Result<(), OutOfMemory> {
        let bytes = copy(bytes)?;
        let place = match known {
            Some(place) => place,
            None => {
                let count = usize::from(part.fragments);
                let mut fragments = BoundedVec::with_capacity(count)?;
                while fragments.len() < count {
                    fragments.push(None).map_err(|_| OutOfMemory)?;
                }
                let message = Partial {
                    sender,
                    sequence: part.sequence,
                    fragments,
                    arrived: 0,
                };
                self.messages.push(message).map_err(|_| OutOfMemory)?;
                self.messages.len().saturating_sub(1)
            }
        };
        let message = self.messages.as_mut_slice().get_mut(place);
        let message = message.ok_or(OutOfMemory)?;
        let fragments = message.fragments.as_mut_slice();
        if let Some(place) = fragments.get_mut(usize::from(part.fragment)) {
            *place = Some((*part, bytes));
            message.arrived = message.arrived.saturating_add(1);
            self.fragments = self.fragments.saturating_add(1);
        }
        Ok(())
    }

    /// Whether one more fragment may be kept. The last places, as many as the largest message needs, are reserved for the
    /// next message of one sender at a time. Otherwise incomplete messages could fill all places, and none would ever be
    /// complete.
    fn has_room_for(&mut self, sender: MemberId, is_next: bool) -> bool {
        let room = GROUP_REASSEMBLY_FRAGMENTS_MAX.saturating_sub(self.fragments);
        if room > MESSAGE_FRAGMENTS_MAX {
            return true;
        }
        is_next && room > 0 && *self.favoured.get_or_insert(sender) == sender
    }

    /// The number of fragments of a message if all are here.
    pub(super) fn complete(&self, sender: MemberId, sequence: u64) -> Option<u16> {
        let mut messages = self.messages.iter();
        let found =
            messages.find(|message| message.is_of(sender, sequence) && message.is_complete());
        found.and_then(|message| u16::try_from(message.fragments.len()).ok())
    }

    /// Take a complete message out, and drop what else there is of it. `each` gets its fragments in order.
    pub(super) fn take(
        &mut self,
        sender: MemberId,
        sequence: u64,
        mut each: impl FnMut(Part, Payload),
    ) {
        let mut messages = self.messages.as_mut_slice().iter_mut();
        let found =
            messages.find(|message| message.is_of(sender, sequence) && message.is_complete());
        if let Some(message) = found {
            for fragment in message.fragments.as_mut_slice() {
                if let Some((part, bytes)) = fragment.take() {
                    each(part, bytes);
                }
            }
        }
        self.forget(sender, sequence);
    }

    /// Drop what is left of a message that was ordered.
    pub(super) fn forget(&mut self, sender: MemberId, sequence: u64) {
        if !self.messages.is_empty() {
            self.messages
                .retain(|message| !message.is_of(sender, sequence));
            self.count();
        }
        self.favoured = self.favoured.filter(|favoured| *favoured != sender);
    }

    /// Keep only the fragments of some senders.
    pub(super) fn retain(&mut self, is_kept: impl Fn(MemberId) -> bool) {
        self.messages.retain(|message| is_kept(message.sender));
        self.count();
        self.favoured = self.favoured.filter(|favoured| is_kept(*favoured));
    }

    fn count(&mut self) {
        let arrived = self.messages.iter().map(|message| message.arrived);
        self.fragments = arrived.fold(0, usize::saturating_add);
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
            after: 0,
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
        let mut taken = 0;
        reassembly.take(sender(1), 1, |part, bytes| {
            assert_eq!(part.fragment, taken);
            assert_eq!(bytes.len(), usize::from(taken == 1));
            taken += 1;
        });
        assert_eq!(taken, 3);
        assert_eq!(reassembly.complete(sender(1), 1), None);
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
