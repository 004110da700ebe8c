// SPDX-License-Identifier: GPL-2.0

//! The commands of the generic netlink family, called from `kcgcs_netlink.c`: starting and stopping
//! a node, and what the answers hold.

use super::{
    clock,
    engine::Engine,
    errno,
    ffi,
    instance::Instance,
    parameters::c_bytes,
    registry,
    settings::{
        setting,
        Complaint,
        Settings,
        Wishes,
        SETTING_NAMES, //
    },
    text_buffer::TextBuffer, //
};
use crate::protocol::{
    configuration::{
        Configuration,
        DetectorKind, //
    },
    errors::{
        CommandError,
        Counter, //
    },
    group_view::GroupSummary,
    identity::{
        NodeId,
        PeerAddress, //
    },
    limits::{
        DELAY_BUCKETS,
        PIN_SPAN_MS_MAX, //
    },
    node::Node,
    time::Instant,
    view::{
        ClusterView,
        MemberRecord, //
    }, //
};
use core::{
    fmt::Write,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_char,
        c_int, //
    },
    prelude::*, //
};

/// An answer under construction.
struct Answer(NonNull<bindings::sk_buff>);

impl Answer {
    fn u8(&self, attribute: u32, value: u8) -> Result {
        // SAFETY: The message is ours for the call, as for all functions below.
        to_result(unsafe { ffi::kcgcs_put_u8(self.0.as_ptr(), attribute as c_int, value) })
    }

    fn u16(&self, attribute: u32, value: u16) -> Result {
        // SAFETY: See `u8`.
        to_result(unsafe { ffi::kcgcs_put_u16(self.0.as_ptr(), attribute as c_int, value) })
    }

    fn u32(&self, attribute: u32, value: u32) -> Result {
        // SAFETY: See `u8`.
        to_result(unsafe { ffi::kcgcs_put_u32(self.0.as_ptr(), attribute as c_int, value) })
    }

    fn u64(&self, attribute: u32, value: u64) -> Result {
        // SAFETY: See `u8`.
        to_result(unsafe { ffi::kcgcs_put_u64(self.0.as_ptr(), attribute as c_int, value) })
    }

    fn numbers(&self, attribute: u32, numbers: &[u32]) -> Result {
        let count = u32::try_from(numbers.len()).map_err(|_| EMSGSIZE)?;
        // SAFETY: See `u8`; there are so many numbers, and they are copied.
        to_result(unsafe {
            ffi::kcgcs_put_numbers(self.0.as_ptr(), attribute as c_int, numbers.as_ptr(), count)
        })
    }

    fn text(&self, attribute: u32, text: &[u8]) -> Result {
        let length = u32::try_from(text.len()).map_err(|_| EMSGSIZE)?;
        // SAFETY: See `u8`; the text has this length and is copied.
        to_result(unsafe {
            ffi::kcgcs_put_text(self.0.as_ptr(), attribute as c_int, text.as_ptr(), length)
        })
    }

    fn pair(&self, attribute: u32, name: &[u8], value: u64) -> Result {
        let length = u32::try_from(name.len()).map_err(|_| EMSGSIZE)?;
        // SAFETY: See `u8`; the name has this length and is copied.
        to_result(unsafe {
            ffi::kcgcs_put_pair(
                self.0.as_ptr(),
                attribute as c_int,
                name.as_ptr(),
                length,
                value,
            )
        })
    }

    fn address(&self, address: PeerAddress) -> Result {
        let mut bytes = [0; 64];
        let mut text = TextBuffer::new(&mut bytes);
        let _ = write!(text, "{address:?}");
        self.text(ffi::KCGCS_ATTR_ADDRESS, text.as_bytes())
    }
}

ffi::as_declared!(
    kcgcs_netlink_start,
    kcgcs_netlink_stop,
    kcgcs_netlink_evict,
    kcgcs_netlink_pin,
    kcgcs_netlink_put,
);

