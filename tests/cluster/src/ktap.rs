// SPDX-License-Identifier: GPL-2.0

//! Test results as KTAP lines, which the program in the machine writes and the one outside reads.
//!
//! The reader counts a planned test without a result as failed, so that a machine that dies in the middle does not look
//! like a success.

use std::fs::{File, OpenOptions};
use std::io::Write;

/// The destinations of lines: the standard output, and a second serial line if the machine has one, on which no kernel
/// message can appear in the middle of a line.
pub struct Report {
    second: Option<File>,
    planned: usize,
    reported: usize,
    failed: usize,
}

impl Report {
    /// The serial line that the harness gives a machine for results.
    const SECOND_LINE: &'static str = "/dev/ttyS1";

    /// Open the report and write how many tests follow.
    pub fn begin(planned: usize) -> Self {
        let second = OpenOptions::new().write(true).open(Self::SECOND_LINE).ok();
        let mut report = Self {
            second,
            planned,
            reported: 0,
            failed: 0,
        };
        report.line("KTAP version 1");
        report.line(&format!("1..{planned}"));
        report
    }

    /// Write a line with one system call for each destination.
    pub fn line(&mut self, text: &str) {
        let line = format!("{text}\n");
        // A closed console must not end the tests. The result is lost, and counted as failed outside.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
        if let Some(second) = &mut self.second {
            if second.write_all(line.as_bytes()).is_err() {
                self.second = None;
            }
        }
    }

    /// Write a remark about the test that follows.
    pub fn remark(&mut self, text: &str) {
        for line in text.lines() {
            self.line(&format!("# {line}"));
        }
    }

    /// Write the result of a test.
    pub fn result(&mut self, name: &str, outcome: &Result<(), String>, seconds: f64) {
        self.reported += 1;
        let number = self.reported;
        match outcome {
            Ok(()) => self.line(&format!("ok {number} {name} # {seconds:.2} s")),
            Err(reason) => {
                self.failed += 1;
                self.remark(&format!("{name}: {reason}"));
                self.line(&format!("not ok {number} {name} # {seconds:.2} s"));
            }
        }
    }

    /// Whether every planned test has passed.
    pub fn all_passed(&self) -> bool {
        self.failed == 0 && self.reported == self.planned
    }
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// The test's name.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
}

/// The content of KTAP lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The results in order, without the lines that sum up a suite.
    pub results: Vec<TestResult>,
    /// The number of planned tests without a result.
    pub missing: usize,
}

impl Summary {
    /// The number of tests that passed.
    pub fn passed(&self) -> usize {
        self.results.iter().filter(|result| result.passed).count()
    }

    /// The number of tests that failed, including those without a result.
    pub fn failed(&self) -> usize {
        self.results.len() - self.passed() + self.missing
    }
}

/// Parse the results in a console or a kernel log. Prefixes such as `[    1.5]` or `[    1.5][  T12]` are skipped, and
/// nested suites (`# Subtest:`) are counted by their cases.
pub fn parse(text: &str) -> Summary {
    let mut summary = Summary::default();
    // The number of planned results that have not been seen yet, for each level of indentation.
    let mut open_plans: Vec<(usize, usize)> = Vec::new();
    let mut deepest_result = 0;
    for line in text.lines() {
        let line = without_log_prefix(line.trim_end_matches('\r'));
        let indent = line.len() - line.trim_start().len();
        let body = line.trim_start();
        if let Some(plan) = body.strip_prefix("1..") {
            if let Ok(count) = plan.trim().parse::<usize>() {
                // This is a new plan at the same level: results that the one before it still lacks never come.
                summary.missing += close_plans(&mut open_plans, indent);
                open_plans.push((indent, count));
            }
            continue;
        }
        let Some(result) = parse_result(body) else {
            continue;
        };
        let skipped = body.contains("# SKIP");
        if let Some((_, left)) = open_plans.iter_mut().find(|(level, _)| *level == indent) {
            *left = left.saturating_sub(1);
        }
        // Deeper plans end with the line of the suite that contains them.
        let sums_up =
            deepest_result > indent && open_plans.iter().any(|(level, _)| *level > indent);
        summary.missing += close_plans(&mut open_plans, indent + 1);
        deepest_result = indent;
        if !sums_up && !skipped {
            summary.results.push(result);
        }
    }
    summary.missing += close_plans(&mut open_plans, 0);
    summary
}

