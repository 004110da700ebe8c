// SPDX-License-Identifier: GPL-2.0

//! A member of a group: an open `/dev/kcgcs` in a node's namespace, and all records read from it.

use std::sync::Arc;

use kcgcsctl::clock::monotonic_ns;
use kcgcsctl::device::{Device, Got, Written};
use kcgcsctl::record::{Body, Member as Address, Reason, Record, View};
use nix::errno::Errno;
use trace_checker::trace::{TraceEvent, ViewId};

use super::network::Namespace;
use super::trace::Writer;

/// The bound of unread records, which is so large that no test loses any.
const QUEUE_BYTES: u32 = 8 * 1024 * 1024;

/// A delivered message, by its sender and the sender's number for it.
pub type Delivery = (u16, u32, u64, u64);

/// A member.
pub struct Member {
    device: Device,
    writer: Writer,
    /// The last view, unless it had no members.
    view: Option<View>,
    views: Vec<View>,
    /// The place among them of the first view in the present incarnation of the node.
    first_view: usize,
    deliveries: Vec<Delivery>,
    texts: Vec<String>,
    last_sequence: u64,
    /// The number of views without members that it got, which say that it is out.
    pub times_out: usize,
    /// Whether the node has gone away.
    pub is_gone: bool,
    events: Vec<TraceEvent>,
}

impl Member {
    /// Join a group at a node.
    pub fn join(namespace: &Namespace, node: u16, group: &Arc<str>) -> Result<Self, String> {
        let device = namespace.run(|| {
            Device::join(group, QUEUE_BYTES).map_err(|failure| format!("node {node}: {failure}"))
        })?;
        Ok(Self {
            device,
            writer: Writer {
                node,
                incarnation: 0,
                group: Arc::clone(group),
                endpoint: 0,
            },
            view: None,
            views: Vec::new(),
            first_view: 0,
            deliveries: Vec::new(),
            texts: Vec::new(),
            last_sequence: 0,
            times_out: 0,
            is_gone: false,
            events: Vec::new(),
        })
    }

    /// The present view, if it is in one.
    pub fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// All its views that had members.
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// The first of these in the present incarnation of the node.
    pub fn first_view_of_this_incarnation(&self) -> Option<&View> {
        self.views.get(self.first_view)
    }

    /// The messages delivered, in order.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// The beginnings of the messages delivered, in order.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Its identity as a member.
    pub fn address(&self) -> trace_checker::trace::Member {
        trace_checker::trace::Member {
            node: self.writer.node,
            endpoint: self.writer.endpoint,
            incarnation: self.writer.incarnation,
        }
    }

    /// The numbers of the view's nodes, sorted; none when it is out.
    pub fn nodes(&self) -> Vec<u16> {
        let members = self.view.iter().flat_map(|view| &view.members);
        let mut nodes: Vec<u16> = members.map(|member| member.node).collect();
        nodes.sort_unstable();
        nodes
    }

    /// Read all waiting records, and return them as events of the trace.
    pub fn pump(&mut self) -> Result<Vec<TraceEvent>, String> {
        loop {
            match self.device.read().map_err(|failure| failure.to_string())? {
                Got::Records(records) => {
                    for record in &records {
                        self.take(record)?;
                    }
                }
                Got::Nothing => break,
                Got::End => {
                    self.is_gone = true;
                    break;
                }
            }
        }
        Ok(std::mem::take(&mut self.events))
    }

    fn take(&mut self, record: &Record) -> Result<(), String> {
        let node = self.writer.node;
        match &record.body {
            Body::View(view) => self.install(record.t, view),
            Body::Message(message) => {
                let view = self.view.as_ref().map(|view| ViewId {
                    number: view.number,
                    coordinator: view.coordinator,
                });
                if view.map(|view| view.number) != Some(message.view) {
                    return Err(format!(
                        "node {node} delivered a message of view {} in view {view:?}",
                        message.view
                    ));
                }
                self.events
                    .push(self.writer.deliver(record.t, message, view));
                let sender = &message.sender;
                self.deliveries.push((
                    sender.node,
                    sender.endpoint,
                    sender.incarnation,
                    message.sequence,
                ));
                let words = message.payload.split(|byte| *byte == b'|').next();
                self.texts
                    .push(String::from_utf8_lossy(words.unwrap_or_default()).into_owned());
                Ok(())
            }
            Body::Block => {
                if self.writer.incarnation != 0 {
                    self.events.push(self.writer.block(record.t));
                }
                Ok(())
            }
            Body::Writable => Ok(()),
            other => Err(format!("node {node}: unexpected record {other:?}")),
        }
    }

    fn install(&mut self, t: u64, view: &View) -> Result<(), String> {
        if view.members.is_empty() {
            self.times_out += 1;
            self.view = None;
            if self.writer.incarnation != 0 {
                self.events.push(self.writer.view(t, view));
            }
            return Ok(());
        }
        let own = self.own_in(view).ok_or_else(|| {
            format!(
                "node {} was given a view without itself: {view:?}",
                self.writer.node
            )
        })?;
        if own.incarnation != self.writer.incarnation {
            // A new incarnation numbers its messages from the beginning.
            self.last_sequence = 0;
            self.first_view = self.views.len();
        }
        self.writer.endpoint = own.endpoint;
        self.writer.incarnation = own.incarnation;
        self.events.push(self.writer.view(t, view));
        self.views.push(view.clone());
        self.view = Some(view.clone());
        Ok(())
    }

    /// The member's own identity in a view. The kernel names the reader in the view; if the reader is slower than a
    /// change of incarnation, it is found by its handle.
    fn own_in(&self, view: &View) -> Option<Address> {
        let (node, endpoint) = (self.writer.node, self.writer.endpoint);
        view.own.or_else(|| {
            let mut members = view.members.iter();
            members
                .find(|member| member.node == node && member.endpoint == endpoint)
                .copied()
        })
    }

    /// Multicast a message, if the kernel accepts it now.
    pub fn send(&mut self, payload: &[u8]) -> Result<Written, String> {
        if self.view.is_none() {
            return Ok(Written::NotConnected);
        }
        let t = monotonic_ns();
        let written = self
            .device
            .write(payload)
            .map_err(|error| format!("node {}: multicast: {error}", self.writer.node))?;
        if written == Written::Taken {
            self.last_sequence += 1;
            self.events
                .push(self.writer.send(t, self.last_sequence, payload));
        }
        Ok(written)
    }

    /// Require that sending fails with `wanted`.
    pub fn is_refused(&mut self, wanted: Errno) -> Result<(), String> {
        match self.device.write(b"refuse me") {
            Err(error) if error.raw_os_error() == Some(wanted as i32) => Ok(()),
            other => Err(format!(
                "node {}: multicast gave {other:?}, not {wanted}",
                self.writer.node
            )),
        }
    }

    /// Leave the group, and return the last events.
    pub fn leave(mut self) -> Result<Vec<TraceEvent>, String> {
        let mut events = self.pump()?;
        let asked = monotonic_ns();
        let Self { device, writer, .. } = self;
        drop(device);
        if writer.incarnation != 0 {
            events.push(writer.leave(asked, false));
            events.push(writer.leave(monotonic_ns(), true));
        }
        Ok(events)
    }
}

/// The nodes whose members left with a view, and the reasons.
pub fn departures(view: &View) -> Vec<(u16, Reason)> {
    view.left
        .iter()
        .map(|(member, reason)| (member.node, *reason))
        .collect()
}
