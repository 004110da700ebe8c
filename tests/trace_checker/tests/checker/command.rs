// SPDX-License-Identifier: GPL-2.0

//! The command: what it prints, and its exit codes.

use std::io::Write;
use std::process::{Command, Stdio};

use trace_checker::line::write;

use super::story::{good, Story, B, C};

/// Run the command with the trace on standard input. Return its exit code and what it printed.
fn run(story: &Story, more: &[&str]) -> (Option<i32>, String) {
    let mut text = Vec::new();
    write(&story.events, &mut text).expect("writing to memory does not fail");
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
    // A command that refuses its arguments does not read its input, so this write may fail.
    let _ = child.stdin.take().expect("it was piped").write_all(text);
    let output = child.wait_with_output().expect("the command ends");
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&printed).into_owned(),
    )
}

#[test]
fn a_good_trace_ends_with_code_0() {
    let story = good();
    let (code, printed) = run(&story, &["-"]);
    assert_eq!(code, Some(0), "{printed}");
    let wanted = format!("{} events, every property holds\n", story.events.len());
    assert_eq!(printed, wanted);
}

#[test]
fn a_bad_trace_ends_with_code_1_and_shows_the_property_and_the_lines() {
    let mut story = good();
    let place = story.deliver_at(C, B, 1);
    story.message_mut(place).hash ^= 1;
    let (code, printed) = run(&story, &["-"]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.starts_with("D1 (integrity) at "), "{printed}");
    assert!(printed.contains("\n    {\"t\":"), "{printed}");
    assert!(printed.contains("1 violations in "), "{printed}");
}

#[test]
fn a_trace_or_command_line_that_cannot_be_read_ends_with_code_2() {
    let (code, printed) = run_on(b"no trace\n", &["-"]);
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("-: line 1: "), "{printed}");
    for arguments in [&["--no-such-option"][..], &[], &["/nonexistent/trace"]] {
        let (code, printed) = run_on(b"", arguments);
        assert_eq!(code, Some(2), "{printed}");
    }
}
