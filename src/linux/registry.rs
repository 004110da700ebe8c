// SPDX-License-Identifier: GPL-2.0

//! Which network namespace has a node, and what happens when a namespace goes away.

use super::{
    ffi,
    instance::Instance,
    settings::{
        Complaint,
        Settings, //
    }, //
};
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
    // SAFETY: `init` is called when the module is loaded, before anything else of it.
    unsafe(uninit) static INSTANCES: Mutex<KVec<Arc<Instance>>> = KVec::new();
}

/// Makes the registry usable.
///
/// # Safety
///
/// Called once, before all other functions of this file.
pub(super) unsafe fn init() {
    // SAFETY: The caller promises just this.
    unsafe { INSTANCES.init() }
}

/// The node of a namespace.
///
/// Context: Process context. May sleep.
pub(super) fn find(net: NonNull<bindings::net>) -> Option<Arc<Instance>> {
    INSTANCES
        .lock()
        .iter()
        .find(|instance| instance.net == net)
        .cloned()
}

/// Forgets a node, which was finished.
fn remove(instance: &Arc<Instance>) {
    INSTANCES
        .lock()
        .retain(|known| !Arc::ptr_eq(known, instance));
}

/// Gives the memory of the empty list back: the module is unloaded.
pub(super) fn clear() {
    *INSTANCES.lock() = KVec::new();
}

/// Starts a node in a namespace, which stays during the call.
///
/// Context: Process context. May sleep.
pub(super) fn start(net: NonNull<bindings::net>, settings: Settings) -> Result<(), Complaint> {
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

/// Stops the node of a namespace, which stays during the call: it leaves the cluster first. Until it
/// is finished it is still found, so that who unregisters a notifier waits for a running call of it.
///
/// Context: Process context. May sleep for a second.
pub(super) fn stop(net: NonNull<bindings::net>) -> Result<(), Complaint> {
    let instance = find(net).ok_or_else(no_node)?;
    if !instance.begin_stop() {
        return Err(Complaint::new(
            EBUSY,
            format_args!("the node of this network namespace is being stopped"),
        ));
    }
    instance.begin_leave();
    instance.wait_left();
    instance.close();
    // SAFETY: The function has no requirements but process context.
    unsafe { bindings::synchronize_rcu() };
    instance.finish();
    remove(&instance);
    Ok(())
}

/// That there is no node in a namespace.
pub(super) fn no_node() -> Complaint {
    Complaint::new(ENODEV, format_args!("no node in this network namespace"))
}

/// All nodes say good-bye; waits until they are let go. Without memory for the list of them they go
/// without a good-bye, when their namespaces are told that the module goes.
///
/// Context: Process context. May sleep for a second.
pub(super) fn leave_all() {
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

/// All nodes that there are now.
fn all() -> Result<KVec<Arc<Instance>>> {
    let instances = INSTANCES.lock();
    let mut list = KVec::with_capacity(instances.len(), GFP_KERNEL)?;
    for instance in instances.iter() {
        list.push(instance.clone(), GFP_KERNEL)?;
    }
    Ok(list)
}

ffi::as_declared!(kcgcs_namespace_pre_exit, kcgcs_namespace_exit);

/// A namespace goes away: its node says good-bye, and does not receive any more.
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
    // Nobody can wait for the cluster here: the others find a node that says that it leaves.
    instance.begin_leave();
    instance.close();
}

/// A namespace goes away: an RCU grace period has passed since the call above.
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
