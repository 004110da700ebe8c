// SPDX-License-Identifier: GPL-2.0

//! KUnit suites of the parts of the shell that need no others. They are in `kcgcs_kunit_test.ko` only; the suites of
//! sockets and handles are in `tests/kunit`.

mod clock_tests;
mod deadline_timer_tests;
mod ring_buffer_tests;
mod work_item_tests;

use super::runtime::clock::now;
use crate::protocol::time::Duration;
use kernel::time::{
    delay::fsleep,
    Delta, //
};

/// How long to wait for a condition that must become true.
const LIMIT: Duration = Duration::from_milliseconds(30_000);

/// Wait until `holds` is true, sleeping in between. Returns false after [`LIMIT`].
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

/// Wait until `holds` is true, without sleeping. Returns false after [`LIMIT`].
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
