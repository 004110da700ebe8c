// SPDX-License-Identifier: GPL-2.0

//! Streams of random numbers. Everything that a seed decides is drawn from one of them.

use kcgcs_protocol::protocol::random::{mix, Random};

/// A stream of random numbers. Each component of the simulator has its own, so that an additional draw in one does
/// not change the others.
#[derive(Clone, Debug)]
pub struct Chance(Random);

impl Chance {
    /// The stream with the number `stream` for `seed`.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(Random::new(mix(seed ^ mix(stream))))
    }

    /// Draw any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Draw a number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Draw true in `per_mille` of 1000 cases.
    pub fn happens(&mut self, per_mille: u64) -> bool {
        self.0.below(1000) < per_mille
    }

    /// Draw an exponentially distributed number with this mean.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        let uniform = (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        (-(1.0 - uniform).ln() * mean as f64) as u64
    }

    /// Draw one of `choices`.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.0.below(choices.len() as u64) as usize)
    }

    /// Shuffle `list`.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.between(0, last as u64) as usize);
        }
    }
}
