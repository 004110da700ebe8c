// SPDX-License-Identifier: GPL-2.0

//! Corosync as a contender: Debian's daemon, one in each namespace, each with private copies of the machine's folders.
//! The reports to nodes are the lines in the daemons' log files, with the daemons' own times, which are whole
//! milliseconds.

mod log;

use std::fmt::Write as _;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::mount::{mount, MsFlags};
use nix::sched::{unshare, CloneFlags};

use self::log::Log;
use super::{Contender, Notice, Running, Treatment};
use crate::guest::bench::idle::NEIGHBOURS_FORGOTTEN;
use crate::guest::network::{address4, run_command, Network};

/// The archive made by `scripts/fetch-corosync`, if the machine has it.
const ARCHIVE: &str = "/bin/corosync.tar";
const DAEMON: &str = "/usr/sbin/corosync";
/// The folders of which each daemon has its own.
const PRIVATE: [&str; 3] = ["/dev/shm", "/var/run", "/var/lib/corosync"];
const FOLDER: &str = "/tmp/corosync";
/// `CAP_SYS_RESOURCE` of `linux/capability.h`.
const SYS_RESOURCE: libc::c_ulong = 24;

/// The largest cluster that is not slow. More daemons occupy the host for long until they form a cluster (16 for more
/// than a minute, 32 for five minutes), and with the default settings each membership takes longer the more they are.
const SLOW_ABOVE: u16 = 8;

/// The lines of the section `totem` that are not at their defaults: a token timeout of 130 ms at any size, and a
/// consensus timeout 1.2 times as long (the least that corosync.conf(5) allows), together 286 ms. Links are pinged at
/// libknet's own interval. Otherwise the interval would follow the token timeout and pings would be most of the
/// packets, although the token alone detects a crash.
const TUNED: &str = "token: 130\ntoken_coefficient: 0\nconsensus: 156\njoin: 50\n\
    interface {\nlinknumber: 0\nknet_ping_interval: 1000\nknet_ping_timeout: 2000\n}\n";

pub(super) fn contenders(idle_seconds: u64) -> Result<Vec<Contender>, String> {
    if !Path::new(ARCHIVE).exists() {
        return Ok(Vec::new());
    }
    run_command("tar", &["-x", "-f", ARCHIVE, "-C", "/"])?;
    let contender = |name: &'static str, treatment, totem: &'static str| Contender {
        name,
        treatment,
        takes_part: |_| true,
        slow_above: SLOW_ABOVE,
        start: Box::new(move |nodes| Ok(Box::new(Corosync::start(nodes, totem)?))),
    };
    // ARP packets are few beside those of this token, which circulates some 60 times a second.
    let tuned = Treatment {
        settling: Duration::from_secs(5),
        // 32 nodes form no cluster, and occupy the processor and the host for long with trying.
        limit: Duration::from_secs(60),
        ..Treatment::of_seconds(idle_seconds)
    };
    // With 64 nodes the token timeout is 43 s, and the token comes round every 8 s. A token that is lost while a
    // cluster forms delays it for that long.
    let slow = Treatment {
        settling: NEIGHBOURS_FORGOTTEN,
        idle: Duration::from_secs(idle_seconds * 3),
        spin_seconds: 5,
        phase: Duration::from_secs(10),
        limit: Duration::from_secs(240),
    };
    Ok(vec![
        contender("Corosync", slow, ""),
        contender("Corosync-130", tuned, TUNED),
    ])
}

struct Corosync {
    daemons: Vec<Daemon>,
    network: Network,
}

struct Daemon {
    process: Child,
    log: Log,
}

impl Corosync {
    fn start(nodes: u16, totem: &str) -> Result<Self, String> {
        let mut this = Self {
            daemons: Vec::new(),
            network: Network::new(nodes)?,
        };
        for node in 1..=nodes {
            let folder = PathBuf::from(format!("{FOLDER}/{node}"));
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).map_err(|error| named(&folder, error))?;
            let log = folder.join("log");
            File::create(&log).map_err(|error| named(&log, error))?;
            let settings = folder.join("corosync.conf");
            std::fs::write(&settings, configuration(nodes, totem, &log))
                .map_err(|error| named(&settings, error))?;
            let process = this
                .network
                .namespace(node)?
                .run(|| spawn(&folder, &settings))?;
            let log = Log::open(&log, node)?;
            this.daemons.push(Daemon { process, log });
        }
        Ok(this)
    }
}

impl Drop for Corosync {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            // The daemon may have ended by itself.
            let _ = daemon.process.kill();
            let _ = daemon.process.wait();
        }
    }
}

impl Running for Corosync {
    fn network(&self) -> &Network {
        &self.network
    }

    fn notices(&mut self, limit: Duration) -> Result<Vec<Notice>, String> {
        // There is no notification of a new line.
        std::thread::sleep(limit);
        let mut notices = Vec::new();
        for daemon in &mut self.daemons {
            let ended = daemon
                .process
                .try_wait()
                .map_err(|error| error.to_string())?;
            if let Some(status) = ended {
                return Err(format!("a daemon ended: {status}: {}", daemon.log.tail()));
            }
            notices.extend(daemon.log.read_new()?);
        }
        Ok(notices)
    }

    fn end(self: Box<Self>) -> Result<(), String> {
        Ok(())
    }
}

/// Start a daemon in the calling thread's network namespace and in a mount namespace of its own.
fn spawn(folder: &Path, settings: &Path) -> Result<Child, String> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| format!("unshare: {errno}"))?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|errno| format!("private mounts: {errno}"))?;
    for place in PRIVATE {
        std::fs::create_dir_all(place).map_err(|error| named(Path::new(place), error))?;
        mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), none)
            .map_err(|errno| format!("{place}: {errno}"))?;
    }
    forbid_to_lock_memory().map_err(|errno| format!("prctl: {errno}"))?;
    let output = folder.join("output");
    let output = File::create(&output).map_err(|error| named(&output, error))?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    Command::new(DAEMON)
        .arg("-f")
        .arg("-c")
        .arg(settings)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|error| named(Path::new(DAEMON), error))
}

/// Forbid the programs that the calling thread starts from now on to lock memory. A daemon that cannot raise its limit
/// logs that and goes on. This machine swaps nothing out, and locking would only make each daemon fill 60 MB more with
/// zeros, which takes several seconds of the host.
#[expect(unsafe_code, reason = "nix does not know this call")]
fn forbid_to_lock_memory() -> Result<(), Errno> {
    let none: libc::c_ulong = 0;
    // SAFETY: All arguments of this call are numbers, so it accesses no memory of this program.
    let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, SYS_RESOURCE, none, none, none) };
    Errno::result(result).map(drop)
}

fn named(path: &Path, error: std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The text of `corosync.conf`. Encryption is off, as in Debian's own file and with all contenders.
fn configuration(nodes: u16, totem: &str, log: &Path) -> String {
    let mut text = format!(
        "totem {{\nversion: 2\ncluster_name: bench\ncrypto_cipher: none\ncrypto_hash: none\n{totem}}}\n\
         logging {{\nto_stderr: no\nto_syslog: no\nto_logfile: yes\nlogfile: {}\ntimestamp: hires\n}}\n\
         quorum {{\nprovider: corosync_votequorum\n}}\n\
         system {{\nallow_knet_handle_fallback: yes\n}}\n\
         nodelist {{\n",
        log.display()
    );
    for node in 1..=nodes {
        let address = Ipv4Addr::from(address4(node));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "node {{\nname: node{node}\nnodeid: {node}\nring0_addr: {address}\n}}"
        );
    }
    text.push_str("}\n");
    text
}
