// SPDX-License-Identifier: GPL-2.0

//! KUnit suites of those parts of the shell that stand on their own. They are in
//! `kcgcs_kunit_test.ko` only; `tests/kunit` has those of sockets and handles.

mod clock_tests;
mod deadline_timer_tests;
mod ring_buffer_tests;
mod work_item_tests;

use super::clock::now;
use crate::protocol::time::Duration;
use kernel::time::{
    delay::fsleep,
    Delta, //
};

/// A generous limit for what must happen.
const LIMIT: Duration = Duration::from_milliseconds(30_000);

/// Whether `holds` becomes true. Sleeps in between.
fn becomes_true(holds: impl Fn() -> bool) -> bool {
    let limit = now().after(LIMIT);
    while !holds() {
        if now() >= limit {
            return false;
        }
        fsleep(Delta::from_millis(1));
    }
    true
}

/// As [`becomes_true`], without letting go of the processor.
fn becomes_true_soon(holds: impl Fn() -> bool) -> bool {
    let limit = now().after(LIMIT);
    while !holds() {
        if now() >= limit {
            return false;
        }
        core::hint::spin_loop();
    }
    true
}
