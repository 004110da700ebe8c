// SPDX-License-Identifier: GPL-2.0

//! The parameters of kcgcs.ko: which values are refused and how, and what sysfs and `modinfo` show.

use std::os::unix::fs::PermissionsExt;

use nix::errno::Errno;

use super::{Surroundings, Test};
use crate::guest::kernel_log::KernelLog;
use crate::guest::modules;

/// A numeric parameter: its name, its limits and its default.
struct Setting {
    name: &'static str,
    min: u64,
    max: u64,
    default: u64,
}

const fn setting(name: &'static str, min: u64, max: u64, default: u64) -> Setting {
    Setting {
        name,
        min,
        max,
        default,
    }
}

/// The numeric parameters. With the defaults, `window_misses` is bounded by another parameter.
const SETTINGS: [Setting; 19] = [
    setting("heartbeat_interval_ms", 10, 10_000, 160),
    setting("heartbeat_slack_ms", 1, 10_000, 15),
    setting("window_heartbeats", 1, 32, 1),
    setting("window_misses", 1, 1, 1),
    setting("probe_count", 0, 10, 4),
    setting("probe_interval_ms", 1, 10_000, 25),
    setting("rings", 1, 8, 3),
    setting("confirmations", 1, 8, 2),
    setting("confirmation_timeout_ms", 1, 60_000, 500),
    setting("coordinators", 1, 9, 5),
    setting("batching_ms", 0, 10_000, 10),
    setting("retransmit_ms", 1, 10_000, 30),
    setting("takeover_ms", 1, 60_000, 100),
    setting("formation_ms", 1, 60_000, 250),
    setting("blocked_timeout_ms", 100, 3_600_000, 5000),
    setting("expected_nodes", 0, 1024, 0),
    setting("wait_for_all", 0, 1, 0),
    setting("even_split", 0, 1, 1),
    setting("partitionable", 0, 1, 0),
];

/// One of so many parameters is tried, on the stock kernel and on the debug kernel, where each load takes seconds. All
/// parameters are checked by the same code.
const EVERY: (usize, usize) = (1, 8);

const NODE: &str = "node_id=1 address=127.0.0.1";

/// The tests of the suite `parameters`.
pub(super) fn tests(surroundings: Surroundings) -> Vec<Test> {
    vec![
        Test::new(
            "each_wrong_number_is_refused_with_one_line",
            move |remarks| wrong_numbers(surroundings, remarks),
        ),
        Test::new("each_wrong_text_is_refused_with_one_line", |remarks| {
            wrong_texts(remarks)
        }),
        Test::new("each_smallest_and_largest_value_is_accepted", move |_| {
            edges(surroundings)
        }),
        Test::new("sysfs_shows_the_values_in_force", |_| sysfs()),
        Test::new("modinfo_shows_units_limits_and_defaults", |_| modinfo()),
    ]
}

/// Require that loading fails with EINVAL and logs one line that has all of `words`.
fn refused(parameters: &str, words: &[&str]) -> Result<(), String> {
    let mut log = KernelLog::from_now()?;
    match modules::load("kcgcs", parameters) {
        Err(Errno::EINVAL) => {}
        Err(other) => return Err(format!("{parameters}: {other}, not EINVAL")),
        Ok(()) => {
            modules::unload("kcgcs").map_err(|errno| errno.to_string())?;
            return Err(format!("{parameters}: was accepted"));
        }
    }
    let mut lines = log.read_new()?;
    lines.retain(|line| line.text.starts_with("kcgcs"));
    let [line] = lines.as_slice() else {
        return Err(format!("{parameters}: {} lines: {lines:?}", lines.len()));
    };
    match words.iter().find(|word| !line.text.contains(**word)) {
        Some(missing) => Err(format!("{parameters}: no {missing:?} in {:?}", line.text)),
        None => Ok(()),
    }
}

fn tried(surroundings: Surroundings) -> impl Iterator<Item = Setting> {
    SETTINGS.into_iter().step_by(surroundings.pick(EVERY))
}

