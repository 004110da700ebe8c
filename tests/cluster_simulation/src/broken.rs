// SPDX-License-Identifier: GPL-2.0

//! Broken promises, and which of several matters most.

use std::fmt;

use trace_checker::violation::Violation;

/// The name of what must not happen to a sound node at all: a refusal, an event for nobody, a busy loop.
pub const SOUND_NODES: &str = "sound nodes";
/// The name of a panic of the protocol.
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
    /// What breaks `promise`.
    pub fn new(promise: &'static str, text: impl Into<String>) -> Self {
        Self {
            promise,
            text: text.into(),
        }
    }

    /// Panics matter more than promises of safety, and those more than promises of liveness, which often
    /// break with them.
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

/// The one that matters most; of several such the first.
pub fn worst(broken: &[Broken]) -> Option<&Broken> {
    broken.iter().min_by_key(|one| one.rank())
}

#[cfg(test)]
mod tests {
    use super::{worst, Broken, PANIC};

    #[test]
    fn what_matters_most_is_named() {
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
