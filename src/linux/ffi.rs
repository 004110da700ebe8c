// SPDX-License-Identifier: GPL-2.0

//! The C headers of this module in Rust: `kcgcs.h`, `uapi/kcgcs_netlink.h` and `kcgcs_internal.h`. Kbuild has bindgen
//! make these declarations anew in each build, so that neither side changes alone.
//!
//! The safe wrappers are in the files that use the declarations. A function of Rust that C calls is compared with its
//! declaration by [`as_declared`].

use kernel::{
    ffi::c_char,
    prelude::*, //
};

#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    // Without lockdep, locks have fields without a size; the C functions here take locks by pointer only.
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
mod generated {
    use kernel::{
        bindings::{
            blocking_notifier_head,
            module,
            net,
            notifier_block,
            sk_buff,
            spinlock, //
        },
        ffi, //
    };

    include!(env!("KCGCS_BINDINGS"));
}

pub(crate) use generated::*;

/// Check, when it is compiled, that the functions have the types that the headers declare.
macro_rules! as_declared {
    ($($function:ident),* $(,)?) => {$(
        const _: () = {
            if true {
                $crate::linux::ffi::$function
            } else {
                $function
            };
        };
    )*};
}
pub(crate) use as_declared;

/// The bytes of a C string; `None` for NULL.
///
/// # Safety
///
/// `text` is NULL, or a string that ends with a zero and does not change during `'a`.
pub(crate) unsafe fn c_bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: Not NULL, so the caller says that it is a string that stays during `'a`.
    Some(unsafe { CStr::from_char_ptr(text) }.to_bytes())
}
