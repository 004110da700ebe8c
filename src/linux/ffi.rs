// SPDX-License-Identifier: GPL-2.0

//! What the C headers of this module say, in Rust: `kcgcs.h`, `uapi/kcgcs_netlink.h` and
//! `kcgcs_internal.h`. Kbuild has bindgen make it anew from them, so that neither side changes alone.
//!
//! Only declarations; the wrappers that make them safe are in the files that use them. Functions of
//! Rust that C calls are compared with their declaration: [`as_declared`].

#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    // Locks have fields without a size where lockdep is off; C never sees their insides through this.
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

/// Compiles only if the functions have the types that the headers declare.
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
