// SPDX-License-Identifier: GPL-2.0

//! The functions of `include/kcgcs.h`: arguments are checked and converted, one method is called, the
//! result is converted back. What each promises is written in the header.

use super::{
    callback_types::{
        order_of_number,
        GroupOps,
        Member,
        View, //
    },
    fence_gate::FenceGate,
    ffi,
    group_handle::{
        Handle,
        Submission, //
    },
    no_io::NoIo,
    parameters::c_bytes,
    registry,
    view_record::ViewRecord, //
};
use crate::{
    platform::BoundedVec,
    protocol::{
        identity::GroupName,
        limits::MESSAGE_BYTES_MAX, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::from_result,
    ffi::{
        c_char,
        c_int,
        c_uint,
        c_void, //
    },
    prelude::*,
    sync::Arc,
    task::might_sleep, //
};

ffi::as_declared!(
    kcgcs_join,
    kcgcs_leave,
    kcgcs_multicast,
    kcgcs_self,
    kcgcs_view_get,
    kcgcs_view_put,
    kcgcs_register_notifier,
    kcgcs_unregister_notifier,
    kcgcs_register_fence,
    kcgcs_unregister_fence,
);

/// A handle that a consumer holds, lent for one call.
///
/// # Safety
///
/// `group` comes from `kcgcs_join` and was not given to `kcgcs_leave`.
unsafe fn borrow<'a>(group: *const ffi::kcgcs_group) -> Option<&'a Handle> {
    // SAFETY: The caller says that it is a handle, or NULL, and keeps it during the call.
    unsafe { group.cast::<Handle>().as_ref() }
}

/// See the header.
///
/// # Safety
///
/// As in the header: `net` is a namespace, `name` a string, `ops` callbacks that stay.
#[no_mangle]
unsafe extern "C" fn kcgcs_join(
    net: *mut bindings::net,
    name: *const c_char,
    ops: *const GroupOps,
    context: *mut c_void,
) -> *mut ffi::kcgcs_group {
    might_sleep();
    // SAFETY: The caller promises the same.
    match unsafe { join(net, name, ops, context) } {
        Ok(handle) => Arc::into_raw(handle).cast_mut().cast(),
        Err(error) => error.to_ptr(),
    }
}

/// See the header.
///
/// # Safety
///
/// As for [`kcgcs_join`].
unsafe fn join(
    net: *mut bindings::net,
    name: *const c_char,
    ops: *const GroupOps,
    context: *mut c_void,
) -> Result<Arc<Handle>> {
    // SAFETY: The caller says that it is a string or NULL.
    let name = unsafe { c_bytes(name) }.and_then(GroupName::new);
    let (Some(net), Some(name), Some(ops)) =
        (NonNull::new(net), name, NonNull::new(ops.cast_mut()))
    else {
        return Err(EINVAL);
    };
    {
        // SAFETY: The caller says that the callbacks can be read.
        let ops = unsafe { ops.as_ref() };
        if ops.view.is_none()
            || ops.deliver.is_none()
            || ops.get_state.is_some()
            || ops.set_state.is_some()
        {
            return Err(EINVAL);
        }
    }
    let instance = registry::find(net).ok_or(ENETDOWN)?;
    if instance.is_stopping() {
        return Err(ESHUTDOWN);
    }
    // SAFETY: The callbacks were checked; the caller says that they stay.
    let handle = unsafe { Handle::new(instance.clone(), name, ops, context)? };
    instance.with_engine(|engine, instance| engine.join(instance, handle.clone()))?;
    Ok(handle)
}

/// See the header.
///
/// # Safety
///
/// `group` comes from `kcgcs_join`; it is gone when 0 is returned.
#[no_mangle]
unsafe extern "C" fn kcgcs_leave(group: *mut ffi::kcgcs_group) -> c_int {
    might_sleep();
    // SAFETY: The caller says that it is a handle.
    let Some(handle) = (unsafe { borrow(group) }) else {
        return EINVAL.to_errno();
    };
    if handle.is_inside_callback() {
        return EDEADLK.to_errno();
    }
    handle.end_callbacks();
    handle
        .instance
        .with_engine(|engine, instance| engine.leave(instance, handle));
    // SAFETY: The reference was given to the consumer by `kcgcs_join` and comes back once.
    drop(unsafe { Arc::from_raw(group.cast::<Handle>()) });
    0
}

/// See the header.
///
/// # Safety
///
/// `group` is a handle, `data` is `length` bytes.
#[no_mangle]
unsafe extern "C" fn kcgcs_multicast(
    group: *mut ffi::kcgcs_group,
    data: *const c_void,
    length: usize,
    order: c_uint,
    gfp: bindings::gfp_t,
) -> c_int {
    from_result(|| {
        // SAFETY: The caller says that it is a handle.
        let handle = unsafe { borrow(group) }.ok_or(EINVAL)?;
        if order == ffi::KCGCS_SAFE {
            return Err(EOPNOTSUPP);
        }
        let order = order_of_number(order).ok_or(EINVAL)?;
        if length > MESSAGE_BYTES_MAX {
            return Err(EMSGSIZE);
        }
        let bytes = match NonNull::new(data.cast_mut().cast::<u8>()) {
            // SAFETY: The caller says that there are so many bytes.
            Some(data) => unsafe { core::slice::from_raw_parts(data.as_ptr(), length) },
            None if length == 0 => &[],
            None => return Err(EINVAL),
        };
        if handle.instance.is_stopping() {
            return Err(ESHUTDOWN);
        }
        let payload = copy(bytes, gfp)?;
        handle.submit(Submission { order, payload })?;
        Ok(0)
    })
}

/// Copies a message, sleeping only if the caller's flags allow it, and then starting input and output
/// only if they allow that too.
fn copy(bytes: &[u8], gfp: bindings::gfp_t) -> Result<BoundedVec<u8>> {
    let has = |bit: u32| gfp & (1 << bit) != 0;
    if !has(bindings::___GFP_DIRECT_RECLAIM_BIT) {
        return copy_atomically(bytes);
    }
    let is_free = has(bindings::___GFP_IO_BIT) && has(bindings::___GFP_FS_BIT);
    let scope = (!is_free).then(NoIo::begin);
    let mut copy = KVVec::with_capacity(bytes.len(), GFP_KERNEL)?;
    copy.extend_from_slice(bytes, GFP_KERNEL)?;
    drop(scope);
    Ok(BoundedVec::from_vector(copy))
}

/// Copies a message where nobody may sleep. A message that is then refused is freed there too, which
/// only physically contiguous memory can be.
fn copy_atomically(bytes: &[u8]) -> Result<BoundedVec<u8>> {
    let mut copy = KVec::with_capacity(bytes.len(), GFP_ATOMIC | __GFP_NOWARN)?;
    copy.extend_from_slice(bytes, GFP_ATOMIC | __GFP_NOWARN)?;
    let (bytes, length, capacity) = copy.into_raw_parts();
    // SAFETY: The parts are those of a whole vector. Its memory is from kmalloc(), which is one of the
    // two places that the other allocator has its own from, and tells apart when it frees.
    Ok(BoundedVec::from_vector(unsafe {
        KVVec::from_raw_parts(bytes, length, capacity)
    }))
}

/// See the header.
///
/// # Safety
///
/// `group` is a handle, `result` can be written.
#[no_mangle]
unsafe extern "C" fn kcgcs_self(group: *const ffi::kcgcs_group, result: *mut Member) -> c_int {
    from_result(|| {
        // SAFETY: The caller says that it is a handle.
        let handle = unsafe { borrow(group) }.ok_or(EINVAL)?;
        let own = handle.own()?;
        let result = NonNull::new(result).ok_or(EINVAL)?;
        // SAFETY: The caller lends the place.
        unsafe { result.write(own) };
        Ok(0)
    })
}

/// See the header.
///
/// # Safety
///
/// `group` is a handle.
#[no_mangle]
unsafe extern "C" fn kcgcs_view_get(group: *mut ffi::kcgcs_group) -> *const View {
    // SAFETY: The caller says that it is a handle.
    match unsafe { borrow(group) }.and_then(Handle::view) {
        Some(view) => ViewRecord::into_foreign(view),
        None => core::ptr::null(),
    }
}

/// See the header.
///
/// # Safety
///
/// `view` comes from `kcgcs_view_get` and is given back once, or is NULL.
#[no_mangle]
unsafe extern "C" fn kcgcs_view_put(view: *const View) {
    if !view.is_null() {
        // SAFETY: The caller promises just this.
        drop(unsafe { ViewRecord::from_foreign(view) });
    }
}

/// See the header.
///
/// # Safety
///
/// `net` is a namespace, `block` a notifier that stays until it was removed or the node is gone.
#[no_mangle]
unsafe extern "C" fn kcgcs_register_notifier(
    net: *mut bindings::net,
    block: *mut bindings::notifier_block,
) -> c_int {
    might_sleep();
    from_result(|| {
        let (Some(net), Some(block)) = (NonNull::new(net), NonNull::new(block)) else {
            return Err(EINVAL);
        };
        let instance = registry::find(net).ok_or(ENETDOWN)?;
        if instance.is_stopping() {
            return Err(ENETDOWN);
        }
        // SAFETY: The caller promises the same.
        unsafe { instance.notifier.register(block)? };
        Ok(0)
    })
}

/// See the header.
///
/// # Safety
///
/// `net` is a namespace, `block` a notifier.
#[no_mangle]
unsafe extern "C" fn kcgcs_unregister_notifier(
    net: *mut bindings::net,
    block: *mut bindings::notifier_block,
) -> c_int {
    might_sleep();
    from_result(|| {
        let (Some(net), Some(block)) = (NonNull::new(net), NonNull::new(block)) else {
            return Err(EINVAL);
        };
        let instance = registry::find(net).ok_or(ENOENT)?;
        instance.notifier.unregister(block)?;
        Ok(0)
    })
}

/// See the header.
///
/// # Safety
///
/// `net` is a namespace; `ops` can be read, and its handler may be called until it was unregistered or the
/// node is gone.
#[no_mangle]
unsafe extern "C" fn kcgcs_register_fence(
    net: *mut bindings::net,
    ops: *const ffi::kcgcs_fence_ops,
    context: *mut c_void,
) -> c_int {
    might_sleep();
    from_result(|| {
        // SAFETY: The caller says that it can be read, or it is NULL.
        let (Some(net), Some(ops)) = (NonNull::new(net), unsafe { ops.as_ref() }) else {
            return Err(EINVAL);
        };
        let instance = registry::find(net).ok_or(ENETDOWN)?;
        if instance.is_stopping() {
            return Err(ENETDOWN);
        }
        // SAFETY: The caller promises the same.
        unsafe { FenceGate::register(&instance, ops, context)? };
        Ok(0)
    })
}

/// See the header.
///
/// # Safety
///
/// `net` is a namespace.
#[no_mangle]
unsafe extern "C" fn kcgcs_unregister_fence(net: *mut bindings::net) -> c_int {
    might_sleep();
    from_result(|| {
        let net = NonNull::new(net).ok_or(EINVAL)?;
        let instance = registry::find(net).ok_or(ENOENT)?;
        FenceGate::unregister(&instance)?;
        Ok(0)
    })
}
