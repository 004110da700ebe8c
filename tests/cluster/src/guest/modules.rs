// SPDX-License-Identifier: GPL-2.0

//! Loading and unloading the modules under test, and what they say of themselves in sysfs.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::time::Duration;

use nix::errno::Errno;
use nix::kmod::{delete_module, finit_module, DeleteModuleFlags, ModuleInitFlags};

use super::wait::wait_for;

/// Where the machine has our modules.
const FOLDER: &str = "/modules";
/// How long the last objects may take to go.
const GONE_LIMIT: Duration = Duration::from_secs(60);

/// Loads a module with parameters, as `insmod` does.
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

/// Unloads a module, as `rmmod` does: at once, or not at all.
pub fn unload(name: &str) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    delete_module(&name, DeleteModuleFlags::O_NONBLOCK)
}

/// Whether a module is loaded.
pub fn is_loaded(name: &str) -> bool {
    std::path::Path::new("/sys/module").join(name).exists()
}

/// Loads what a cluster needs: the module itself and the device.
pub fn load_both() -> Result<(), String> {
    load("kcgcs", "").map_err(|errno| format!("kcgcs.ko: {errno}"))?;
    load("kcgcs_device", "").map_err(|errno| format!("kcgcs_device.ko: {errno}"))
}

/// Unloads both, after the last object of theirs has gone.
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

/// How many objects of each kind kcgcs.ko has now.
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

/// Waits until kcgcs.ko has no objects.
pub fn wait_until_nothing_is_left() -> Result<(), String> {
    wait_for("nothing is left", GONE_LIMIT, || {
        let objects = live_objects()?;
        if !objects.is_empty() && objects.values().all(|count| *count == 0) {
            Ok(())
        } else {
            Err(format!("{objects:?}"))
        }
    })
}
