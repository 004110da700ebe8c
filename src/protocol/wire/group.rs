// SPDX-License-Identifier: GPL-2.0

//! Messages of groups. All begin with the group's number.

mod entries;
mod flush;
mod fragments;
mod names;
mod requests;
mod views;

pub use entries::{
    parse_acknowledge, parse_handover, parse_missing, parse_ordered, parse_status,
    write_data_entry, write_start_head, write_status, write_view_head, EntryBody, Ordered, Status,
};
pub use flush::{
    parse_fetch, parse_query, parse_report, write_fetch, write_query, write_report_log,
    write_report_nothing, write_report_pending_start, Fetch, Report,
};
pub use fragments::{parse_data, write_fragment, Fragment, Fragments, Part, FRAGMENT_HEAD_BYTES};
pub use names::read_group;
pub use requests::{parse_request, write_request, Place, Request};
pub use views::{write_view, Arrival, TransitionalSet, ViewBody};