/// End the plans at `level` and deeper, and return the number of results that they still lacked.
fn close_plans(open_plans: &mut Vec<(usize, usize)>, level: usize) -> usize {
    let (ended, open) = open_plans
        .iter()
        .partition::<Vec<_>, _>(|plan| plan.0 >= level);
    *open_plans = open;
    ended.iter().map(|(_, left)| left).sum()
}

/// Parse `ok 3 name # remark` or `not ok 3 - name`.
fn parse_result(body: &str) -> Option<TestResult> {
    let (passed, rest) = match body.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, body.strip_prefix("ok ")?),
    };
    let (number, name) = rest.split_once(' ')?;
    number.parse::<usize>().ok()?;
    let name = name.strip_prefix("- ").unwrap_or(name);
    let name = name.split(" #").next().unwrap_or(name).trim();
    Some(TestResult {
        name: name.to_string(),
        passed,
    })
}

/// Strip the kernel's `[    1.234567][   T12] ` from a line, and keep its indentation.
fn without_log_prefix(line: &str) -> &str {
    let mut rest = line;
    while rest.starts_with('[') {
        match rest.split_once(']') {
            Some((inside, after))
                if inside
                    .chars()
                    .skip(1)
                    .all(|c| c.is_ascii_digit() || matches!(c, ' ' | '.' | 'T' | 'C')) =>
            {
                rest = after;
            }
            _ => return line,
        }
    }
    if rest.len() < line.len() {
        rest.strip_prefix(' ').unwrap_or(rest)
    } else {
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_results_are_counted() {
        let summary = parse("KTAP version 1\n1..3\nok 1 a # 0.1 s\nnot ok 2 b\n# why\nok 3 - c\n");
        assert_eq!((summary.passed(), summary.failed()), (2, 1));
    }

    #[test]
    fn planned_tests_without_a_result_count_as_failed() {
        let summary = parse("1..4\nok 1 a\nKernel panic - not syncing\n");
        assert_eq!((summary.passed(), summary.failed()), (1, 3));
    }

    #[test]
    fn kunit_suites_in_a_kernel_log_are_counted_by_their_cases() {
        let text = "[    2.1][  T1] KTAP version 1\n\
                    [    2.1][  T1] 1..1\n\
                    [    2.1][  T1]     KTAP version 1\n\
                    [    2.1][  T1]     # Subtest: kcgcs_wire\n\
                    [    2.1][  T1]     # module: kcgcs\n\
                    [    2.1][  T1]     1..2\n\
                    [    2.1][  T1]     ok 1 first\n\
                    [    2.1][  T1]     not ok 2 second\n\
                    [    2.1][  T1] not ok 1 kcgcs_wire\n";
        let summary = parse(text);
        assert_eq!((summary.passed(), summary.failed()), (1, 1));
        assert_eq!(summary.results[1].name, "second");
    }

    #[test]
    fn a_suite_that_stops_in_the_middle_has_failures() {
        let text = "1..1\n    1..3\n    ok 1 first\n";
        let summary = parse(text);
        // Two cases and the suite's own line.
        assert_eq!((summary.passed(), summary.failed()), (1, 3));
    }

    #[test]
    fn a_second_plan_does_not_hide_results_missing_from_the_first() {
        let summary = parse("1..3\nok 1 a\n1..1\nok 1 b\n");
        assert_eq!((summary.passed(), summary.failed()), (2, 2));
    }

    #[test]
    fn brackets_of_other_kinds_are_kept() {
        assert_eq!(without_log_prefix("[hello] ok 1 a"), "[hello] ok 1 a");
        assert_eq!(without_log_prefix("[  1.5] ok 1 a"), "ok 1 a");
    }
}
