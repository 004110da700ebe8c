// SPDX-License-Identifier: GPL-2.0

//! Durations of kernel function calls, measured by the kernel's function graph tracer. On the instruction-counting
//! clock, its nanoseconds are instructions.

use std::path::Path;
use std::time::Duration;

const FOLDER: &str = "/sys/kernel/tracing";

/// A call of a traced function that was not called from another traced one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) function: String,
    pub(super) ns: f64,
    /// The traced functions that it called.
    pub(super) inside: Vec<String>,
}

/// Trace calls of `functions` while `meanwhile` runs.
pub(super) fn calls(
    functions: &[&str],
    meanwhile: impl FnOnce() -> Result<(), String>,
) -> Result<Vec<Call>, String> {
    write("tracing_on", "0")?;
    write("buffer_size_kb", "16384")?;
    write("set_ftrace_filter", &functions.join("\n"))?;
    write("current_tracer", "function_graph")?;
    write("options/funcgraph-tail", "1")?;
    write("trace", "")?;
    write("tracing_on", "1")?;
    let outcome = meanwhile();
    write("tracing_on", "0")?;
    let text = read("trace")?;
    write("current_tracer", "nop")?;
    write("set_ftrace_filter", "")?;
    write("tracing_on", "1")?;
    outcome?;
    Ok(parse(&text))
}

/// Trace for a while.
pub(super) fn calls_for(functions: &[&str], length: Duration) -> Result<Vec<Call>, String> {
    calls(functions, || {
        std::thread::sleep(length);
        Ok(())
    })
}

/// The median duration of calls. They differ only where an interrupt came in between.
pub(super) fn median<'a>(calls: impl Iterator<Item = &'a Call>) -> Option<f64> {
    let mut times: Vec<f64> = calls.map(|call| call.ns).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

fn write(file: &str, text: &str) -> Result<(), String> {
    let path = Path::new(FOLDER).join(file);
    std::fs::write(&path, text).map_err(|error| format!("{text} to {}: {error}", path.display()))
}

fn read(file: &str) -> Result<String, String> {
    let path = Path::new(FOLDER).join(file);
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Parse the trace. Lines look like these, with a sign before long durations:
///
/// ```text
///  0)               |  hrtimer_run_softirq() {
///  0)   1.234 us    |    udp_tunnel_xmit_skb [udp_tunnel]();
///  0) + 15.123 us   |  } /* hrtimer_run_softirq */
/// ```
fn parse(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    // The outermost call that has begun, and the depth inside it.
    let mut open: Option<(String, Vec<String>)> = None;
    let mut depth = 0_usize;
    for line in text.lines() {
        let Some((head, code)) = line.split_once('|') else {
            continue;
        };
        let code = code.trim();
        let name = |code: &str| {
            let end = code.find([' ', '(']).unwrap_or(code.len());
            code[..end].to_string()
        };
        if code.starts_with('}') {
            depth = depth.saturating_sub(1);
            if depth > 0 {
                continue;
            }
            if let (Some((function, inside)), Some(ns)) = (open.take(), duration_ns(head)) {
                calls.push(Call {
                    function,
                    ns,
                    inside,
                });
            }
        } else if code.ends_with('{') || code.ends_with(';') {
            match (&mut open, duration_ns(head)) {
                (Some((_, inside)), _) => inside.push(name(code)),
                (None, Some(ns)) => calls.push(Call {
                    function: name(code),
                    ns,
                    inside: Vec::new(),
                }),
                (None, None) => open = Some((name(code), Vec::new())),
            }
            if code.ends_with('{') {
                depth += 1;
            }
        }
    }
    calls
}

fn duration_ns(head: &str) -> Option<f64> {
    let words: Vec<&str> = head.split_whitespace().collect();
    let place = words.iter().position(|word| *word == "us")?;
    let us: f64 = words.get(place.checked_sub(1)?)?.parse().ok()?;
    Some(us * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_the_calls_inside_them_are_parsed() {
        let text = "# tracer: function_graph\n#\n# CPU  DURATION                  FUNCTION CALLS\n# |     |   |                     |   |   |   |\n 0)               |  hrtimer_run_softirq() {\n 0)   3.500 us    |    udp_tunnel_xmit_skb [udp_tunnel]();\n 0) + 15.125 us   |  } /* hrtimer_run_softirq */\n 0)   2.250 us    |  bench_receive [kcgcs_bench_udp]();\n 0)   0.500 us    |  hrtimer_run_softirq();\n";
        let call = |function: &str, ns: f64, inside: &[&str]| Call {
            function: function.to_string(),
            ns,
            inside: inside.iter().map(|name| name.to_string()).collect(),
        };
        assert_eq!(
            parse(text),
            [
                call("hrtimer_run_softirq", 15125.0, &["udp_tunnel_xmit_skb"]),
                call("bench_receive", 2250.0, &[]),
                call("hrtimer_run_softirq", 500.0, &[]),
            ]
        );
    }
}
