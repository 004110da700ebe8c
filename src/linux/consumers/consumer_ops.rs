// SPDX-License-Identifier: GPL-2.0

//! What a consumer asks for when it joins: its callbacks, and the properties of its group.
//!
//! Both structs begin with the size that the consumer was compiled with, and grow at the end. So a consumer may be older
//! or newer than this module: fields that it does not have are zero here, and fields that are not known here have to be
//! zero there.

use super::callback_types::{
    order_of_number,
    GroupOps,
    Properties, //
};
use crate::{
    linux::ffi,
    protocol::{
        group_properties::{
            GroupProperties,
            QuorumMode,
            SlowPolicy,
            SLOW_BOUND_MS_MAX, //
        },
        outputs::Order, //
    }, //
};
use core::{
    mem::size_of,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// The largest size of a struct of a consumer, whatever version it was compiled with.
const SIZE_MAX: usize = 4096;
/// The size of the first version of each struct.
const OPS_SIZE_MIN: usize = size_of::<GroupOps>();
const PROPERTIES_SIZE_MIN: usize = size_of::<Properties>();

const _: () = assert!(OPS_SIZE_MIN == 80 && PROPERTIES_SIZE_MIN == 32);
const _: () = assert!(ffi::KCGCS_SLOW_WAIT_MS_MAX == SLOW_BOUND_MS_MAX);

/// A struct of C that begins with its size, a `size_t`.
///
/// # Safety
///
/// All bytes zero are a value of it.
unsafe trait WithSize {}

// SAFETY: Callbacks and pointers may be NULL, numbers zero, and the flag false.
unsafe impl WithSize for GroupOps {}
// SAFETY: It consists of numbers.
unsafe impl WithSize for Properties {}

/// Copy a struct that a consumer was compiled with in some version.
///
/// # Errors
///
/// - `EINVAL`: it is smaller than the first version, larger than any, or sets a field that is not known here.
///
/// # Safety
///
/// `given` points to as many readable bytes as its first field says, and at least to that field. The fields that are
/// known here are values of their types.
unsafe fn copy_sized<T: WithSize>(given: NonNull<T>, size_min: usize) -> Result<T> {
    let bytes = given.cast::<u8>().as_ptr().cast_const();
    // SAFETY: The caller says that the first field, the size, can be read.
    let size = unsafe { given.cast::<usize>().read_unaligned() };
    if size < size_min || size > SIZE_MAX {
        return Err(EINVAL);
    }
    let known = size.min(size_of::<T>());
    // SAFETY: The caller says that `size` bytes can be read, and `known` is at most that.
    let unknown = unsafe { core::slice::from_raw_parts(bytes.add(known), size - known) };
    if unknown.iter().any(|byte| *byte != 0) {
        return Err(EINVAL);
    }
    let mut copy = core::mem::MaybeUninit::<T>::zeroed();
    // SAFETY:
    // - `known` bytes can be read, as above.
    // - `copy` has room for a whole `T`, and nobody else knows it.
    unsafe { core::ptr::copy_nonoverlapping(bytes, copy.as_mut_ptr().cast::<u8>(), known) };
    // SAFETY: The bytes are those of the caller, whose fields are values of their types, or zero, which is one too by
    // the requirement of the trait.
    Ok(unsafe { copy.assume_init() })
}

/// Copy and check the callbacks that a consumer gives.
///
/// # Errors
///
/// - `EINVAL`: the size is wrong, a required callback is missing, or a reserved one is there.
///
/// # Safety
///
/// `given` is a `struct kcgcs_group_ops` of the size that it says.
pub(crate) unsafe fn read_ops(given: NonNull<GroupOps>) -> Result<GroupOps> {
    // SAFETY: The caller says that it is such a struct.
    let ops = unsafe { copy_sized(given, OPS_SIZE_MIN)? };
    let is_complete = ops.view.is_some() && ops.deliver.is_some();
    if !is_complete || ops.get_state.is_some() || ops.set_state.is_some() {
        return Err(EINVAL);
    }
    Ok(ops)
}

/// Copy and check the properties that a consumer asks for.
///
/// # Errors
///
/// - `EINVAL`: the size is wrong, or a property has an unknown value.
///
/// # Safety
///
/// `given` is NULL, which stands for the defaults, or a `struct kcgcs_group_properties` of the size that it says.
pub(crate) unsafe fn read_properties(given: *const Properties) -> Result<GroupProperties> {
    let Some(given) = NonNull::new(given.cast_mut()) else {
        return Ok(GroupProperties::DEFAULT);
    };
    // SAFETY: Not NULL, so the caller says that it is such a struct.
    let given = unsafe { copy_sized(given, PROPERTIES_SIZE_MIN)? };
    convert(&given).filter(GroupProperties::is_valid).ok_or(EINVAL)
}

/// The properties that the numbers name. `None`: one of them names nothing.
fn convert(given: &Properties) -> Option<GroupProperties> {
    let slow_policy = match (given.slow_policy, given.slow_wait_ms) {
        (ffi::KCGCS_SLOW_DEFAULT | ffi::KCGCS_SLOW_EVICT, 0) => SlowPolicy::Evict,
        (ffi::KCGCS_SLOW_WAIT, bound_ms) => SlowPolicy::Wait { bound_ms },
        (ffi::KCGCS_SLOW_NOTIFY, 0) => SlowPolicy::Notify,
        _ => return None,
    };
    Some(GroupProperties {
        default_order: order_of_number(given.default_order, Order::Agreed)?,
        is_sending_view: match given.sending_view {
            0 => false,
            1 => true,
            _ => return None,
        },
        slow_policy,
        quorum_mode: match given.quorum_mode {
            ffi::KCGCS_QUORUM_DEFAULT | ffi::KCGCS_QUORUM_ANY => QuorumMode::AnyView,
            ffi::KCGCS_QUORUM_PRIMARY => QuorumMode::PrimaryView,
            _ => return None,
        },
    })
}
