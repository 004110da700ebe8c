// SPDX-License-Identifier: GPL-2.0

//! M4: whoever installs a view of one name finds the same members in it.
//! Those who came to it from the same view also agree on why the others are gone.

use std::collections::BTreeMap;

use crate::index::Index;
use crate::trace::{Change, Member};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M4", "view agreement");

/// Compares all installs of a view with the first one.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for view in &index.views {
        let mut first_from: BTreeMap<Option<usize>, usize> = BTreeMap::new();
        let mut first: Option<usize> = None;
        for &(process, place) in &view.installs {
            let install = &index.processes[process].installs[place];
            let event = install.event;
            let one = *first.get_or_insert(event);
            let from = *first_from.entry(install.previous).or_insert(event);
            let (a, b) = (index.view_event(one), index.view_event(event));
            let scope = index.scope_name(view.scope);
            if a.members != b.members {
                let text = format!(
                    "view {:?} of {scope} has other members than elsewhere: {}",
                    view.id,
                    difference(&a.members, &b.members)
                );
                found.add(NAME, &[&index.events[one], &index.events[event]], text);
            } else if a.primary != b.primary {
                let text = format!("view {:?} of {scope} is primary for some only", view.id);
                found.add(NAME, &[&index.events[one], &index.events[event]], text);
            } else {
                let c = index.view_event(from);
                if install.previous.is_some() && reasons(&c.left) != reasons(&b.left) {
                    let text = format!(
                        "view {:?} of {scope} gives other reasons for who left than elsewhere",
                        view.id
                    );
                    found.add(NAME, &[&index.events[from], &index.events[event]], text);
                }
            }
        }
    }
}

fn reasons(changes: &Option<Vec<Change>>) -> Option<Vec<(Member, Option<&'static str>)>> {
    let mut list: Vec<_> = changes
        .as_ref()?
        .iter()
        .map(|change| (change.member, change.reason.map(|reason| reason.word())))
        .collect();
    list.sort_unstable();
    Some(list)
}

fn difference(a: &[Member], b: &[Member]) -> String {
    let missing: Vec<&Member> = a.iter().filter(|m| b.binary_search(m).is_err()).collect();
    let extra: Vec<&Member> = b.iter().filter(|m| a.binary_search(m).is_err()).collect();
    format!("missing {missing:?}, more {extra:?}")
}
