// SPDX-License-Identifier: GPL-2.0

//! The command line.

use clap::{Args, Parser, Subcommand};

/// Start, stop and show the node of a network namespace, and join groups.
#[derive(Debug, Parser)]
#[command(name = "kcgcsctl", version, about)]
pub struct Arguments {
    /// Work in this network namespace, a name that `ip netns list` shows
    #[arg(long, value_name = "NAME", global = true)]
    pub netns: Option<String>,

    /// Write JSON, one object a line. Events are in the trace format
    #[arg(long, global = true)]
    pub json: bool,

    /// The command
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the node
    Up(Up),
    /// Leave the cluster and stop the node
    Down,
    /// Show the node: identity, state, view, settings and counters
    Status,
    /// Show the current cluster view, one line for each member
    View,
    /// Show how late heartbeats are: those from each neighbour of the node, and those to it
    Delays,
    /// Show the groups that the node knows
    Groups,
    /// Join a group: print its views and messages, and multicast each line of standard input
    Join(Join),
    /// Print changes of the node's state and view as they happen
    Watch(Watch),
    /// Evict a node from the cluster, and wait for the view without it
    Evict(Evict),
    /// Pin the view for a while: nobody joins, and a node that falls silent is not excluded
    Pin(Pin),
    /// End a pin, whichever node it was asked of
    Unpin,
}

/// The arguments of `evict`.
#[derive(Debug, Args)]
pub struct Evict {
    /// The number of the node to evict. It stays out until it is stopped and started again
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub node: u16,

    /// Fail if the view still has the node after this many milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub timeout_ms: u64,
}

/// The arguments of `pin`.
#[derive(Debug, Args)]
pub struct Pin {
    /// Seconds after which the pin ends by itself
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
}

/// The arguments of `up`.
#[derive(Debug, Args)]
pub struct Up {
    /// The name of the cluster
    #[arg(long)]
    pub cluster: String,

    /// The number of this node, 1 or more
    #[arg(long)]
    pub node_id: u16,

    /// The address of this node: IP, IP:port or [IP]:port
    #[arg(long)]
    pub address: String,

    /// Addresses of nodes that may know the cluster, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS,...")]
    pub peers: Vec<String>,

    /// The failure detector: ring or gossip, the same on all nodes
    #[arg(long, value_name = "NAME")]
    pub detector: Option<String>,

    /// Change a setting from its default; may be repeated. `status` lists the settings
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, u64)>,
}

/// The arguments of `join`.
#[derive(Debug, Args)]
pub struct Join {
    /// The name of the group, 1 to 32 bytes
    pub group: String,

    /// Bytes of records that may wait to be read, 4096 to 67108864. Records beyond are lost
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    pub queue_bytes: u32,

    /// Leave when standard input has ended and all of its lines were delivered here
    #[arg(long)]
    pub leave_at_end: bool,

    /// Leave when this many messages were delivered
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,

    /// Fail if the command has not ended by itself after this many milliseconds
    #[arg(long, value_name = "MS")]
    pub timeout_ms: Option<u64>,

    /// With --json: write the text of messages too
    #[arg(long)]
    pub text: bool,
}

/// The arguments of `watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// Milliseconds between two looks at the node
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub interval_ms: u64,

    /// End when the node is in a view of this many members that has a quorum
    #[arg(long, value_name = "N")]
    pub until_members: Option<usize>,

    /// Fail if the command has not ended by itself after this many milliseconds
    #[arg(long, value_name = "MS")]
    pub timeout_ms: Option<u64>,
}

fn parse_setting(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    if name.is_empty() {
        return Err(format!("{text:?} has no name before the `=`"));
    }
    let value = value
        .parse()
        .map_err(|error| format!("the value {value:?} is not a whole number from 0: {error}"))?;
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn all_arguments_of_up_are_read() {
        let arguments = Arguments::try_parse_from([
            "kcgcsctl",
            "up",
            "--cluster",
            "demo",
            "--node-id",
            "3",
            "--address",
            "10.0.0.3",
            "--peers",
            "10.0.0.1,10.0.0.2:99",
            "--detector",
            "gossip",
            "--set",
            "rings=2",
            "--set",
            "coordinators=3",
            "--netns",
            "n3",
        ])
        .unwrap();
        assert_eq!(arguments.netns.as_deref(), Some("n3"));
        let Command::Up(up) = arguments.command else {
            panic!("the command is not up");
        };
        assert_eq!(up.node_id, 3);
        assert_eq!(up.detector.as_deref(), Some("gossip"));
        assert_eq!(up.peers, ["10.0.0.1", "10.0.0.2:99"]);
        let wanted = [("rings".to_owned(), 2), ("coordinators".to_owned(), 3)];
        assert_eq!(up.settings, wanted);
    }

    #[test]
    fn a_setting_needs_a_name_and_a_number() {
        for text in ["rings", "=3", "rings=", "rings=-1", "rings=three"] {
            assert!(parse_setting(text).is_err(), "{text}");
        }
        assert_eq!(parse_setting("rings=3"), Ok(("rings".to_owned(), 3)));
    }
}
