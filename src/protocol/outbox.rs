// SPDX-License-Identifier: GPL-2.0

//! The outbox of a node: bounded queues of the datagrams and events that leave it.
//!
//! Datagrams are encoded at once into a ring of bytes, so that a queued datagram takes only its own length. The outbox
//! drops and counts a datagram that does not fit, as if the network had lost it: a node sends every message that
//! matters again until it is answered. It never drops events: membership and groups ask for [`Outbox::event_room`]
//! before they make progress that needs one.

use super::errors::{Counter, Counters};
use super::identity::{Identity, PeerAddress, ViewMark};
use super::limits::{DATAGRAM_BYTES_MAX, EVENT_QUEUE_MAX, TRANSMIT_BYTES_MAX};
use super::outputs::{Event, Transmit};
use super::wire::{write_datagram, Header, Kind, Writer};
use crate::platform::{report_broken_invariant, BoundedVec, OutOfMemory};

/// Bytes before each queued datagram: address, port, length.
const RECORD_HEAD_BYTES: usize = 20;

/// The queues of the datagrams and events that leave a node.
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub struct Outbox {
    ring: BoundedVec<u8>,
    head: usize,
    used: usize,
    scratch: BoundedVec<u8>,
    events: EventQueue,
    /// The counts of the node.
    pub counters: Counters,
    cluster: u32,
    own: Identity,
    view: ViewMark,
    counter: u64,
    is_broken: bool,
}

impl Outbox {
    /// Make empty queues. Allocates all that they ever need.
    pub fn new(own: Identity, cluster: u32) -> Result<Self, OutOfMemory> {
        let mut ring = BoundedVec::with_capacity(TRANSMIT_BYTES_MAX)?;
        while ring.extend_from_slice(&[0; 1024]).is_ok() {}
        while ring.push(0).is_ok() {}
        let mut scratch = BoundedVec::with_capacity(DATAGRAM_BYTES_MAX)?;
        while scratch.push(0).is_ok() {}
        Ok(Self {
            ring,
            head: 0,
            used: 0,
            scratch,
            events: EventQueue::new()?,
            counters: Counters::new(),
            cluster,
            own,
            view: ViewMark::default(),
            counter: 0,
            is_broken: false,
        })
    }