fn wrong_numbers(surroundings: Surroundings, remarks: &mut Vec<String>) -> Result<(), String> {
    // At the first load the kernel logs that the module is out of tree.
    modules::load("kcgcs", "").map_err(|errno| errno.to_string())?;
    modules::unload("kcgcs").map_err(|errno| errno.to_string())?;
    let mut count = 0;
    for Setting { name, min, max, .. } in tried(surroundings) {
        let allowed = format!("{min} to {max} is allowed");
        let mut values = vec![
            (max + 1).to_string(),
            u32::MAX.to_string(),
            (u64::from(u32::MAX) + 1).to_string(),
            "-1".to_string(),
            "many".to_string(),
            "1.5".to_string(),
        ];
        if let Some(below) = min.checked_sub(1) {
            values.push(below.to_string());
        }
        for value in values {
            for node in ["", NODE] {
                refused(
                    &format!("{node} {name}={value}"),
                    &[&format!("{name}="), &value, &allowed],
                )?;
                count += 1;
            }
        }
    }
    for value in ["0", "65536", "-1", "one"] {
        refused(
            &format!("address=127.0.0.1 node_id={value}"),
            &["node_id=", value, "1 to 65535 is allowed"],
        )?;
        count += 1;
    }
    remarks.push(format!("{count} wrong numbers"));
    Ok(())
}

fn wrong_texts(remarks: &mut Vec<String>) -> Result<(), String> {
    let long = "c".repeat(33);
    let forms = "IP, IP:port or [IP]:port is allowed";
    let routed = "must be one machine's routed address";
    let cases: Vec<(String, Vec<&str>)> = vec![
        (
            format!("{NODE} cluster={long}"),
            vec!["cluster=", &long, "1 to 32 bytes are allowed"],
        ),
        (
            format!("cluster={long}"),
            vec!["cluster=", &long, "1 to 32 bytes are allowed"],
        ),
        (
            format!("{NODE} cluster="),
            vec!["cluster=", "1 to 32 bytes are allowed"],
        ),
        ("node_id=1".into(), vec!["address=", forms]),
        (
            "node_id=1 address=here".into(),
            vec!["address=", "here", forms],
        ),
        (
            "node_id=1 address=10.0.0.1:0".into(),
            vec!["address=", "10.0.0.1:0", "port 1 to 65535 is allowed"],
        ),
        (
            "node_id=1 address=10.0.0.1:65536".into(),
            vec!["address=", "10.0.0.1:65536", forms],
        ),
        (
            "node_id=1 address=0.0.0.0".into(),
            vec!["address=", "0.0.0.0", routed],
        ),
        (
            "node_id=1 address=224.0.0.1".into(),
            vec!["address=", "224.0.0.1", routed],
        ),
        (
            "node_id=1 address=fe80::1".into(),
            vec!["address=", "fe80::1", routed],
        ),
        (
            format!("{NODE} detector=tree"),
            vec!["detector=", "tree", "ring or gossip is allowed"],
        ),
        (
            "detector=".into(),
            vec!["detector=", "ring or gossip is allowed"],
        ),
        (
            format!("{NODE} peers=10.0.0.1,there"),
            vec!["peers=", "there", forms],
        ),
        (
            format!("{NODE} peers=10.0.0.1,,10.0.0.2"),
            vec!["peers=", forms],
        ),
        (
            format!("{NODE} peers=10.0.0.1,fd00::1"),
            vec!["peers=", "fd00::1", "same IP version as address"],
        ),
    ];
    for (parameters, words) in &cases {
        refused(parameters, words)?;
    }
    // An address of another machine is well formed, so the network refuses it, not the parameter check.
    let mut log = KernelLog::from_now()?;
    let elsewhere = modules::load("kcgcs", "node_id=1 address=192.0.2.1");
    if elsewhere != Err(Errno::EADDRNOTAVAIL) {
        return Err(format!("another machine's address: {elsewhere:?}"));
    }
    let lines = log.read_new()?;
    let ours = lines.iter().filter(|line| line.text.starts_with("kcgcs"));
    let ours: Vec<&str> = ours.map(|line| line.text.as_str()).collect();
    if ours.len() != 1 || !ours[0].contains("192.0.2.1") || !ours[0].contains("cannot be bound") {
        return Err(format!("another machine's address: {ours:?}"));
    }
    remarks.push(format!("{} wrong texts", cases.len() + 1));
    Ok(())
}

