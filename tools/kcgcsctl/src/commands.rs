// SPDX-License-Identifier: GPL-2.0

//! What each command does.

mod administration;
mod join;
mod node;
mod watch;

use crate::arguments::{Arguments, Command};
use crate::failure::Failure;
use crate::namespace;

/// Runs the command that was asked for.
///
/// # Errors
///
/// Whatever kept it from being done.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(name) = &arguments.netns {
        namespace::enter(name)?;
    }
    let json = arguments.json;
    match &arguments.command {
        Command::Up(up) => node::up(up, json),
        Command::Down => node::down(json),
        Command::Status => node::status(json),
        Command::View => node::view(json),
        Command::Delays => node::delays(json),
        Command::Groups => node::groups(json),
        Command::Join(wishes) => join::run(wishes, json),
        Command::Watch(wishes) => watch::run(wishes, json),
        Command::Evict(wishes) => administration::evict(wishes, json),
        Command::Pin(wishes) => administration::pin(wishes.seconds, json),
        Command::Unpin => administration::pin(0, json),
    }
}