    /// Whether an invariant of this node has broken: it must not go on.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    fn report_broken(&mut self, what: &'static str) {
        report_broken_invariant(what);
        self.is_broken = true;
    }

    /// Name `own` as the sender in the headers from now on.
    pub fn set_identity(&mut self, own: Identity) {
        self.own = own;
        self.counter = 0;
    }

    /// Name `view` in the headers from now on.
    pub fn set_view(&mut self, view: ViewMark) {
        self.view = view;
    }

    /// Bytes of datagrams that still fit, for senders that can wait.
    pub fn transmit_room(&self) -> usize {
        self.ring.len().saturating_sub(self.used)
    }

    /// Queue one datagram for each address of `to`, with the same bytes for all. Drop and count those that do not fit.
    pub fn send<'a>(
        &mut self,
        to: impl IntoIterator<Item = &'a PeerAddress>,
        kind: Kind,
        body: impl FnOnce(&mut Writer<'_>) -> Option<()>,
    ) {
        self.counter = self.counter.wrapping_add(1);
        let header = Header {
            kind,
            cluster: self.cluster,
            sender: self.own,
            view: self.view.number,
            lineage: self.view.lineage,
            counter: self.counter,
        };
        let mut scratch = core::mem::replace(&mut self.scratch, BoundedVec::empty());
        match write_datagram(scratch.as_mut_slice(), &header, body) {
            Some(length) => {
                let datagram = scratch.get(..length).unwrap_or_default();
                for address in to {
                    self.queue(*address, datagram);
                }
            }
            None => self.report_broken("a message is longer than a datagram"),
        }
        self.scratch = scratch;
    }

    fn queue(&mut self, to: PeerAddress, datagram: &[u8]) {
        let needed = RECORD_HEAD_BYTES.saturating_add(datagram.len());
        let Ok(length) = u16::try_from(datagram.len()) else {
            return;
        };
        if self.transmit_room() < needed {
            self.counters.count(Counter::TransmitQueueFull);
            return;
        }
        self.put(&to.octets);
        self.put(&to.port.to_be_bytes());
        self.put(&length.to_be_bytes());
        self.put(datagram);
    }

    fn put(&mut self, bytes: &[u8]) {
        let size = self.ring.len();
        let start = self
            .head
            .saturating_add(self.used)
            .checked_rem(size)
            .unwrap_or(0);
        let (first, second) = bytes.split_at(bytes.len().min(size.saturating_sub(start)));
        let ring = self.ring.as_mut_slice();
        if let Some(place) = ring.get_mut(start..start.saturating_add(first.len())) {
            place.copy_from_slice(first);
        }
        if let Some(place) = ring.get_mut(..second.len()) {
            place.copy_from_slice(second);
        }
        self.used = self.used.saturating_add(bytes.len());
    }

    fn take(&mut self, into: &mut [u8]) {
        let size = self.ring.len();
        let length = into.len();
        let (first, second) = into.split_at_mut(length.min(size.saturating_sub(self.head)));
        if let Some(place) = self
            .ring
            .get(self.head..self.head.saturating_add(first.len()))
        {
            first.copy_from_slice(place);
        }
        if let Some(place) = self.ring.get(..second.len()) {
            second.copy_from_slice(place);
        }
        self.head = self
            .head
            .saturating_add(length)
            .checked_rem(size)
            .unwrap_or(0);
        self.used = self.used.saturating_sub(length);
    }

    /// Move the oldest datagram to `buffer`, which must hold [`DATAGRAM_BYTES_MAX`] bytes. If the datagram does not
    /// fit, the node counts as broken.
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<Transmit> {
        if self.used == 0 {
            return None;
        }
        let mut octets = [0; 16];
        let mut port = [0; 2];
        let mut length = [0; 2];
        self.take(&mut octets);
        self.take(&mut port);
        self.take(&mut length);
        let length = usize::from(u16::from_be_bytes(length));
        match buffer.get_mut(..length) {
            Some(place) => self.take(place),
            None => {
                self.report_broken("the shell's buffer is shorter than a datagram");
                self.head = 0;
                self.used = 0;
                return None;
            }
        }
        self.counters.count(Counter::DatagramsSent);
        self.counters.add(Counter::BytesSent, length as u64);
        Some(Transmit {
            to: PeerAddress {
                octets,
                port: u16::from_be_bytes(port),
            },
            length,
        })
    }

    /// Whether the room for datagrams or events that groups may use is half full.
    pub fn is_half_full(&self) -> bool {
        self.transmit_room() < TRANSMIT_BYTES_MAX / 2
            || self.event_room() < EVENT_QUEUE_MAX - EVENT_QUEUE_MAX / 8
    }

    /// How many events still fit.
    pub fn event_room(&self) -> usize {
        self.events.room()
    }

    /// Queue an event. The caller has asked for room, or the event is of the membership: the size of a view bounds how
    /// many there are of these, and room is kept for them.
    pub fn event(&mut self, event: Event) {
        if self.events.push(event).is_err() {
            self.report_broken("the event queue is full");
        }
    }

    /// Remove and return the oldest event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }
}

/// A queue of events in a ring.
#[cfg_attr(kcgcs_exploration, derive(Clone))]
struct EventQueue {
    places: BoundedVec<Option<Event>>,
    head: usize,
    length: usize,
}

impl EventQueue {
    fn new() -> Result<Self, OutOfMemory> {
        let mut places = BoundedVec::with_capacity(EVENT_QUEUE_MAX)?;
        while places.push(None).is_ok() {}
        Ok(Self {
            places,
            head: 0,
            length: 0,
        })
    }

    fn room(&self) -> usize {
        self.places.len().saturating_sub(self.length)
    }

    fn push(&mut self, event: Event) -> Result<(), Event> {
        if self.room() == 0 {
            return Err(event);
        }
        let index = self
            .head
            .saturating_add(self.length)
            .checked_rem(self.places.len())
            .unwrap_or(0);
        match self.places.as_mut_slice().get_mut(index) {
            Some(place) => {
                *place = Some(event);
                self.length = self.length.saturating_add(1);
                Ok(())
            }
            None => Err(event),
        }
    }