fn edges(surroundings: Surroundings) -> Result<(), String> {
    for Setting { name, min, max, .. } in tried(surroundings) {
        for value in [min, max] {
            let parameters = format!("{name}={value}");
            modules::load("kcgcs", &parameters)
                .map_err(|errno| format!("{parameters}: {errno}"))?;
            let shown = modules::parameter(name)?;
            modules::unload("kcgcs").map_err(|errno| format!("{parameters}: unload: {errno}"))?;
            if shown != value.to_string() {
                return Err(format!("{parameters}: sysfs shows {shown}"));
            }
        }
    }
    Ok(())
}

fn sysfs() -> Result<(), String> {
    let given = "cluster=blue node_id=7 address=127.0.0.1:6000 peers=127.0.0.1:6000 rings=2 detector=gossip";
    modules::load("kcgcs", given).map_err(|errno| format!("{given}: {errno}"))?;
    let outcome = compare_sysfs();
    modules::unload("kcgcs").map_err(|errno| format!("unload: {errno}"))?;
    outcome
}

fn compare_sysfs() -> Result<(), String> {
    let numbers = SETTINGS.iter().map(|setting| {
        let value = if setting.name == "rings" {
            2
        } else {
            setting.default
        };
        (setting.name, value.to_string())
    });
    let texts = [
        ("cluster", "blue".to_string()),
        ("detector", "gossip".to_string()),
        ("node_id", "7".to_string()),
        ("address", "127.0.0.1:6000".to_string()),
        ("peers", "127.0.0.1:6000".to_string()),
    ];
    for (name, wanted) in numbers.chain(texts) {
        let shown = modules::parameter(name)?;
        if shown != wanted {
            return Err(format!("{name} is {shown:?} in sysfs, not {wanted:?}"));
        }
        let path = format!("/sys/module/kcgcs/parameters/{name}");
        let mode = std::fs::metadata(&path)
            .map_err(|error| format!("{path}: {error}"))?
            .permissions()
            .mode();
        if mode & 0o777 != 0o444 {
            return Err(format!("{path} has mode {mode:o}"));
        }
    }
    Ok(())
}

/// Check the descriptions in the module's file, which are zero-terminated strings `parm=NAME:TEXT`.
fn modinfo() -> Result<(), String> {
    let file = std::fs::read("/modules/kcgcs.ko").map_err(|error| error.to_string())?;
    let told: Vec<String> = file
        .split(|byte| *byte == 0)
        .filter_map(|bytes| bytes.strip_prefix(b"parm="))
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .collect();
    let text_of = |name: &str| {
        told.iter()
            .find_map(|text| text.strip_prefix(&format!("{name}:")))
            .ok_or_else(|| format!("{name} has no description"))
    };
    for Setting {
        name,
        min,
        max,
        default,
    } in SETTINGS
    {
        let text = text_of(name)?;
        let limits = match name {
            "window_misses" => "1 to window_heartbeats".to_string(),
            _ => format!("{min} to {max}"),
        };
        let mut words = vec![limits, format!("(default {default})")];
        if name.ends_with("_ms") {
            words.push("Milliseconds".to_string());
        }
        if let Some(missing) = words.iter().find(|word| !text.contains(word.as_str())) {
            return Err(format!("{name}: no {missing:?} in {text:?}"));
        }
    }
    for name in [
        "cluster",
        "node_id",
        "address",
        "peers",
        "detector",
        "live_objects",
    ] {
        text_of(name)?;
    }
    Ok(())
}
