// SPDX-License-Identifier: GPL-2.0

//! Heartbeats need no scheduler. While a real-time thread spins on every processor, no other process and no work item
//! runs, and yet no node is excluded.
#![expect(
    unsafe_code,
    reason = "nix has no call for real-time priorities, so one system call is made by hand"
)]

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{sched_setaffinity, CpuSet};
use nix::unistd::Pid;

use super::formed::Formed;
use super::{relaxed, Surroundings, Test};
use crate::guest::cluster::Plan;

/// The time for which the processors are kept busy: many detections. (After 21 s the kernel would report a stall.)
const BUSY: Duration = Duration::from_secs(4);
/// The pauses of an ordinary thread. One of them must last as long as the spinning, less the tolerance.
const PAUSE: Duration = Duration::from_millis(1);
const TOLERANCE: Duration = Duration::from_millis(500);
/// The files by which the kernel reserves time for ordinary processes, and the values that switch that off. The second
/// one stands for a file for each processor, of the deadline server that runs ordinary processes since Linux 6.12.
const THROTTLE: (&str, &str) = ("/proc/sys/kernel/sched_rt_runtime_us", "-1");
const SERVERS: (&str, &str) = ("/sys/kernel/debug/sched/fair_server", "0");
const PRIORITY: i32 = 50;
/// The heartbeat interval with the default settings and with slower timing.
const INTERVALS_MS: (u64, u64) = (160, 500);
const RINGS: u64 = 3;

/// The tests of the suite `cpu-starvation`.
pub(super) fn tests(surroundings: Surroundings) -> Vec<Test> {
    vec![Test::new(
        "real_time_threads_that_spin_on_every_processor_change_no_view",
        move |remarks| {
            let mut plan = Plan::of(surroundings.pick((8, 4)));
            if surroundings.debug_kernel {
                plan.settings = relaxed();
            }
            let mut formed = Formed::begin(plan, surroundings)?;
            check(&mut formed, surroundings, remarks)?;
            formed.end(remarks)
        },
    )]
}

fn check(
    formed: &mut Formed,
    surroundings: Surroundings,
    remarks: &mut Vec<String>,
) -> Result<(), String> {
    let all = formed.cluster.all();
    let before = formed.view_number()?;
    let names = ["heartbeats_sent", "suspicions", "accusations", "timer_late"];
    let counts = totals(formed, &all, &names)?;
    let kept = reserve_no_time()?;
    let starved = keep_busy();
    for (file, value) in kept {
        write(&file, &value)?;
    }
    let starved = starved?;
    let now = totals(formed, &all, &names)?;
    let processors = processors()?;
    remarks.push(format!(
        "{processors} processors, an ordinary thread did not run for {} ms",
        starved.as_millis()
    ));
    let mut grown = Vec::new();
    for ((name, before), now) in names.iter().zip(counts).zip(now) {
        remarks.push(format!(
            "{name}: {} more at {} nodes",
            now - before,
            all.len()
        ));
        grown.push(now - before);
    }
    if starved + TOLERANCE < BUSY {
        return Err("an ordinary thread has run meanwhile".to_string());
    }
    let after = formed.view_number()?;
    if after != before {
        return Err(format!("view {before} became view {after}"));
    }
    let interval = surroundings.pick(INTERVALS_MS);
    let wanted = all.len() as u64 * RINGS * BUSY.as_millis() as u64 / interval;
    if grown[0] < wanted * 9 / 10 {
        return Err(format!("{} heartbeats were sent, not {wanted}", grown[0]));
    }
    formed.all_work_again()
}

fn totals(formed: &mut Formed, nodes: &[u16], names: &[&str]) -> Result<Vec<u64>, String> {
    let mut totals = vec![0; names.len()];
    for (name, total) in names.iter().zip(&mut totals) {
        for &node in nodes {
            *total += formed.cluster.counter(node, name)?;
        }
    }
    Ok(totals)
}

/// Have the kernel reserve no time for ordinary processes. Returns the files and what was in them.
fn reserve_no_time() -> Result<Vec<(String, String)>, String> {
    let mut files = vec![(THROTTLE.0.to_string(), THROTTLE.1)];
    for processor in 0..processors()? {
        files.push((format!("{}/cpu{processor}/runtime", SERVERS.0), SERVERS.1));
    }
    let mut kept = Vec::new();
    for (file, wanted) in files {
        let value = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
        write(&file, wanted)?;
        kept.push((file, value.trim().to_string()));
    }
    Ok(kept)
}

fn write(file: &str, value: &str) -> Result<(), String> {
    std::fs::write(file, value).map_err(|error| format!("{file}: {error}"))
}

fn processors() -> Result<usize, String> {
    let count = thread::available_parallelism().map_err(|error| error.to_string())?;
    Ok(count.get())
}

/// Spin on every processor with a real-time priority. Returns the longest time that an ordinary thread did not run.
fn keep_busy() -> Result<Duration, String> {
    let processors = processors()?;
    let ready = Barrier::new(processors);
    thread::scope(|scope| {
        let spinning: Vec<_> = (0..processors)
            .map(|processor| {
                scope.spawn({
                    let ready = &ready;
                    move || spin(processor, ready)
                })
            })
            .collect();
        let mut longest = Duration::ZERO;
        while spinning.iter().any(|thread| !thread.is_finished()) {
            let begin = Instant::now();
            thread::sleep(PAUSE);
            longest = longest.max(begin.elapsed());
        }
        for thread in spinning {
            let result = thread.join();
            result.map_err(|_| "a spinning thread panicked".to_string())??;
        }
        Ok(longest)
    })
}

/// Move this thread to a processor, wait for the other threads, and spin.
fn spin(processor: usize, ready: &Barrier) -> Result<(), String> {
    let mut set = CpuSet::new();
    let placed = set
        .set(processor)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .and_then(|()| become_real_time());
    // A thread that failed must not keep the others waiting.
    ready.wait();
    placed.map_err(|errno| format!("the thread on processor {processor}: {errno}"))?;
    let begin = Instant::now();
    while begin.elapsed() < BUSY {}
    Ok(())
}

/// Give the calling thread a real-time priority, so that it runs before all ordinary threads for as long as it likes.
fn become_real_time() -> Result<(), Errno> {
    let wanted = libc::sched_param {
        sched_priority: PRIORITY,
    };
    // SAFETY: The pointer is a reference to a `sched_param`, which is all that the kernel reads from it. The process id
    // 0 stands for the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &wanted) };
    Errno::result(result).map(drop)
}
