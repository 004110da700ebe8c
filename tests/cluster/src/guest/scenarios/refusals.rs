// SPDX-License-Identifier: GPL-2.0

//! The requests that netlink refuses, with their error numbers and messages, among them those of unprivileged callers.

use std::os::unix::process::CommandExt;
use std::process::Command;

use kcgcsctl::device::Device;
use kcgcsctl::failure::Failure;
use kcgcsctl::netlink::{Connection, StartRequest};
use nix::errno::Errno;

use super::Test;
use crate::guest::modules;
use crate::guest::network::Network;

/// A user without privileges.
const NOBODY: u32 = 65534;

/// The tests of the suite `refusals`.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("every_refusal_states_its_reason", |_| {
            with_modules(every_refusal)
        }),
        Test::new("an_unprivileged_user_cannot_start_or_stop_a_node", |_| {
            with_modules(unprivileged)
        }),
        Test::new("a_group_cannot_be_joined_without_a_node", |_| {
            with_modules(join_without_node)
        }),
    ]
}

fn with_modules(test: fn(&Network) -> Result<(), String>) -> Result<(), String> {
    modules::load_both()?;
    let network = Network::new(1)?;
    let outcome = test(&network);
    drop(network);
    modules::unload_both()?;
    outcome
}

fn request() -> StartRequest {
    StartRequest {
        cluster: "refusals".to_string(),
        node_id: 1,
        address: "10.77.0.1".to_string(),
        peers: vec!["10.77.0.1".to_string()],
        settings: Vec::new(),
        detector: None,
    }
}

fn expect(
    what: &str,
    outcome: Result<(), Failure>,
    wanted: Errno,
    words: &str,
) -> Result<(), String> {
    match outcome {
        Err(Failure::Refused {
            errno,
            message: Some(message),
        }) if errno == wanted && message.contains(words) => Ok(()),
        other => Err(format!("{what}: {other:?}, not {wanted:?} with {words:?}")),
    }
}

fn every_refusal(network: &Network) -> Result<(), String> {
    let mut connection = network
        .namespace(1)?
        .run(|| Connection::open().map_err(|failure| failure.to_string()))?;
    let mut refused = |change: &dyn Fn(&mut StartRequest), words: &str| {
        let mut wishes = request();
        change(&mut wishes);
        expect(words, connection.start(&wishes), Errno::EINVAL, words)
    };
    refused(
        &|w| w.address = "here".into(),
        "address=here: IP, IP:port or [IP]:port",
    )?;
    refused(
        &|w| w.address = String::new(),
        "address=: IP, IP:port or [IP]:port",
    )?;
    refused(&|w| w.node_id = 0, "node_id=0: 1 to 65535 is allowed")?;
    refused(&|w| w.cluster = String::new(), "cluster=: 1 to 32 bytes")?;
    refused(&|w| w.peers = vec!["fd00::1".into()], "same IP version")?;
    refused(
        &|w| w.settings = vec![("rings".into(), 9)],
        "rings=9: 1 to 8 is allowed",
    )?;
    refused(
        &|w| w.settings = vec![("rings".into(), u64::MAX)],
        "rings=18446744073709551615 is too large",
    )?;
    refused(
        &|w| w.settings = vec![("ring".into(), 1)],
        "ring: no such setting",
    )?;
    refused(
        &|w| w.detector = Some("rings".into()),
        "detector=rings: ring or gossip is allowed",
    )?;

    let no_node = "no node in this network namespace";
    expect("stop", connection.stop(), Errno::ENODEV, no_node)?;
    expect("node", connection.node().map(drop), Errno::ENODEV, no_node)?;
    expect("view", connection.view().map(drop), Errno::ENODEV, no_node)?;
    expect(
        "delays",
        connection.delays().map(drop),
        Errno::ENODEV,
        no_node,
    )?;
    expect(
        "groups",
        connection.groups().map(drop),
        Errno::ENODEV,
        no_node,
    )?;

    let mut elsewhere = request();
    elsewhere.address = "192.0.2.1".to_string();
    expect(
        "another machine's address",
        connection.start(&elsewhere),
        Errno::EADDRNOTAVAIL,
        "cannot be bound",
    )?;
    connection
        .start(&request())
        .map_err(|failure| failure.to_string())?;
    expect(
        "a second start",
        connection.start(&request()),
        Errno::EEXIST,
        "this network namespace has a node already",
    )?;
    connection.stop().map_err(|failure| failure.to_string())
}

/// Run kcgcsctl as an unprivileged user. Returns its exit code and its message.
fn as_nobody(network: &Network, arguments: &[&str]) -> Result<(Option<i32>, String), String> {
    network.namespace(1)?.run(|| {
        let output = Command::new("/bin/kcgcsctl")
            .args(arguments)
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .map_err(|error| format!("kcgcsctl: {error}"))?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.code(), words))
    })
}

fn unprivileged(network: &Network) -> Result<(), String> {
    let up = [
        "up",
        "--cluster",
        "c",
        "--node-id",
        "1",
        "--address",
        "10.77.0.1",
    ];
    let denied = |arguments: &[&str]| {
        let (code, words) = as_nobody(network, arguments)?;
        if code == Some(1) && words.contains("Operation not permitted") {
            Ok(())
        } else {
            Err(format!("{arguments:?}: {code:?}, {words}"))
        }
    };
    denied(&up)?;
    let mut connection = network.namespace(1)?.run(|| {
        let mut connection = Connection::open().map_err(|failure| failure.to_string())?;
        let started = connection.start(&request());
        started.map_err(|failure| failure.to_string())?;
        Ok(connection)
    })?;
    denied(&["down"])?;
    // Every user may ask for the state.
    for question in ["status", "view", "groups"] {
        let (code, words) = as_nobody(network, &[question])?;
        if code != Some(0) {
            return Err(format!("{question}: {code:?}, {words}"));
        }
    }
    let (code, words) = as_nobody(network, &["join", "demo"])?;
    if code != Some(1) || !words.contains("Permission denied") {
        return Err(format!("join: {code:?}, {words}"));
    }
    connection.stop().map_err(|failure| failure.to_string())
}

fn join_without_node(network: &Network) -> Result<(), String> {
    let outcome = network
        .namespace(1)?
        .run(|| Ok(Device::join("demo", 4096).map(drop)))?;
    expect(
        "join",
        outcome,
        Errno::ENETDOWN,
        "no node in this network namespace",
    )
}
