// SPDX-License-Identifier: GPL-2.0

//! Seeded random numbers: SplitMix64 (Steele, Lea and Flood, 2014).
//!
//! Used to spread retries and to place rings. Not for secrets.

/// A generator whose whole output follows from its seed.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator for `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, uniform over all of `u64`.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number from `0` to `bound - 1`; zero if `bound` is zero.
    ///
    /// The slight bias of the remainder does not matter for any use here.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }
}

/// Spreads the bits of `value`: the finalizer of SplitMix64, also used as a hash of small keys.
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}
