// SPDX-License-Identifier: GPL-2.0

//! Load and unload the modules under test, and read what they show in sysfs.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::time::Duration;

use nix::errno::Errno;
use nix::kmod::{delete_module, finit_module, DeleteModuleFlags, ModuleInitFlags};

use super::wait::wait_for;

/// The folder of our modules in the machine.
const FOLDER: &str = "/modules";
/// The longest time until the last objects are released.
const GONE_LIMIT: Duration = Duration::from_secs(60);

/// Load a module with parameters, as `insmod` does.
pub fn load(name: &str, parameters: &str) -> Result<(), Errno> {
    let path = format!("{FOLDER}/{name}.ko");
    let file = File::open(path).map_err(|error| {
        error
            .raw_os_error()
            .map_or(Errno::UnknownErrno, Errno::from_raw)
    })?;
    let parameters = CString::new(parameters).map_err(|_| Errno::EINVAL)?;
    finit_module(&file, &parameters, ModuleInitFlags::empty())
}

/// Unload a module, as `rmmod` does: at once, or not at all.
pub fn unload(name: &str) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    delete_module(&name, DeleteModuleFlags::O_NONBLOCK)
}

/// Whether a module is loaded.
pub fn is_loaded(name: &str) -> bool {
    std::path::Path::new("/sys/module").join(name).exists()
}

/// Load the modules that a cluster needs: kcgcs.ko and kcgcs_device.ko.
pub fn load_both() -> Result<(), String> {
    load("kcgcs", "").map_err(|errno| format!("kcgcs.ko: {errno}"))?;
    load("kcgcs_device", "").map_err(|errno| format!("kcgcs_device.ko: {errno}"))
}

/// Unload both, after their last object has been released.
pub fn unload_both() -> Result<(), String> {
    wait_until_nothing_is_left()?;
    unload("kcgcs_device").map_err(|errno| format!("unload kcgcs_device: {errno}"))?;
    unload("kcgcs").map_err(|errno| format!("unload kcgcs: {errno}"))
}

/// A parameter of kcgcs.ko as sysfs shows it.
pub fn parameter(name: &str) -> Result<String, String> {
    let path = format!("/sys/module/kcgcs/parameters/{name}");
    std::fs::read_to_string(&path)
        .map(|text| text.trim().to_string())
        .map_err(|error| format!("{path}: {error}"))
}

/// The number of objects of each kind that kcgcs.ko has now.
pub fn live_objects() -> Result<BTreeMap<String, i64>, String> {
    let text = parameter("live_objects")?;
    text.split_whitespace()
        .map(|word| {
            let (kind, count) = word
                .split_once('=')
                .ok_or_else(|| format!("live_objects: {word}"))?;
            let count = count
                .parse()
                .map_err(|error| format!("live_objects: {word}: {error}"))?;
            Ok((kind.to_string(), count))
        })
        .collect()
}

/// Wait until kcgcs.ko has no objects.
pub fn wait_until_nothing_is_left() -> Result<(), String> {
    wait_for("kcgcs.ko has no objects", GONE_LIMIT, || {
        let objects = live_objects()?;
        if !objects.is_empty() && objects.values().all(|count| *count == 0) {
            Ok(())
        } else {
            Err(format!("{objects:?}"))
        }
    })
}
