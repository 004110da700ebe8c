// SPDX-License-Identifier: GPL-2.0

//! A hash of 128 bits by which states are told apart. Moments count from the node's own clock, so that
//! a node that is as it was some time ago is the same node.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::protocol::random::mix;
use crate::protocol::time::Instant;

/// No setting of an explored node is longer: moments that lie back by more are alike.
const LONG_AGO: i128 = 8_000_000_000;

/// Hashes into two words that have different beginnings.
pub struct Fingerprint {
    first: u64,
    second: u64,
    now: i128,
}

impl Fingerprint {
    /// The fingerprint of `value`, whose moments count from `now`.
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

    /// A moment, the only value of this size.
    fn write_u128(&mut self, moment: u128) {
        let from_now = (moment as i128 - self.now).max(-LONG_AGO);
        self.write_u64(from_now as u64);
    }

    fn finish(&self) -> u64 {
        self.first
    }
}

/// A set or map of fingerprints needs no further hash.
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

/// Makes [`Same`].
pub type BuildSame = BuildHasherDefault<Same>;
