// SPDX-License-Identifier: GPL-2.0

//! Liveness of consumers. Heartbeats go on whatever consumers do, so a consumer that hangs in a callback would seem
//! alive for ever. It may ask for a watchdog, which reports the hang, and excludes the consumer from its group if the
//! consumer wants that too.

#![forbid(unsafe_code)]

use super::Engine;
use crate::{
    linux::{
        consumers::{
            callback_types::End,
            group_handle::Alarm, //
        },
        observability::event_log::log_line, //
    },
    protocol::time::Instant, //
};

impl Engine {
    /// Report consumers that hang in a callback, and those that have returned from one that was reported.
    pub(super) fn check_watchdogs(&mut self, now: Instant) {
        let mut place: usize = 0;
        while let Some(handle) = self.handles.get(place) {
            place = place.saturating_add(1);
            let Some(alarm) = handle.watchdog.check(now) else {
                continue;
            };
            let handle = handle.clone();
            let (endpoint, name) = (handle.endpoint().0, handle.name);
            match alarm {
                Alarm::Hangs { for_ms } if handle.watchdog.excludes() => {
                    log_line!(
                        self.log,
                        now,
                        "member {} of group {:?} has been in a callback for {} ms",
                        endpoint,
                        name,
                        for_ms
                    );
                    self.exclude(now, &handle, End::Hangs);
                    // The next handle has moved to its place.
                    place = place.saturating_sub(1);
                }
                Alarm::Hangs { for_ms } => {
                    log_line!(
                        self.log,
                        now,
                        "member {} of group {:?} has been in a callback for {} ms and stays a member",
                        endpoint,
                        name,
                        for_ms
                    );
                }
                Alarm::IsBack { after_ms } => {
                    log_line!(
                        self.log,
                        now,
                        "member {} of group {:?} has returned from its callback after {} ms",
                        endpoint,
                        name,
                        after_ms
                    );
                }
            }
        }
    }

    /// When to check the watchdogs next.
    pub(super) fn watchdog_deadline(&self) -> Option<Instant> {
        let deadlines = self.handles.iter().filter_map(|handle| handle.watchdog.deadline());
        deadlines.min()
    }
}
