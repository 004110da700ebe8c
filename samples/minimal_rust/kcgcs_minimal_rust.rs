// SPDX-License-Identifier: GPL-2.0

//! The smallest consumer of KCGCS in Rust. It joins the group "sample" in the initial network
//! namespace, logs views and messages, greets the others when it is a member, and leaves when it is
//! unloaded.

mod kcgcs;

use core::{mem::size_of, ptr, str};
use kernel::bindings;
use kernel::error::{from_err_ptr, to_result};
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};

module! {
    type: MinimalRust,
    name: "kcgcs_minimal_rust",
    authors: ["KCGCS"],
    description: "KCGCS: the smallest consumer in Rust",
    license: "GPL",
    imports_ns: ["KCGCS"],
}

static OPERATIONS: kcgcs::Operations = kcgcs::Operations {
    size: size_of::<kcgcs::Operations>(),
    // No reference to this module is needed: `drop` leaves the group before the code is unloaded.
    owner: ptr::null_mut(),
    view,
    deliver,
    optional: [None; 4],
    watchdog_ms: 0,
    watchdog_leave: false,
    properties: ptr::null(),
};
static HAS_GREETED: Atomic<bool> = Atomic::new(false);

/// Send the greeting.
fn greet(group: *mut kcgcs::Group) {
    const GREETING: &[u8] = b"hello from Rust";

    let (data, length) = (GREETING.as_ptr().cast(), GREETING.len());
    let (order, flags) = (kcgcs::ORDER_DEFAULT, bindings::GFP_KERNEL);
    // SAFETY: `group` is the handle that C gave to a callback, during which it stays. `data` points to
    // `length` bytes. Callbacks run in process context, where `GFP_KERNEL` may sleep.
    let refused = unsafe { kcgcs::kcgcs_multicast(group, data, length, order, flags) };
    if let Err(error) = to_result(refused) {
        pr_warn!("greeting refused: {:?}\n", error);
    }
}

extern "C" fn view(group: *mut kcgcs::Group, _context: *mut c_void, view: &kcgcs::View) {
    pr_info!("view {} of node {}\n", view.number, view.coordinator);
    for member in view.members() {
        pr_info!("  {:?}\n", member);
    }
    // Callbacks come one at a time.
    if !view.members().is_empty() && !HAS_GREETED.load(Relaxed) {
        HAS_GREETED.store(true, Relaxed);
        greet(group);
    }
}

extern "C" fn deliver(_: *mut kcgcs::Group, _context: *mut c_void, message: &kcgcs::Message) {
    let text = str::from_utf8(message.bytes()).unwrap_or("(not text)");
    pr_info!("message of node {}: {}\n", message.sender.node, text);
}

struct MinimalRust(*mut kcgcs::Group);

// SAFETY: Any thread may use a handle.
unsafe impl Send for MinimalRust {}
// SAFETY: Nothing is done with a shared reference.
unsafe impl Sync for MinimalRust {}

impl kernel::Module for MinimalRust {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let (net, name) = (
            (&raw mut bindings::init_net).cast(),
            c"sample".as_char_ptr(),
        );
        // SAFETY: `init_net` exists for ever, the name ends with a zero byte, and `OPERATIONS` is a
        // static of this module, which leaves the group before it is unloaded.
        let group = unsafe { kcgcs::kcgcs_join(net, name, &OPERATIONS, ptr::null_mut()) };
        Ok(Self(from_err_ptr(group)?))
    }
}

impl Drop for MinimalRust {
    fn drop(&mut self) {
        // SAFETY: The handle came from `kcgcs_join`. It is given back here only, once, and not from a
        // callback.
        let left = unsafe { kcgcs::kcgcs_leave(self.0) };
        if let Err(error) = to_result(left) {
            pr_warn!("not all messages were sent: {:?}\n", error);
        }
    }
}
