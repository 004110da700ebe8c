// SPDX-License-Identifier: GPL-2.0

//! The smallest consumer of KCGCS in Rust. It joins the group "sample" in the initial network
//! namespace, logs views and messages, sends one greeting, and leaves when it is unloaded.

mod kcgcs;

use core::{ptr, str};
use kernel::bindings;
use kernel::error::{from_err_ptr, to_result};
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Full, Release};

module! {
    type: MinimalRust,
    name: "kcgcs_minimal_rust",
    authors: ["KCGCS"],
    description: "KCGCS: the smallest consumer in Rust",
    license: "GPL",
    imports_ns: ["KCGCS"],
}

static OPERATIONS: kcgcs::Operations = kcgcs::Operations {
    // No reference to this module is needed: `drop` leaves the group before the code is unloaded.
    owner: ptr::null_mut(),
    view,
    deliver,
    optional: [None; 4],
    watchdog_ms: 0,
    watchdog_leave: false,
};
static GROUP: Atomic<*mut kcgcs::Group> = Atomic::new(ptr::null_mut());
static IS_MEMBER: Atomic<bool> = Atomic::new(false);
static ARRIVED: Atomic<i32> = Atomic::new(0);

/// Send the greeting at the second call.
///
/// The first view may come before `kcgcs_join` has returned the handle. The greeting needs both, so
/// this is called after each.
fn arrive() {
    const GREETING: &[u8] = b"hello from Rust";

    if ARRIVED.fetch_add(1, Full) != 1 {
        return;
    }
    let (group, data) = (GROUP.load(Acquire), GREETING.as_ptr().cast());
    let (length, order, flags) = (GREETING.len(), kcgcs::AGREED, bindings::GFP_KERNEL);
    // SAFETY: `group` is a handle that was not given back: `init` stored it before the second call of
    // this function, and `kcgcs_leave` waits for running callbacks. `data` points to `length` bytes.
    // `init` and callbacks run in process context, where `GFP_KERNEL` may sleep.
    let refused = unsafe { kcgcs::kcgcs_multicast(group, data, length, order, flags) };
    if let Err(error) = to_result(refused) {
        pr_warn!("greeting refused: {:?}\n", error);
    }
}

extern "C" fn view(_context: *mut c_void, view: &kcgcs::View) {
    pr_info!("view {} of node {}\n", view.number, view.coordinator);
    for member in view.members() {
        pr_info!("  {:?}\n", member);
    }
    if !IS_MEMBER.xchg(true, Full) {
        arrive();
    }
}

extern "C" fn deliver(_context: *mut c_void, message: &kcgcs::Message) {
    let text = str::from_utf8(message.bytes()).unwrap_or("(not text)");
    pr_info!("message of node {}: {}\n", message.sender.node, text);
}

struct MinimalRust;

impl kernel::Module for MinimalRust {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let (net, name) = (
            (&raw mut bindings::init_net).cast(),
            c"sample".as_char_ptr(),
        );
        // SAFETY: `init_net` exists for ever, the name ends with a zero byte, and `OPERATIONS` is a
        // static of this module, which leaves the group before it is unloaded.
        let group = unsafe { kcgcs::kcgcs_join(net, name, &OPERATIONS, ptr::null_mut()) };
        GROUP.store(from_err_ptr(group)?, Release);
        arrive();
        Ok(Self)
    }
}

impl Drop for MinimalRust {
    fn drop(&mut self) {
        // SAFETY: The handle came from `kcgcs_join`. It is given back here only, once, and not from a
        // callback.
        let _ = unsafe { kcgcs::kcgcs_leave(GROUP.load(Acquire)) };
    }
}
