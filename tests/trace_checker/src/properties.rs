// SPDX-License-Identifier: GPL-2.0

//! The promises, one file each. Their names are those of the project's list of guarantees. What is not here:
//! O3 to O5 follow from O7, as every order is carried out as the agreed one; S1 to S3 and L4 speak of SAFE
//! messages, which are refused.

use crate::index::Index;
use crate::violation::Violations;

/// One promise.
#[derive(Clone, Copy)]
pub struct Property {
    /// Its short and its long name.
    pub name: (&'static str, &'static str),
    /// Adds what breaks it to the violations.
    pub check: fn(&Index<'_>, &mut Violations),
}

macro_rules! properties {
    ($($module:ident,)*) => {
        $(pub mod $module;)*

        /// All promises that are checked.
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
    o1_fifo,
    o2_no_gap,
    o7_agreed_prefix,
    o8_view_at_the_same_place,
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