/// Runs a command; a complaint goes to the caller's message.
///
/// # Safety
///
/// `message` is `KCGCS_MESSAGE_SIZE` writable bytes that are zero.
unsafe fn answer(message: *mut c_char, command: impl FnOnce() -> Result<(), Complaint>) -> c_int {
    match command() {
        Ok(()) => 0,
        Err(complaint) => {
            // SAFETY: The caller lends these bytes.
            let place = unsafe {
                core::slice::from_raw_parts_mut(
                    message.cast::<u8>(),
                    ffi::KCGCS_MESSAGE_SIZE as usize - 1,
                )
            };
            for (byte, text) in place.iter_mut().zip(complaint.text().bytes()) {
                *byte = text;
            }
            complaint.error().to_errno()
        }
    }
}

fn net_of(net: *mut bindings::net) -> Result<NonNull<bindings::net>, Complaint> {
    NonNull::new(net).ok_or_else(registry::no_node)
}

/// Starts a node in the caller's namespace.
///
/// # Safety
///
/// `net` stays during the call; `request` has what its type says; for `message` see [`answer`].
#[no_mangle]
unsafe extern "C" fn kcgcs_netlink_start(
    net: *mut bindings::net,
    request: *const ffi::kcgcs_request,
    message: *mut c_char,
) -> c_int {
    let command = || {
        // SAFETY: The caller says that it is a request.
        let request = unsafe { &*request };
        let mut settings = Configuration::DEFAULT;
        for wanted in request.settings.iter().take(request.setting_count as usize) {
            // SAFETY: The name is a string of the request.
            let name = unsafe { c_bytes(wanted.name) }.unwrap_or_default();
            let place = setting(&mut settings, name).ok_or_else(|| {
                Complaint::new(
                    EINVAL,
                    format_args!("{}: no such setting", name.escape_ascii()),
                )
            })?;
            *place = u32::try_from(wanted.value).map_err(|_| {
                Complaint::new(
                    EINVAL,
                    format_args!("{}={} is too large", name.escape_ascii(), wanted.value),
                )
            })?;
        }
        // SAFETY: The texts are strings of the request, or NULL.
        let (cluster, detector, address, peers) = unsafe {
            (
                c_bytes(request.cluster),
                c_bytes(request.detector),
                c_bytes(request.address),
                c_bytes(request.peers),
            )
        };
        let settings = Settings::new(&Wishes {
            cluster: cluster.unwrap_or(b"kcgcs"),
            node_id: request.node_id,
            address: address.unwrap_or_default(),
            peers: peers.unwrap_or_default(),
            settings,
            detector: detector.unwrap_or(DetectorKind::default().name().as_bytes()),
            unreadable: |_| None,
        })?;
        registry::start(net_of(net)?, settings)
    };
    // SAFETY: The caller promises the same.
    unsafe { answer(message, command) }
}

/// Stops the node of the caller's namespace.
///
/// # Safety
///
/// `net` stays during the call; for `message` see [`answer`].
#[no_mangle]
unsafe extern "C" fn kcgcs_netlink_stop(net: *mut bindings::net, message: *mut c_char) -> c_int {
    // SAFETY: The caller promises the same.
    unsafe { answer(message, || registry::stop(net_of(net)?)) }
}

/// Has the node of the caller's namespace do what an administrator wants.
fn administer(
    net: *mut bindings::net,
    command: impl FnOnce(&mut Node, Instant) -> Result<(), CommandError>,
) -> Result<(), Complaint> {
    let instance = registry::find(net_of(net)?).ok_or_else(registry::no_node)?;
    let result = instance.with_engine(|engine, instance| engine.administer(instance, command));
    result.map_err(|error| {
        let words = match error {
            CommandError::NoQuorum => "the node has no view, or sees no quorum of it",
            CommandError::NoSuchMember => "there is no other member of that number",
            _ => "the node does nothing any more",
        };
        Complaint::new(errno::of_command(error), format_args!("{words}"))
    })
}

/// Puts a member out of the cluster of the caller's node.
///
/// # Safety
///
/// `net` stays during the call; for `message` see [`answer`].
#[no_mangle]
unsafe extern "C" fn kcgcs_netlink_evict(
    net: *mut bindings::net,
    node: u16,
    message: *mut c_char,
) -> c_int {
    let command = || match NodeId::new(node) {
        Some(subject) => administer(net, |node, now| node.evict(now, subject)),
        None => Err(Complaint::new(
            EINVAL,
            format_args!("nodes are numbered from 1 on"),
        )),
    };
    // SAFETY: The caller promises the same.
    unsafe { answer(message, command) }
}

