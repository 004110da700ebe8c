// SPDX-License-Identifier: GPL-2.0

//! The nodes of all network namespaces, and what happens when a namespace goes away (`kcgcs_namespace.c`).

use super::{
    instance::Instance,
    settings::{
        Complaint,
        Settings, //
    }, //
};
use crate::linux::ffi;
use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*,
    sync::{
        global_lock,
        Arc, //
    }, //
};

global_lock! {
    // SAFETY: The module calls `init` when it is loaded, before it uses the list.
    unsafe(uninit) static INSTANCES: Mutex<KVec<Arc<Instance>>> = KVec::new();
}

/// Make the registry usable.
///
/// # Safety
///
/// Called once, before all other functions of this file.
pub(crate) unsafe fn init() {
    // SAFETY: The caller promises to call this once, before the list is used.
    unsafe { INSTANCES.init() }
}

/// The node of a namespace.
///
/// Context: Process context. May sleep.
pub(crate) fn find(net: NonNull<bindings::net>) -> Option<Arc<Instance>> {
    INSTANCES
        .lock()
        .iter()
        .find(|instance| instance.net == net)
        .cloned()
}

/// Remove a node that was finished.
fn remove(instance: &Arc<Instance>) {
    INSTANCES
        .lock()
        .retain(|known| !Arc::ptr_eq(known, instance));
}

/// Free the memory of the empty list: the module is unloaded.
pub(crate) fn clear() {
    *INSTANCES.lock() = KVec::new();
}

/// Start a node in a namespace, which stays during the call.
///
/// Context: Process context. May sleep.
pub(crate) fn start(net: NonNull<bindings::net>, settings: Settings) -> Result<(), Complaint> {
    let mut instances = INSTANCES.lock();
    if instances.iter().any(|instance| instance.net == net) {
        return Err(Complaint::new(
            EEXIST,
            format_args!("this network namespace has a node already"),
        ));
    }
    instances
        .reserve(1, GFP_KERNEL)
        .map_err(|_| Complaint::out_of_memory())?;
    let instance = Instance::start(net, settings)?;
    instances
        .push(instance, GFP_KERNEL)
        .map_err(|_| Complaint::out_of_memory())
}

/// Stop the node of a namespace, which stays during the call. The node leaves the cluster first. It stays in the
/// registry until it is finished, so that a caller who unregisters a notifier waits for a running call of it.
///
/// Context: Process context. May sleep for a second.
pub(crate) fn stop(net: NonNull<bindings::net>) -> Result<(), Complaint> {
    let instance = find(net).ok_or_else(no_node)?;
    if !instance.begin_stop() {
        return Err(Complaint::new(
            EBUSY,
            format_args!("the node of this network namespace is being stopped already"),
        ));
    }
    instance.begin_leave();
    instance.wait_left();
    instance.close();
    // SAFETY: The function only requires process context, which this function requires of its caller too.
    unsafe { bindings::synchronize_rcu() };
    instance.finish();
    remove(&instance);
    Ok(())
}

/// The complaint that a namespace has no node.
pub(crate) fn no_node() -> Complaint {
    Complaint::new(ENODEV, format_args!("no node in this network namespace"))
}

/// Have all nodes leave their clusters, and wait for that. Without memory for a list of the nodes they are stopped
/// without leaving, when the module unregisters from their namespaces.
///
/// Context: Process context. May sleep for a second.
pub(crate) fn leave_all() {
    let Ok(instances) = all() else {
        return;
    };
    for instance in &instances {
        instance.begin_leave();
    }
    for instance in &instances {
        instance.wait_left();
    }
}

/// The nodes of all namespaces.
fn all() -> Result<KVec<Arc<Instance>>> {
    let instances = INSTANCES.lock();
    let mut list = KVec::with_capacity(instances.len(), GFP_KERNEL)?;
    for instance in instances.iter() {
        list.push(instance.clone(), GFP_KERNEL)?;
    }
    Ok(list)
}

ffi::as_declared!(kcgcs_namespace_pre_exit, kcgcs_namespace_exit);

/// Send the leave request of a node whose namespace goes away, and close its socket.
///
/// # Safety
///
/// `net` is a network namespace that goes away.
#[no_mangle]
unsafe extern "C" fn kcgcs_namespace_pre_exit(net: *mut bindings::net) {
    let Some(instance) = NonNull::new(net).and_then(find) else {
        return;
    };
    instance.begin_stop();
    // Nobody can wait for the answer here. The leave request is on its way to the other nodes.
    instance.begin_leave();
    instance.close();
}

/// Finish a node whose namespace goes away, an RCU grace period after [`kcgcs_namespace_pre_exit`].
///
/// # Safety
///
/// `net` is a network namespace that goes away.
#[no_mangle]
unsafe extern "C" fn kcgcs_namespace_exit(net: *mut bindings::net) {
    if let Some(instance) = NonNull::new(net).and_then(find) {
        instance.finish();
        remove(&instance);
    }
}
