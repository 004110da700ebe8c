// SPDX-License-Identifier: GPL-2.0

//! Entering a network namespace by the name that `ip netns` gave it.

use std::fs::File;
use std::path::PathBuf;

use nix::sched::{setns, CloneFlags};

use crate::failure::Failure;

const FOLDER: &str = "/run/netns";

/// Moves this thread, the only one of the tool, into the namespace called `name`.
///
/// # Errors
///
/// No such name, or no permission to enter.
pub fn enter(name: &str) -> Result<(), Failure> {
    let path = path_of(name)?;
    let shown = path.display().to_string();
    let file = File::open(&path).map_err(|error| Failure::call(shown.clone(), error))?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|errno| Failure::call(shown, errno))
}

fn path_of(name: &str) -> Result<PathBuf, Failure> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(Failure::Usage(format!(
            "{name:?} is no name of a network namespace (see: ip netns list)"
        )));
    }
    Ok(PathBuf::from(FOLDER).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder() {
        for name in ["", ".", "..", "a/b", "/etc/passwd"] {
            assert!(path_of(name).is_err(), "{name}");
        }
        assert_eq!(path_of("n1").unwrap(), PathBuf::from("/run/netns/n1"));
    }
}