/// Pins the views of the cluster of the caller's node for a while, or ends that.
///
/// # Safety
///
/// `net` stays during the call; for `message` see [`answer`].
#[no_mangle]
unsafe extern "C" fn kcgcs_netlink_pin(
    net: *mut bindings::net,
    span_ms: u32,
    message: *mut c_char,
) -> c_int {
    let command = || {
        if span_ms > PIN_SPAN_MS_MAX {
            return Err(Complaint::new(
                EINVAL,
                format_args!("views can be pinned for a day at most"),
            ));
        }
        administer(net, |node, now| node.pin(now, span_ms))
    };
    // SAFETY: The caller promises the same.
    unsafe { answer(message, command) }
}

/// Writes the answer to a question, or entry number `index` of a list: -ENODATA after the last one.
///
/// # Safety
///
/// `net` and `skb` stay during the call; `generation` can be written, or is NULL; for `message` see
/// [`answer`].
#[no_mangle]
unsafe extern "C" fn kcgcs_netlink_put(
    net: *mut bindings::net,
    skb: *mut bindings::sk_buff,
    command: u8,
    index: u32,
    generation: *mut u32,
    message: *mut c_char,
) -> c_int {
    let put = || {
        let instance = registry::find(net_of(net)?).ok_or_else(registry::no_node)?;
        let answer = Answer(NonNull::new(skb).ok_or_else(registry::no_node)?);
        let index = index as usize;
        let result = instance.with_engine(|engine, instance| {
            if let Some(generation) = NonNull::new(generation) {
                // SAFETY: The caller lends the place.
                unsafe { generation.write(generation_of(engine)) };
            }
            match u32::from(command) {
                ffi::KCGCS_CMD_NODE_GET => put_node(&answer, instance, engine),
                ffi::KCGCS_CMD_VIEW_GET => put_member(&answer, instance, engine, index),
                ffi::KCGCS_CMD_DELAY_GET => put_delays(&answer, instance, index),
                ffi::KCGCS_CMD_GROUP_GET => put_group(&answer, engine, index),
                _ => Err(EOPNOTSUPP),
            }
        });
        result.map_err(|error| Complaint::new(error, format_args!("no answer: {error:?}")))
    };
    // SAFETY: The caller promises the same.
    unsafe { answer(message, put) }
}

/// A number that is another one when the cluster view or one of the groups' has changed; never zero.
fn generation_of(engine: &Engine) -> u32 {
    let node = engine.node();
    let mut sum = node.view().map_or(0, |view| view.number.0);
    node.for_each_group(&mut |group| sum = sum.wrapping_add(group.view.0).wrapping_add(1));
    // Cut, since only differences count.
    (sum as u32).max(1)
}

fn put_view(answer: &Answer, view: &ClusterView, engine: &Engine) -> Result {
    answer.u64(ffi::KCGCS_ATTR_VIEW_NUMBER, view.number.0)?;
    answer.u16(ffi::KCGCS_ATTR_VIEW_ISSUER, view.issuer.number())?;
    answer.u8(
        ffi::KCGCS_ATTR_PRIMARY,
        u8::from(view.is_primary && engine.node().has_quorum()),
    )
}

fn is_coordinator(view: &ClusterView, member: &MemberRecord, instance: &Instance) -> u8 {
    let wanted = instance.configuration.coordinators;
    u8::from(view.is_coordinator(member.identity.node, wanted))
}

