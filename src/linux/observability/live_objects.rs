// SPDX-License-Identifier: GPL-2.0

//! The number of objects of this module that exist, so that a test can see that none is left over.
//!
//! `/sys/module/kcgcs/parameters/live_objects` shows them.

use crate::linux::{
    ffi,
    runtime::text_buffer::TextBuffer, //
};
use core::fmt::Write;
use kernel::{
    ffi::{
        c_char,
        c_int, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

static INSTANCES: Atomic<i32> = Atomic::new(0);
static SOCKETS: Atomic<i32> = Atomic::new(0);
static HANDLES: Atomic<i32> = Atomic::new(0);
static VIEWS: Atomic<i32> = Atomic::new(0);

/// The kinds of objects that are counted.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Nodes of a network namespace.
    Instance,
    /// UDP sockets.
    Socket,
    /// Memberships of consumers in groups.
    Handle,
    /// Views that consumers hold or will get.
    View,
}

fn counter(kind: Kind) -> &'static Atomic<i32> {
    match kind {
        Kind::Instance => &INSTANCES,
        Kind::Socket => &SOCKETS,
        Kind::Handle => &HANDLES,
        Kind::View => &VIEWS,
    }
}

/// Counts an object for as long as this value exists: the object holds it.
pub(crate) struct LiveObject(Kind);

impl LiveObject {
    /// Count one more.
    pub(crate) fn new(kind: Kind) -> Self {
        counter(kind).add(1, Relaxed);
        Self(kind)
    }
}

impl Drop for LiveObject {
    fn drop(&mut self) {
        counter(self.0).fetch_sub(1, Relaxed);
    }
}

/// Make the kernel warn if an object is left. The module goes away now, with the code that these objects point to.
pub(crate) fn expect_none() {
    for (kind, what) in [
        (Kind::Instance, "instances"),
        (Kind::Socket, "sockets"),
        (Kind::Handle, "handles"),
        (Kind::View, "views"),
    ] {
        let count = counter(kind).load(Relaxed);
        if count != 0 {
            pr_err!("{count} {what} are left at unload\n");
            kernel::warn_on!(true);
        }
    }
    // SAFETY: The function has no requirements.
    let datagrams = unsafe { ffi::kcgcs_live_datagrams() };
    if datagrams != 0 {
        pr_err!("{datagrams} datagrams are left at unload\n");
        kernel::warn_on!(true);
    }
}

ffi::as_declared!(kcgcs_live_objects_text);

/// Write the counts for sysfs. Returns the number of bytes written.
///
/// # Safety
///
/// `buffer` is `size` writable bytes.
#[no_mangle]
unsafe extern "C" fn kcgcs_live_objects_text(buffer: *mut c_char, size: usize) -> c_int {
    // SAFETY: The function has no requirements.
    let datagrams = unsafe { ffi::kcgcs_live_datagrams() };
    // SAFETY: The caller lends that many writable bytes for this call.
    let bytes = unsafe { core::slice::from_raw_parts_mut(buffer.cast::<u8>(), size) };
    let mut text = TextBuffer::new(bytes);
    // The text is far shorter than the page that sysfs lends.
    let _ = writeln!(
        text,
        "instances={} sockets={} handles={} views={} datagrams={}",
        INSTANCES.load(Relaxed),
        SOCKETS.load(Relaxed),
        HANDLES.load(Relaxed),
        VIEWS.load(Relaxed),
        datagrams
    );
    c_int::try_from(text.as_bytes().len()).unwrap_or(0)
}
