// SPDX-License-Identifier: GPL-2.0

//! Forged datagrams: any bytes, a correct header before any body, and changed copies of datagrams that were sent.

use arbitrary::{Result, Unstructured};
use kcgcs_protocol::protocol::identity::{
    cluster_number, Identity, Incarnation, NodeId, ViewNumber,
};
use kcgcs_protocol::protocol::limits::DATAGRAM_BYTES_MAX;
use kcgcs_protocol::protocol::wire::{write_datagram, Header, Kind};

use crate::cluster::{address, Cluster, NAME};

/// The bytes of the header that are changed: kind, sender, incarnation, view, counter.
const HEADER_FIELDS: [usize; 5] = [3, 9, 23, 31, 39];
/// The place of the body's length in the header.
const BODY_LENGTH: std::ops::Range<usize> = 12..14;

/// Forge a datagram and deliver it to a node, from the address of a member or a stranger.
pub(crate) fn forge(cluster: &mut Cluster, bytes: &mut Unstructured<'_>) -> Result<()> {
    let to = bytes.int_in_range(0..=cluster.last())?;
    let from = address(bytes.int_in_range(0..=cluster.machines.len())?);
    let datagram = match bytes.int_in_range(0..=3)? {
        0 => {
            let length = bytes.int_in_range(0..=100)?;
            bytes.bytes(length.min(bytes.len()))?.to_vec()
        }
        1 => with_header(cluster, to, bytes)?,
        _ => changed_copy(cluster, bytes)?,
    };
    cluster.arrive(from, to, &datagram);
    Ok(())
}

fn with_header(cluster: &Cluster, to: usize, bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let kind = loop {
        if let Some(kind) = Kind::from_number(bytes.int_in_range(0..=41)?) {
            break kind;
        }
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
    };
    let node = bytes.int_in_range(0..=cluster.machines.len())?;
    let now = match cluster.machines.get(node) {
        Some(machine) => machine.node.identity().incarnation.0,
        None => 1,
    };
    let incarnation = match bytes.int_in_range(0..=7)? {
        0 => now.wrapping_sub(1),
        1 => now.wrapping_add(1),
        2 => bytes.arbitrary()?,
        _ => now,
    };
    let present = cluster.view_of(to).0;
    let view = match bytes.int_in_range(0..=7)? {
        0 => 0,
        1 => present.wrapping_add(1),
        2 => bytes.arbitrary()?,
        3 => present.wrapping_sub(1),
        _ => present,
    };
    let header = Header {
        kind,
        cluster: cluster_number(NAME),
        sender: Identity {
            node: NodeId::new(node as u16 + 1).unwrap_or(cluster.machines[0].node.identity().node),
            incarnation: Incarnation(incarnation),
        },
        view: ViewNumber(view),
        lineage: cluster.lineage_of(to),
        counter: bytes.arbitrary::<u32>()?.into(),
    };
    let length = bytes.int_in_range(0..=255)?;
    let body = bytes.bytes(length.min(bytes.len()))?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let length = write_datagram(&mut buffer, &header, |writer| writer.bytes(body));
    buffer.truncate(length.unwrap_or(0));
    Ok(buffer)
}

fn changed_copy(cluster: &Cluster, bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if cluster.samples.is_empty() {
        return Ok(Vec::new());
    }
    let mut copy = cluster.samples[bytes.choose_index(cluster.samples.len())?].clone();
    for _ in 0..bytes.int_in_range(0..=4)? {
        if copy.is_empty() {
            break;
        }
        match bytes.int_in_range(0..=3)? {
            0 => {
                let place = HEADER_FIELDS[bytes.choose_index(HEADER_FIELDS.len())?];
                if let Some(byte) = copy.get_mut(place) {
                    *byte = bytes.arbitrary()?;
                }
            }
            1 => {
                let place = bytes.choose_index(copy.len())?;
                copy[place] = bytes.arbitrary()?;
            }
            2 => {
                let place = bytes.choose_index(copy.len())?;
                copy[place] ^= 1 << bytes.int_in_range(0..=7)?;
            }
            _ => {
                // The body gets a few bytes longer or shorter, and the length in the header with it.
                let length = copy.len() + 8 - bytes.int_in_range(0..=16)?.min(copy.len());
                copy.resize(length.min(DATAGRAM_BYTES_MAX), bytes.arbitrary()?);
                let body = (copy.len() as u16).saturating_sub(56);
                if let Some(place) = copy.get_mut(BODY_LENGTH) {
                    place.copy_from_slice(&body.to_be_bytes());
                }
            }
        }
    }
    if bytes.ratio(3, 4)? && copy.len() >= 40 {
        // A number that was not used before.
        copy[34] = copy[34].wrapping_add(1);
    }
    Ok(copy)
}