fn put_node(answer: &Answer, instance: &Instance, engine: &Engine) -> Result {
    let node = engine.node();
    let identity = node.identity();
    answer.text(ffi::KCGCS_ATTR_CLUSTER, instance.cluster.as_bytes())?;
    answer.u16(ffi::KCGCS_ATTR_NODE_ID, identity.node.number())?;
    answer.u64(ffi::KCGCS_ATTR_INCARNATION, identity.incarnation.0)?;
    answer.address(instance.address)?;
    answer.u8(ffi::KCGCS_ATTR_STATE, engine.state() as u8)?;
    if let Some(view) = node.view() {
        put_view(answer, view, engine)?;
        answer.u16(
            ffi::KCGCS_ATTR_MEMBERS,
            u16::try_from(view.count()).unwrap_or(u16::MAX),
        )?;
        if let Some(member) = view.member(identity.node) {
            answer.u16(ffi::KCGCS_ATTR_SLOT, member.slot.0)?;
            answer.u8(
                ffi::KCGCS_ATTR_IS_COORDINATOR,
                is_coordinator(view, member, instance),
            )?;
        }
    }
    if let Some((left, by)) = node.pinned(clock::now()) {
        let left_ms = u32::try_from(left.as_milliseconds()).unwrap_or(u32::MAX);
        answer.u32(ffi::KCGCS_ATTR_SPAN_MS, left_ms)?;
        answer.u16(ffi::KCGCS_ATTR_PINNED_BY, by.number())?;
    }
    let detector = instance.configuration.detector;
    answer.text(ffi::KCGCS_ATTR_DETECTOR, detector.name().as_bytes())?;
    let mut settings = instance.configuration;
    for name in SETTING_NAMES {
        if let Some(value) = setting(&mut settings, name.to_bytes()) {
            answer.pair(ffi::KCGCS_ATTR_SETTING, name.to_bytes(), u64::from(*value))?;
        }
    }
    let mut counters = instance.detector_counters();
    counters.add_all(node.counters());
    // What the socket had no room for never came to the protocol.
    counters.add(Counter::DroppedNoRoom, instance.socket.overflows());
    for counter in Counter::ALL {
        let name = counter.name().as_bytes();
        answer.pair(ffi::KCGCS_ATTR_COUNTER, name, counters.value(counter))?;
    }
    Ok(())
}

fn put_member(answer: &Answer, instance: &Instance, engine: &Engine, index: usize) -> Result {
    let view = engine.node().view().ok_or(ENODATA)?;
    let member = view.members().get(index).ok_or(ENODATA)?;
    put_view(answer, view, engine)?;
    answer.u16(ffi::KCGCS_ATTR_NODE_ID, member.identity.node.number())?;
    answer.u64(ffi::KCGCS_ATTR_INCARNATION, member.identity.incarnation.0)?;
    answer.address(member.address)?;
    answer.u16(ffi::KCGCS_ATTR_SLOT, member.slot.0)?;
    answer.u8(
        ffi::KCGCS_ATTR_IS_COORDINATOR,
        is_coordinator(view, member, instance),
    )
}

fn put_group(answer: &Answer, engine: &Engine, index: usize) -> Result {
    let mut place: usize = 0;
    let mut found: Option<GroupSummary> = None;
    engine.node().for_each_group(&mut |group| {
        if place == index {
            found = Some(*group);
        }
        place = place.saturating_add(1);
    });
    let group = found.ok_or(ENODATA)?;
    answer.text(ffi::KCGCS_ATTR_GROUP, group.name.as_bytes())?;
    answer.u64(ffi::KCGCS_ATTR_VIEW_NUMBER, group.view.0)?;
    answer.u16(ffi::KCGCS_ATTR_COORDINATOR, group.coordinator.number())?;
    answer.u16(ffi::KCGCS_ATTR_MEMBERS, group.members)?;
    answer.u16(ffi::KCGCS_ATTR_LOCAL_MEMBERS, group.local_members)?;
    answer.u32(ffi::KCGCS_ATTR_LOG_ENTRIES, group.log_entries)
}

const _: () = assert!(DELAY_BUCKETS == ffi::KCGCS_DELAY_BUCKETS as usize);

fn put_delays(answer: &Answer, instance: &Instance, index: usize) -> Result {
    let neighbour = instance.neighbour_delays(index).ok_or(ENODATA)?;
    answer.u16(ffi::KCGCS_ATTR_NODE_ID, neighbour.identity.node.number())?;
    answer.u64(
        ffi::KCGCS_ATTR_INCARNATION,
        neighbour.identity.incarnation.0,
    )?;
    for (attribute, histogram) in [
        (ffi::KCGCS_ATTR_RECEIVED_DELAYS, neighbour.received),
        (ffi::KCGCS_ATTR_SENT_DELAYS, neighbour.sent),
    ] {
        if let Some(histogram) = histogram {
            answer.numbers(attribute, &histogram.buckets)?;
        }
    }
    Ok(())
}
