// SPDX-License-Identifier: GPL-2.0

//! M6: primary cluster views form one chain in which consecutive views share a member. In a partitionable cluster they
//! share a node, because a node keeps its vote from one incarnation to the next. M5 checks that a number belongs to one
//! view.

use super::primary_views::{are_linked, link, primary_views};
use crate::index::Index;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M6", "primary chain");

/// Walk the primary views in the order of their numbers.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for pair in primary_views(index).windows(2) {
        let (one, other) = (&pair[0], &pair[1]);
        if !are_linked(index, one.view, other.view) {
            let text = format!(
                "the consecutive primary views {:?} and {:?} share no {}",
                index.views[one.view].id,
                index.views[other.view].id,
                link(index)
            );
            let events = [&index.events[one.event], &index.events[other.event]];
            found.add(NAME, &events, text);
        }
    }
}
