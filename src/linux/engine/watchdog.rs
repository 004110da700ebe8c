// SPDX-License-Identifier: GPL-2.0

//! The liveness contract of consumers: heartbeats go on whatever consumers do, so a consumer that hangs in
//! a callback would seem alive for ever. It may ask for a watchdog, which reports that, and puts it out of its
//! group if it wants that too.

#![forbid(unsafe_code)]

use super::{
    super::{
        event_log::log_line,
        group_handle::Alarm,
        instance::Instance, //
    },
    Engine, //
};
use crate::protocol::time::Instant;

impl Engine {
    /// Looks for consumers that do not return from a callback, or do again.
    pub(super) fn check_watchdogs(&mut self, now: Instant, instance: &Instance) {
        let mut place: usize = 0;
        while let Some(handle) = self.handles.get(place) {
            place = place.saturating_add(1);
            let Some(alarm) = handle.watchdog.check(now) else {
                continue;
            };
            let handle = handle.clone();
            let (endpoint, name) = (handle.endpoint().0, handle.name);
            match alarm {
                Alarm::Hangs { for_ms } if handle.watchdog.puts_out() => {
                    log_line!(
                        self.log,
                        now,
                        "member {} of group {:?} has been in a callback for {} ms",
                        endpoint,
                        name,
                        for_ms
                    );
                    self.put_out(now, &handle, "does not return from it", instance);
                    // The next one is in its place now.
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

    /// When to look again.
    pub(super) fn watchdog_deadline(&self) -> Option<Instant> {
        let deadlines = self.handles.iter().filter_map(|handle| handle.watchdog.deadline());
        deadlines.min()
    }
}
