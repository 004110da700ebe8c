// SPDX-License-Identifier: GPL-2.0

//! The command line.

use clap::{Args, Parser, Subcommand};

/// Starts, stops and shows the node of a network namespace, and joins groups.
#[derive(Debug, Parser)]
#[command(name = "kcgcsctl", version, about)]
pub struct Arguments {
    /// Work in this network namespace (a name of `ip netns list`)
    #[arg(long, value_name = "NAME", global = true)]
    pub netns: Option<String>,

    /// Write JSON, one object a line; events are in the trace format
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a node
    Up(Up),
    /// Leave the cluster and stop the node
    Down,
    /// Show the node: identity, state, settings and counters
    Status,
    /// Show the present cluster view
    View,
    /// Show how late the heartbeats of the node's neighbours come, and those to them are sent
    Delays,
    /// Show the groups that the node knows
    Groups,
    /// Be a member of a group: prints views and messages, multicasts the lines of standard input
    Join(Join),
    /// Print changes of the node's state and views as they come
    Watch(Watch),
    /// Put a node out of the cluster: it stays out until it is started anew
    Evict(Evict),
    /// Let no view be agreed on for a while, whatever goes silent or wants to come
    Pin(Pin),
    /// End what pin has begun, at this node or another one
    Unpin,
}

/// Whom to put out.
#[derive(Debug, Args)]
pub struct Evict {
    /// The node's number
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub node: u16,

    /// Fail if the view still has it after so many milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub timeout_ms: u64,
}

/// For how long.
#[derive(Debug, Args)]
pub struct Pin {
    /// Seconds after which views are agreed on again by themselves
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
}

/// What a node starts with.
#[derive(Debug, Args)]
pub struct Up {
    /// The cluster's name
    #[arg(long)]
    pub cluster: String,

    /// The node's number, from 1
    #[arg(long)]
    pub node_id: u16,

    /// The node's own address: IP, IP:port or [IP]:port
    #[arg(long)]
    pub address: String,

    /// Addresses of nodes to ask, comma separated
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS,...")]
    pub peers: Vec<String>,

    /// How silence is found out: ring or gossip, the same on all nodes
    #[arg(long, value_name = "NAME")]
    pub detector: Option<String>,

    /// A setting other than its default; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, u64)>,
}

/// How to be a member.
#[derive(Debug, Args)]
pub struct Join {
    /// The group's name, at most 32 bytes
    pub group: String,

    /// Bytes that may wait to be read, 4096 to 67108864
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    pub queue_bytes: u32,

    /// Leave when standard input has ended and all of it was delivered here
    #[arg(long)]
    pub leave_at_end: bool,

    /// Leave after this many messages
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,

    /// Fail if it has not ended by itself after so many milliseconds
    #[arg(long, value_name = "MS")]
    pub timeout_ms: Option<u64>,

    /// With --json: write the messages' text too
    #[arg(long)]
    pub text: bool,
}

/// What to watch.
#[derive(Debug, Args)]
pub struct Watch {
    /// Milliseconds between two looks
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub interval_ms: u64,

    /// End when the node has a quorum in a view of this many members
    #[arg(long, value_name = "N")]
    pub until_members: Option<usize>,

    /// Fail if it has not ended by itself after so many milliseconds
    #[arg(long, value_name = "MS")]
    pub timeout_ms: Option<u64>,
}

fn parse_setting(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is needed")?;
    if name.is_empty() {
        return Err("the name is missing".to_owned());
    }
    let value = value
        .parse()
        .map_err(|error| format!("{value:?} is no number: {error}"))?;
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
    fn a_whole_start_is_read() {
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
            panic!("not a start");
        };
        assert_eq!(up.node_id, 3);
        assert_eq!(up.detector.as_deref(), Some("gossip"));
        assert_eq!(up.peers, ["10.0.0.1", "10.0.0.2:99"]);
        let wanted = [("rings".to_owned(), 2), ("coordinators".to_owned(), 3)];
        assert_eq!(up.settings, wanted);
    }

    #[test]
    fn settings_need_a_name_and_a_number() {
        for text in ["rings", "=3", "rings=", "rings=-1", "rings=three"] {
            assert!(parse_setting(text).is_err(), "{text}");
        }
        assert_eq!(parse_setting("rings=3"), Ok(("rings".to_owned(), 3)));
    }
}
