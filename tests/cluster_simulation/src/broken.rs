// SPDX-License-Identifier: GPL-2.0

//! The promises that a run broke, and which of them to report first.

use std::fmt;

use trace_checker::violation::Violation;

/// The name for what must never happen to a correct node: a refusal, an event for an unknown endpoint, a busy loop.
pub const SOUND_NODES: &str = "sound nodes";
/// The name for a panic in the protocol.
pub const PANIC: &str = "panic";

/// A promise that a run broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its short name, such as `D2`.
    pub promise: &'static str,
    /// What happened, in words.
    pub text: String,
}

impl Broken {
    /// Record that `promise` is broken, as `text` says.
    pub fn new(promise: &'static str, text: impl Into<String>) -> Self {
        Self {
            promise,
            text: text.into(),
        }
    }

    /// Panics rank before safety, and safety before liveness, which often breaks in consequence.
    fn rank(&self) -> u8 {
        match self.promise.as_bytes() {
            _ if self.promise == PANIC => 0,
            _ if self.promise == SOUND_NODES => 1,
            [b'M', ..] => 2,
            [b'L', ..] => 4,
            _ => 3,
        }
    }
}

impl From<Violation> for Broken {
    fn from(violation: Violation) -> Self {
        Self::new(violation.property, violation.to_string())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.starts_with(self.promise) {
            write!(f, "{}", self.text)
        } else {
            write!(f, "{}: {}", self.promise, self.text)
        }
    }
}

/// The broken promise of the highest rank, the first of several.
pub fn worst(broken: &[Broken]) -> Option<&Broken> {
    broken.iter().min_by_key(|one| one.rank())
}

#[cfg(test)]
mod tests {
    use super::{worst, Broken, PANIC};

    #[test]
    fn a_panic_ranks_before_safety_and_safety_before_liveness() {
        let mut broken: Vec<Broken> = ["L1", "O2", "D5", "M4"]
            .into_iter()
            .map(|promise| Broken::new(promise, "so it is"))
            .collect();
        assert_eq!(worst(&broken).map(|one| one.promise), Some("M4"));
        broken.pop();
        assert_eq!(worst(&broken).map(|one| one.promise), Some("O2"));
        broken.push(Broken::new(PANIC, "at once"));
        assert_eq!(worst(&broken).map(|one| one.promise), Some(PANIC));
        assert_eq!(worst(&[]), None);
    }
}