    fn pop(&mut self) -> Option<Event> {
        if self.length == 0 {
            return None;
        }
        let size = self.places.len();
        let event = self.places.as_mut_slice().get_mut(self.head)?.take();
        self.head = self.head.saturating_add(1).checked_rem(size).unwrap_or(0);
        self.length = self.length.saturating_sub(1);
        event
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_outbox))]
mod tests {
    use super::*;
    use crate::protocol::identity::ViewNumber;
    use crate::protocol::limits::HEADER_BYTES;
    use crate::protocol::test_support::{
        address, identity, identity_in, outbox, TestResult, Unexpected, CLUSTER,
    };
    use crate::protocol::wire::Datagram;

    const BODY_MAX: usize = DATAGRAM_BYTES_MAX - HEADER_BYTES;

    /// Sends a body of `length` bytes of value `fill`.
    fn send(outbox: &mut Outbox, to: &[PeerAddress], length: usize, fill: u8) {
        outbox.send(to, Kind::Report, |writer| {
            (0..length).try_for_each(|_| writer.u8(fill))
        });
    }

    /// Whether the oldest datagram is one to `to` with a body of `length` bytes of value `fill`.
    fn is_next(outbox: &mut Outbox, to: PeerAddress, length: usize, fill: u8) -> bool {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let Some(transmit) = outbox.poll_transmit(&mut buffer) else {
            return false;
        };
        let bytes = buffer.get(..transmit.length).unwrap_or_default();
        Datagram::parse(bytes, CLUSTER).is_ok_and(|datagram| {
            transmit.to == to
                && datagram.header.kind == Kind::Report
                && datagram.header.sender == identity(1)
                && datagram.body.len() == length
                && datagram.body.iter().all(|byte| *byte == fill)
        })
    }

    #[test]
    fn datagrams_leave_in_the_order_they_were_sent() -> TestResult {
        let mut outbox = outbox()?;
        assert!(outbox.poll_transmit(&mut [0; DATAGRAM_BYTES_MAX]).is_none());
        send(&mut outbox, &[address(2)], 3, 7);
        send(&mut outbox, &[address(3), address(4)], 0, 0);
        send(&mut outbox, &[], 5, 5);
        send(&mut outbox, &[address(5)], BODY_MAX, 9);
        assert!(is_next(&mut outbox, address(2), 3, 7));
        assert!(is_next(&mut outbox, address(3), 0, 0));
        assert!(is_next(&mut outbox, address(4), 0, 0));
        assert!(is_next(&mut outbox, address(5), BODY_MAX, 9));
        assert!(outbox.poll_transmit(&mut [0; DATAGRAM_BYTES_MAX]).is_none());
        assert_eq!(outbox.counters.value(Counter::DatagramsSent), 4);
        let bytes = (4 * HEADER_BYTES + 3 + BODY_MAX) as u64;
        assert_eq!(outbox.counters.value(Counter::BytesSent), bytes);
        Ok(())
    }

    #[test]
    fn datagrams_of_all_lengths_wrap_around_the_ring_unchanged() -> TestResult {
        let mut outbox = outbox()?;
        // Three datagrams always wait, so that the end of the ring falls on each field in turn.
        const WAITING: usize = 3;
        let length = |number: usize| (number * 7) % (BODY_MAX + 1);
        for number in 0..4 * BODY_MAX {
            let to = [address(number as u16)];
            send(&mut outbox, &to, length(number), number as u8);
            if let Some(oldest) = number.checked_sub(WAITING) {
                let to = address(oldest as u16);
                assert!(is_next(&mut outbox, to, length(oldest), oldest as u8));
            }
        }
        assert_eq!(outbox.counters.value(Counter::TransmitQueueFull), 0);
        Ok(())
    }

