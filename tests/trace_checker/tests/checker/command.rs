// SPDX-License-Identifier: GPL-2.0

//! The command: what it prints and what it exits with.

use std::io::Write;
use std::process::{Command, Stdio};

use trace_checker::line::write;

use super::story::{good, Story, B, C};

/// Hands the trace to the command's standard input; its exit code and what it printed.
fn run(story: &Story, more: &[&str]) -> (Option<i32>, String) {
    let mut text = Vec::new();
    write(&story.events, &mut text).expect("memory takes all");
    run_on(&text, more)
}

fn run_on(text: &[u8], more: &[&str]) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trace-checker"))
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // A command that refuses its arguments does not read; the write may fail then.
    let _ = child.stdin.take().expect("it was piped").write_all(text);
    let output = child.wait_with_output().expect("the command ends");
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

#[test]
fn a_good_trace_exits_with_0() {
    let story = good();
    let (code, printed) = run(&story, &["-"]);
    assert_eq!(code, Some(0), "{printed}");
    let wanted = format!("{} events hold every property\n", story.events.len());
    assert_eq!(printed, wanted);
}

#[test]
fn a_bad_trace_exits_with_1_and_names_the_promise_and_shows_the_lines() {
    let mut story = good();
    story.swap(story.deliver_at(C, B, 1), story.deliver_at(C, C, 1));
    let (code, printed) = run(&story, &["-"]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.starts_with("O7 (agreed prefix) at "), "{printed}");
    assert!(printed.contains("\n    {\"t\":"), "{printed}");
    assert!(printed.contains("1 violations in "), "{printed}");
}

#[test]
fn what_cannot_be_read_exits_with_2() {
    let (code, printed) = run_on(b"no trace\n", &["-"]);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("-: line 1: "), "{printed}");
    for arguments in [&["--no-such-option"][..], &[], &["/nonexistent/trace"]] {
        let (code, printed) = run_on(b"", arguments);
        assert_eq!(code, Some(2), "{printed}");
    }
}
