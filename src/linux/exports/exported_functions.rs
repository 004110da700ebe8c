// SPDX-License-Identifier: GPL-2.0

//! The functions of `include/kcgcs.h`, which says what each promises. They check and convert their arguments, call
//! one method, and convert the result.

use crate::{
    linux::{
        consumers::{
            callback_types::{
                order_of_number,
                GroupOps,
                Member,
                View, //
            },
            consumer_ops::{
                read_ops,
                read_properties, //
            },
            group_handle::{
                Application,
                Handle, //
            },
            view_record::ViewRecord, //
        },
        ffi::{
            self,
            c_bytes, //
        },
        node::{
            instance::Instance,
            registry, //
        },
        runtime::no_io::NoIo, //
    },
    platform::BoundedVec,
    protocol::{
        identity::GroupName,
        limits::MESSAGE_BYTES_MAX,
        time::Duration, //
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
    kcgcs_leave_flags,
    kcgcs_multicast,
    kcgcs_self,
    kcgcs_view_get,
    kcgcs_view_put,
    kcgcs_register_notifier,
    kcgcs_unregister_notifier,
    kcgcs_register_fence,
    kcgcs_unregister_fence,
);

const _: () = assert!(ffi::KCGCS_LEAVE_TIMEOUT_MS <= ffi::KCGCS_LEAVE_TIMEOUT_MS_MAX);

/// What a consumer's `struct kcgcs_group *` points to. It keeps the node that the handle belongs to.
struct Group {
    handle: Arc<Handle>,
    instance: Arc<Instance>,
}

/// Borrow a consumer's group for one call.
///
/// # Safety
///
/// `group` is NULL, or comes from `kcgcs_join` and is not given to `kcgcs_leave` during `'a`.
unsafe fn borrow<'a>(group: *const ffi::kcgcs_group) -> Option<&'a Group> {
    // SAFETY: The caller says that it is NULL or comes from `kcgcs_join`, which made it from a `Group`, and that it
    // stays during `'a`.
    unsafe { group.cast::<Group>().as_ref() }
}

/// The node of a namespace, unless it is going away.
fn running_node(net: NonNull<bindings::net>) -> Result<Arc<Instance>> {
    registry::find(net)
        .filter(|instance| !instance.is_stopping())
        .ok_or(ENETDOWN)
}

/// Documented in the header.
///
/// # Safety
///
/// `net` is a namespace, `name` a string or NULL, `ops` a struct of the size that it says, or NULL, and so are its
/// properties. The callbacks stay, with the module that owns them, until the group is given to `kcgcs_leave`.
#[no_mangle]
unsafe extern "C" fn kcgcs_join(
    net: *mut bindings::net,
    name: *const c_char,
    ops: *const GroupOps,
    context: *mut c_void,
) -> *mut ffi::kcgcs_group {
    might_sleep();
    // SAFETY: The caller promises what the header asks for, which is the same.
    match unsafe { join(net, name, ops, context) } {
        Ok(group) => KBox::into_raw(group).cast(),
        Err(error) => error.to_ptr(),
    }
}

/// Join a group.
///
/// # Safety
///
/// The same as for [`kcgcs_join`].
unsafe fn join(
    net: *mut bindings::net,
    name: *const c_char,
    ops: *const GroupOps,
    context: *mut c_void,
) -> Result<KBox<Group>> {
    // SAFETY: The caller says that it is a string or NULL, and keeps it during the call.
    let name = unsafe { c_bytes(name) }.and_then(GroupName::new);
    let (Some(net), Some(name), Some(ops)) =
        (NonNull::new(net), name, NonNull::new(ops.cast_mut()))
    else {
        return Err(EINVAL);
    };
    // SAFETY: The caller says that the callbacks can be read, as many bytes as they say.
    let ops = unsafe { read_ops(ops)? };
    // SAFETY: The caller says that the properties can be read, as many bytes as they say, or are NULL.
    let properties = unsafe { read_properties(ops.properties)? };
    let instance = registry::find(net).ok_or(ENETDOWN)?;
    if instance.is_stopping() {
        return Err(ESHUTDOWN);
    }
    let (link, queue) = (instance.link.clone(), instance.delivery_queue.clone());
    let application = Application {
        name,
        ops,
        properties,
        context,
    };
    // SAFETY: The callbacks were checked; the caller says that they stay, with their module, until it leaves.
    let handle = unsafe { Handle::new(link, queue, application)? };
    let group = KBox::new(Group { handle, instance }, GFP_KERNEL)?;
    // The address is what the caller gets. Callbacks may run before that.
    let address: *const Group = &*group;
    group.handle.set_group(address.cast_mut().cast());
    group
        .instance
        .with_engine(|engine| engine.join(group.handle.clone()))?;
    Ok(group)
}

/// Documented in the header.
///
/// # Safety
///
/// As for [`kcgcs_leave_flags`].
#[no_mangle]
unsafe extern "C" fn kcgcs_leave(group: *mut ffi::kcgcs_group) -> c_int {
    // SAFETY: The caller promises the same.
    unsafe { kcgcs_leave_flags(group, 0, 0, core::ptr::null_mut()) }
}

/// Documented in the header.
///
/// # Safety
///
/// `group` comes from `kcgcs_join`, or is NULL. Unless `-EDEADLK` or `-EINVAL` is returned it is gone, and no other call
/// uses it. `lost` can be written, or is NULL.
#[no_mangle]
unsafe extern "C" fn kcgcs_leave_flags(
    group: *mut ffi::kcgcs_group,
    flags: c_uint,
    timeout_ms: c_uint,
    lost: *mut u64,
) -> c_int {
    might_sleep();
    // SAFETY: The caller says that it comes from `kcgcs_join`; it is given back below only.
    let Some(Group { handle, instance }) = (unsafe { borrow(group) }) else {
        return EINVAL.to_errno();
    };
    if flags & !ffi::KCGCS_LEAVE_DISCARD != 0 || timeout_ms > ffi::KCGCS_LEAVE_TIMEOUT_MS_MAX {
        return EINVAL.to_errno();
    }
    if handle.is_inside_callback() {
        return EDEADLK.to_errno();
    }
    if let Err(error) = instance.with_engine(|engine| engine.begin_leave(handle)) {
        return error.to_errno();
    }
    let is_patient = flags & ffi::KCGCS_LEAVE_DISCARD == 0;
    let milliseconds = match timeout_ms {
        0 => ffi::KCGCS_LEAVE_TIMEOUT_MS,
        given => given,
    };
    let patience = is_patient.then(|| Duration::from_milliseconds(u64::from(milliseconds)));
    handle.end_callbacks();
    instance.with_engine(|engine| engine.leave(handle, patience));
    let (count, is_late) = handle.wait_over();
    if let Some(lost) = NonNull::new(lost) {
        // SAFETY: Not NULL, so the caller says that it can be written.
        unsafe { lost.write(count) };
    }
    // SAFETY: `kcgcs_join` made it by `KBox::into_raw`; the caller gives it back once, and nobody borrows it any more.
    drop(unsafe { KBox::from_raw(group.cast::<Group>()) });
    match (count > 0 && is_patient, is_late) {
        (false, _) => 0,
        (true, true) => ETIMEDOUT.to_errno(),
        (true, false) => ENOTCONN.to_errno(),
    }
}

/// Documented in the header.
///
/// # Safety
///
/// `group` comes from `kcgcs_join`, `data` is `length` bytes.
#[no_mangle]
unsafe extern "C" fn kcgcs_multicast(
    group: *mut ffi::kcgcs_group,
    data: *const c_void,
    length: usize,
    order: c_uint,
    gfp: bindings::gfp_t,
) -> c_int {
    from_result(|| {
        // SAFETY: The caller says that it comes from `kcgcs_join` and stays during the call.
        let group = unsafe { borrow(group) }.ok_or(EINVAL)?;
        let default = group.handle.properties.default_order;
        let order = order_of_number(order, default).ok_or(EINVAL)?;
        if length > MESSAGE_BYTES_MAX {
            return Err(EMSGSIZE);
        }
        let bytes = match NonNull::new(data.cast_mut().cast::<u8>()) {
            // SAFETY: The caller says that there are so many bytes, which stay during the call.
            Some(data) => unsafe { core::slice::from_raw_parts(data.as_ptr(), length) },
            None if length == 0 => &[],
            None => return Err(EINVAL),
        };
        if group.instance.is_stopping() {
            return Err(ESHUTDOWN);
        }
        let payload = copy(bytes, gfp)?;
        group.handle.submit(order, payload)?;
        Ok(0)
    })
}

/// Copy a message. Sleep only if the caller's flags allow it, and start input and output only if they allow that too.
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

/// Copy a message in a context that may not sleep. A message that is then refused is freed in that context too, where
/// only physically contiguous memory may be freed.
fn copy_atomically(bytes: &[u8]) -> Result<BoundedVec<u8>> {
    let mut copy = KVec::with_capacity(bytes.len(), GFP_ATOMIC | __GFP_NOWARN)?;
    copy.extend_from_slice(bytes, GFP_ATOMIC | __GFP_NOWARN)?;
    let (bytes, length, capacity) = copy.into_raw_parts();
    // SAFETY: The parts are those of a whole vector. Its memory is from `kmalloc()`. The allocator of `KVVec` takes its
    // memory from `kmalloc()` or `vmalloc()` and tells the two apart when it frees.
    Ok(BoundedVec::from_vector(unsafe {
        KVVec::from_raw_parts(bytes, length, capacity)
    }))
}

/// Documented in the header.
///
/// # Safety
///
/// `group` comes from `kcgcs_join`, `result` can be written.
#[no_mangle]
unsafe extern "C" fn kcgcs_self(group: *const ffi::kcgcs_group, result: *mut Member) -> c_int {
    from_result(|| {
        // SAFETY: The caller says that it comes from `kcgcs_join` and stays during the call.
        let group = unsafe { borrow(group) }.ok_or(EINVAL)?;
        let own = group.handle.own()?;
        let result = NonNull::new(result).ok_or(EINVAL)?;
        // SAFETY: The caller says that the place can be written.
        unsafe { result.write(own) };
        Ok(0)
    })
}

/// Documented in the header.
///
/// # Safety
///
/// `group` comes from `kcgcs_join`.
#[no_mangle]
unsafe extern "C" fn kcgcs_view_get(group: *mut ffi::kcgcs_group) -> *const View {
    // SAFETY: The caller says that it comes from `kcgcs_join` and stays during the call.
    match unsafe { borrow(group) }.and_then(|group| group.handle.view()) {
        Some(view) => ViewRecord::into_foreign(view),
        None => core::ptr::null(),
    }
}

/// Documented in the header.
///
/// # Safety
///
/// `view` comes from `kcgcs_view_get` and is given back once, or is NULL.
#[no_mangle]
unsafe extern "C" fn kcgcs_view_put(view: *const View) {
    if !view.is_null() {
        // SAFETY: Not NULL, so the caller says that it comes from `kcgcs_view_get`, which got it from `into_foreign`,
        // and is given back once.
        drop(unsafe { ViewRecord::from_foreign(view) });
    }
}

/// Documented in the header.
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
        // SAFETY: The caller says that the notifier stays until it was removed or the node is gone.
        unsafe { running_node(net)?.notifier.register(block)? };
        Ok(0)
    })
}

/// Documented in the header.
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
        registry::find(net).ok_or(ENOENT)?.notifier.unregister(block)?;
        Ok(0)
    })
}

/// Documented in the header.
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
        // SAFETY: The caller says that the handler may be called until it was unregistered or the node is gone.
        unsafe { running_node(net)?.register_fence(ops, context)? };
        Ok(0)
    })
}

/// Documented in the header.
///
/// # Safety
///
/// `net` is a namespace.
#[no_mangle]
unsafe extern "C" fn kcgcs_unregister_fence(net: *mut bindings::net) -> c_int {
    might_sleep();
    from_result(|| {
        let net = NonNull::new(net).ok_or(EINVAL)?;
        registry::find(net).ok_or(ENOENT)?.unregister_fence()?;
        Ok(0)
    })
}