    #[test]
    fn a_datagram_that_does_not_fit_is_dropped_and_counted() -> TestResult {
        let mut outbox = outbox()?;
        let record = RECORD_HEAD_BYTES + DATAGRAM_BYTES_MAX;
        let fits = TRANSMIT_BYTES_MAX / record;
        for number in 0..fits + 3 {
            send(
                &mut outbox,
                &[address(number as u16)],
                BODY_MAX,
                number as u8,
            );
        }
        assert_eq!(outbox.counters.value(Counter::TransmitQueueFull), 3);
        assert_eq!(outbox.transmit_room(), TRANSMIT_BYTES_MAX - fits * record);
        // A shorter datagram still fits, to the last byte.
        let room = outbox.transmit_room();
        send(
            &mut outbox,
            &[address(9)],
            room - RECORD_HEAD_BYTES - HEADER_BYTES + 1,
            1,
        );
        assert_eq!(outbox.transmit_room(), room);
        send(
            &mut outbox,
            &[address(9)],
            room - RECORD_HEAD_BYTES - HEADER_BYTES,
            1,
        );
        assert_eq!(outbox.transmit_room(), 0);
        for number in 0..fits {
            assert!(is_next(
                &mut outbox,
                address(number as u16),
                BODY_MAX,
                number as u8
            ));
        }
        assert!(is_next(
            &mut outbox,
            address(9),
            room - RECORD_HEAD_BYTES - HEADER_BYTES,
            1
        ));
        assert_eq!(outbox.transmit_room(), TRANSMIT_BYTES_MAX);
        Ok(())
    }

    #[test]
    fn headers_hold_the_sender_its_view_and_a_growing_counter() -> TestResult {
        let mut outbox = outbox()?;
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let mut next = |outbox: &mut Outbox| {
            send(outbox, &[address(2)], 0, 0);
            let length = outbox.poll_transmit(&mut buffer).ok_or(Unexpected)?.length;
            let bytes = buffer.get(..length).ok_or(Unexpected)?;
            Ok::<_, Unexpected>(Datagram::parse(bytes, CLUSTER)?.header)
        };
        let first = next(&mut outbox)?;
        assert_eq!((first.view, first.counter), (ViewNumber(0), 1));
        let view = ViewMark {
            number: ViewNumber(7),
            lineage: 3,
        };
        outbox.set_view(view);
        let second = next(&mut outbox)?;
        assert_eq!((second.view, second.counter), (ViewNumber(7), 2));
        // A new incarnation counts from the start: its receivers know it as another sender.
        outbox.set_identity(identity_in(1, 2));
        let third = next(&mut outbox)?;
        assert_eq!((third.sender, third.counter), (identity_in(1, 2), 1));
        Ok(())
    }

    #[test]
    fn all_receivers_of_one_message_get_the_same_counter() -> TestResult {
        let mut outbox = outbox()?;
        send(&mut outbox, &[address(2), address(3)], 1, 1);
        let mut buffers = [[0; DATAGRAM_BYTES_MAX]; 2];
        for buffer in &mut buffers {
            assert!(outbox.poll_transmit(buffer).is_some());
        }
        let [one, other] = buffers;
        assert!(one == other);
        Ok(())
    }

    #[test]
    fn events_are_polled_in_order_around_the_ring() -> TestResult {
        let mut outbox = outbox()?;
        let mut queued = 0;
        let mut polled = 0;
        assert_eq!(outbox.event_room(), EVENT_QUEUE_MAX);
        assert!(outbox.poll_event().is_none());
        for batch in [1, EVENT_QUEUE_MAX, 3, EVENT_QUEUE_MAX - 1, EVENT_QUEUE_MAX] {
            for _ in 0..batch {
                queued += 1;
                outbox.event(Event::ClusterView {
                    number: ViewNumber(queued),
                });
            }
            assert_eq!(outbox.event_room(), EVENT_QUEUE_MAX - batch);
            while let Some(Event::ClusterView { number }) = outbox.poll_event() {
                polled += 1;
                assert_eq!(number.0, polled);
            }
            assert_eq!(polled, queued);
            assert_eq!(outbox.event_room(), EVENT_QUEUE_MAX);
        }
        Ok(())
    }

    #[test]
    fn a_full_queue_of_events_returns_the_next_one() -> TestResult {
        let mut events = EventQueue::new()?;
        for _ in 0..EVENT_QUEUE_MAX {
            events.push(Event::QuorumLost).map_err(|_| Unexpected)?;
        }
        assert_eq!(events.room(), 0);
        assert!(matches!(events.push(Event::Left), Err(Event::Left)));
        assert!(matches!(events.pop(), Some(Event::QuorumLost)));
        assert!(events.push(Event::Left).is_ok());
        Ok(())
    }
}
