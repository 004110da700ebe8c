// SPDX-License-Identifier: GPL-2.0

//! Damage that UDP's checksum did not find: flipped bits, or bytes of another sender.
//!
//! Datagrams are not authenticated, so a node takes a changed body behind a correct header as it is. Nodes promise to
//! drop datagrams whose header cannot be right, so that is the damage made here: at least one such bit of the header is
//! wrong, and other bits may be wrong too.

use crate::chance::Chance;

/// The bytes by which a header is recognised: magic, version, and the cluster.
const RECOGNISED: [usize; 7] = [0, 1, 2, 4, 5, 6, 7];
/// The most bits that are flipped besides the one in the header.
const MORE_BITS_MAX: u64 = 8;
/// The longest datagram of another sender.
const FOREIGN_BYTES_MAX: u64 = 1_400;

/// The bytes that arrive instead of `bytes`.
pub fn damaged(chance: &mut Chance, bytes: &[u8]) -> Vec<u8> {
    if chance.happens(250) {
        return foreign(chance);
    }
    let mut changed = bytes.to_vec();
    for _ in 0..chance.between(0, MORE_BITS_MAX) {
        let place = chance.between(0, bytes.len().max(1) as u64 - 1) as usize;
        flip(chance, &mut changed, place);
    }
    let place = chance.pick(&RECOGNISED).copied().unwrap_or(0);
    // This bit is flipped last, so that no other flip restores it.
    if let (Some(new), Some(old)) = (changed.get_mut(place), bytes.get(place)) {
        *new = *old;
    }
    flip(chance, &mut changed, place);
    changed
}

fn flip(chance: &mut Chance, bytes: &mut [u8], place: usize) {
    let bit = chance.between(0, 7);
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 1 << bit;
    }
}

/// A datagram of another sender.
fn foreign(chance: &mut Chance) -> Vec<u8> {
    let length = chance.between(0, FOREIGN_BYTES_MAX);
    let mut bytes: Vec<u8> = (0..length).map(|_| chance.number() as u8).collect();
    if let Some(first) = bytes.first_mut() {
        *first |= 0x80;
    }
    bytes
}
