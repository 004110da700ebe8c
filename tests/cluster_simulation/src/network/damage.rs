// SPDX-License-Identifier: GPL-2.0

//! Damage that UDP's checksum did not find: bits that were turned over, or bytes of somebody else's.
//!
//! Nothing in a datagram proves that the rest of it is whole, until datagrams are authenticated: what is
//! changed in the body of a sound header is taken as it is. So what is promised, and what comes here, is
//! a header that cannot be right: other bits may be wrong as well.

use crate::chance::Chance;

/// Bytes that a header is known by: magic, version, and the cluster.
const TELLTALE: [usize; 7] = [0, 1, 2, 4, 5, 6, 7];
/// Bits that are turned over at most, besides the one in the header.
const MORE_BITS_MAX: u64 = 8;
/// The longest datagram of somebody else.
const STRANGE_BYTES_MAX: u64 = 1_400;

/// What comes instead of `bytes`.
pub fn damaged(chance: &mut Chance, bytes: &[u8]) -> Vec<u8> {
    if chance.happens(250) {
        return strange(chance);
    }
    let mut changed = bytes.to_vec();
    for _ in 0..chance.between(0, MORE_BITS_MAX) {
        let place = chance.between(0, bytes.len().max(1) as u64 - 1) as usize;
        flip(chance, &mut changed, place);
    }
    let place = chance.pick(&TELLTALE).copied().unwrap_or(0);
    // What was turned over before must not be turned back.
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

/// Bytes that are not ours.
fn strange(chance: &mut Chance) -> Vec<u8> {
    let length = chance.between(0, STRANGE_BYTES_MAX);
    let mut bytes: Vec<u8> = (0..length).map(|_| chance.number() as u8).collect();
    if let Some(first) = bytes.first_mut() {
        *first |= 0x80;
    }
    bytes
}
