// SPDX-License-Identifier: GPL-2.0

//! A 128-bit hash by which states are distinguished. Times are hashed relative to the node's own clock, so that a node
//! that has returned to an earlier state has the same fingerprint.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::protocol::random::mix;
use crate::protocol::time::Instant;

/// A time in nanoseconds that is longer than all settings of explored nodes. Times further back are all alike.
const LONG_AGO: i128 = 8_000_000_000;

/// A hasher with two words that begin differently.
pub struct Fingerprint {
    first: u64,
    second: u64,
    now: i128,
}

impl Fingerprint {
    /// The fingerprint of `value`, with times relative to `now`.
    pub fn of(value: &impl Hash, now: Instant) -> u128 {
        let mut fingerprint = Self {
            first: 0x243F_6A88_85A3_08D3,
            second: 0x1319_8A2E_0370_7344,
            now: now.as_nanoseconds().into(),
        };
        value.hash(&mut fingerprint);
        u128::from(fingerprint.first) << 64 | u128::from(fingerprint.second)
    }
}

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.first = mix(self.first ^ value);
        self.second = mix(self.second.wrapping_add(value).rotate_left(23));
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    /// Hash a time, the only value of this size.
    fn write_u128(&mut self, moment: u128) {
        let from_now = (moment as i128 - self.now).max(-LONG_AGO);
        self.write_u64(from_now as u64);
    }

    fn finish(&self) -> u64 {
        self.first
    }
}

/// The hasher for sets and maps of fingerprints, which need no further hash.
#[derive(Default)]
pub struct Same(u64);

impl Hasher for Same {
    fn write(&mut self, _bytes: &[u8]) {}

    fn write_u128(&mut self, fingerprint: u128) {
        self.0 = fingerprint as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Builds [`Same`].
pub type BuildSame = BuildHasherDefault<Same>;
