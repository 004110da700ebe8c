// SPDX-License-Identifier: GPL-2.0

//! Entering a network namespace by its name in `ip netns`.

use std::fs::File;
use std::path::PathBuf;

use nix::sched::{setns, CloneFlags};

use crate::failure::Failure;

const FOLDER: &str = "/run/netns";

/// Move this thread, the only one of the tool, into the network namespace `name`.
///
/// # Errors
///
/// There is no such namespace, or the caller may not enter it.
pub fn enter(name: &str) -> Result<(), Failure> {
    let path = path_of(name)?;
    let shown = format!("network namespace {}", path.display());
    let file = File::open(&path).map_err(|error| Failure::call(shown.clone(), error))?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|errno| Failure::call(shown, errno))
}

fn path_of(name: &str) -> Result<PathBuf, Failure> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(Failure::Usage(format!(
            "{name:?} is not the name of a network namespace: `ip netns list` lists them"
        )));
    }
    Ok(PathBuf::from(FOLDER).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_the_folder() {
        for name in ["", ".", "..", "a/b", "/etc/passwd"] {
            assert!(path_of(name).is_err(), "{name}");
        }
        assert_eq!(path_of("n1").unwrap(), PathBuf::from("/run/netns/n1"));
    }
}
