// SPDX-License-Identifier: GPL-2.0

//! The commands.

mod administration;
mod join;
mod node;
mod notice;
mod watch;

use crate::arguments::{Arguments, Command};
use crate::failure::Failure;
use crate::namespace;

/// Run the command of the command line.
///
/// # Errors
///
/// The reason why the command failed.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(name) = &arguments.netns {
        namespace::enter(name)?;
    }
    let json = arguments.json;
    match &arguments.command {
        Command::Up(arguments) => node::up(arguments, json),
        Command::Down => node::down(json),
        Command::Status => node::status(json),
        Command::View => node::view(json),
        Command::Delays => node::delays(json),
        Command::Groups => node::groups(json),
        Command::Join(arguments) => join::run(arguments, json),
        Command::Watch(arguments) => watch::run(arguments, json),
        Command::Evict(arguments) => administration::evict(arguments, json),
        Command::Pin(arguments) => administration::pin(arguments.seconds, json),
        Command::Unpin => administration::pin(0, json),
    }
}
