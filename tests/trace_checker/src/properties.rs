// SPDX-License-Identifier: GPL-2.0

//! The properties that a trace must have, one file each. Their names are those of `docs/guarantees.md`.
//!
//! L4, the liveness of safe messages, has no check of its own: L2 and L3 judge messages of every order.

use crate::index::Index;
use crate::violation::Violations;

/// One property.
#[derive(Clone, Copy)]
pub struct Property {
    /// The short and the long name.
    pub name: (&'static str, &'static str),
    /// Add each place of the trace that violates the property.
    pub check: fn(&Index<'_>, &mut Violations),
}

mod causal_past;
mod primary_views;
mod safe_messages;

macro_rules! properties {
    ($($module:ident,)*) => {
        $(pub mod $module;)*

        /// All properties.
        pub const ALL: &[Property] = &[
            $(Property { name: $module::NAME, check: $module::check },)*
        ];
    };
}

properties! {
    m1_self_inclusion,
    m2_local_monotonicity,
    m3_initial_view,
    m4_view_agreement,
    m5_one_issuer,
    m6_primary_chain,
    m6rt_disjoint_primaries,
    m7_incarnation,
    m8_delta,
    d1_integrity,
    d2_no_duplication,
    d3_sending_view,
    d4_same_view,
    d5_virtual_synchrony,
    d6_transitional_set,
    d8_scope,
    d9_nothing_after_leave,
    d10_nothing_lost_silently,
    o1_fifo,
    o2_no_gap,
    o3_causal,
    o4_causal_without_gap,
    o5_strong_total_order,
    o7_agreed_prefix,
    o8_view_at_the_same_place,
    s1_safe,
    s2_safe_prefix,
    s3_uniform,
    l1_precision,
    l2_self_delivery,
    l3_multicast_liveness,
    l5_completeness,
    l6_accuracy,
    l7_stalled_nodes,
    l8_progress,
    l9_no_flapping,
    a1_eviction,
    a2_pinned_views,
    a3_fenced_failures,
}
