// SPDX-License-Identifier: GPL-2.0

//! Copies of old datagrams: each member's counters are remembered in a sliding window, as IPsec does
//! (RFC 4303, section 3.4.3), so that a datagram counts once, in whatever order they come.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::Identity;
use crate::protocol::limits::NODES_MAX;
use crate::protocol::view::ClusterView;

/// Words of 64 datagrams in a window: how far a datagram may be overtaken.
const WINDOW_WORDS: usize = 16;
const WINDOW: u64 = 64 * WINDOW_WORDS as u64;

/// What was received of one sender.
#[derive(Clone, Copy, Debug)]
struct Window {
    sender: Identity,
    /// The highest counter so far.
    highest: u64,
    /// One bit for each counter of the window, at its remainder by the window's length.
    seen: [u64; WINDOW_WORDS],
}

impl Window {
    const fn new(sender: Identity) -> Self {
        Self {
            sender,
            highest: 0,
            seen: [0; WINDOW_WORDS],
        }
    }

    fn word(&mut self, counter: u64) -> Option<&mut u64> {
        self.seen.get_mut(((counter % WINDOW) / 64) as usize)
    }

    fn take(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let ahead = counter.saturating_sub(self.highest).min(WINDOW);
            for step in 0..ahead {
                let unseen = counter.saturating_sub(step);
                if let Some(word) = self.word(unseen) {
                    *word &= !(1 << (unseen % 64));
                }
            }
            self.highest = counter;
        } else if self.highest.saturating_sub(counter) >= WINDOW {
            return false;
        }
        let bit = 1 << (counter % 64);
        self.word(counter).is_some_and(|word| {
            let news = *word & bit == 0;
            *word |= bit;
            news
        })
    }
}

/// The windows of all members of a view, sorted by node.
pub(in crate::protocol) struct ReplayWindows(BoundedVec<Window>);

impl ReplayWindows {
    /// No members. Allocates room for the largest view.
    pub(in crate::protocol) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self(BoundedVec::with_capacity(NODES_MAX)?))
    }

    /// Forgets who is not a member of `view` and adds who is new.
    pub(in crate::protocol) fn install(&mut self, view: &ClusterView) {
        self.0.retain(|window| view.has(window.sender));
        for (place, member) in view.members().iter().enumerate() {
            if self.0.get(place).map(|window| window.sender) != Some(member.identity) {
                let _ = self.0.insert(place, Window::new(member.identity));
            }
        }
    }

    /// Forgets all.
    pub(in crate::protocol) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether the member's datagram comes for the first time. Remembers it.
    pub(in crate::protocol) fn take(&mut self, sender: Identity, counter: u64) -> bool {
        let place = self
            .0
            .binary_search_by_key(&sender.node, |window| window.sender.node);
        place
            .ok()
            .and_then(|place| self.0.as_mut_slice().get_mut(place))
            .is_none_or(|window| window.take(counter))
    }
}
