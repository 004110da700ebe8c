// SPDX-License-Identifier: GPL-2.0

//! The smallest consumer of KCGCS in Rust: joins the group "sample" in the first network namespace,
//! logs what it is told, greets the others once, leaves at exit.

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
    // Not pinned: this module leaves when it is unloaded, before its code goes.
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

/// The first view may come before `kcgcs_join` has returned the handle. To greet takes both;
/// whichever is the second of them does it.
fn arrive() {
    const GREETING: &[u8] = b"hello from Rust";

    if ARRIVED.fetch_add(1, Full) != 1 {
        return;
    }
    let (group, data) = (GROUP.load(Acquire), GREETING.as_ptr().cast());
    let (length, order, flags) = (GREETING.len(), kcgcs::AGREED, bindings::GFP_KERNEL);
    // SAFETY: The handle was stored before the second arrival, and no callback runs after it was
    // given back. `data` has `length` bytes, and process context may sleep.
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
        // SAFETY: `init_net` is always there, the name ends with a zero byte, and the operations
        // are static.
        let group = unsafe { kcgcs::kcgcs_join(net, name, &OPERATIONS, ptr::null_mut()) };
        GROUP.store(from_err_ptr(group)?, Release);
        arrive();
        Ok(Self)
    }
}

impl Drop for MinimalRust {
    fn drop(&mut self) {
        // SAFETY: The handle came from `kcgcs_join` and is given back once, outside of callbacks.
        let _ = unsafe { kcgcs::kcgcs_leave(GROUP.load(Acquire)) };
    }
}
