// SPDX-License-Identifier: GPL-2.0

//! The half of a node that runs in soft interrupts: the receive hook, the heartbeat timer, and the failure
//! detector that both drive.
//!
//! ```text
//!   new --> start --> receives, sends heartbeats --silence--> stopped --close--> RCU grace period --> drop
//! ```
//!
//! It answers and sends heartbeats and probes by itself, whether or not processes are scheduled. It queues all
//! other datagrams for the engine, and wakes the engine for them and for reports of the failure detector. It
//! allocates nothing but the packets that it sends.
//!
//! The receive hook gets a pointer to this very type, and the timer calls a method of it: on the path of a
//! heartbeat no call is dispatched at run time but the one that the timer makes.

use crate::{
    linux::{
        ffi,
        network::udp_socket::{
            Datagram,
            Socket, //
        },
        observability::trace_points,
        runtime::{
            bottom_half_lock::{
                new_bottom_half_lock,
                BottomHalfLock, //
            },
            clock,
            deadline_timer::DeadlineTimer,
            engine_link::EngineLink, //
        }, //
    },
    platform::OutOfMemory,
    protocol::{
        configuration::{
            DetectorKind,
            ValidConfiguration, //
        },
        errors::{
            Counter,
            Counters, //
        },
        failure_detector::{
            DetectorAssignment,
            DetectorReport,
            DetectorVerdict,
            FailureDetector,
            NeighbourDelays, //
        },
        identity::{
            Identity,
            NodeId,
            PeerAddress, //
        },
        limits::{
            DETECTOR_BYTES_MAX,
            HEARTBEAT_BYTES, //
        },
        time::Instant,
        view::MemberRecord, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    ffi::c_void,
    prelude::*,
    sync::Arc, //
};

/// The failure detector, and the time that its timer is set to.
struct State {
    failure_detector: KBox<FailureDetector>,
    /// When the timer fires; `None`: it is idle.
    armed: Option<Instant>,
    is_stopped: bool,
}

/// The bottom half of one node.
#[pin_data(PinnedDrop)]
pub(crate) struct BottomHalf {
    // The timer and the socket come first: dropping them waits for the timer's function and for the receive hook,
    // which use the other fields.
    #[pin]
    timer: DeadlineTimer<BottomHalf>,
    socket: Socket,
    #[pin]
    state: BottomHalfLock<State>,
    link: Arc<EngineLink>,
    node: NodeId,
    detector: DetectorKind,
}

impl BottomHalf {
    /// Make the bottom half of a node. It does not receive or send yet.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn new(
        identity: Identity,
        configuration: &ValidConfiguration,
        now: Instant,
        socket: Socket,
        link: Arc<EngineLink>,
    ) -> Result<Arc<Self>> {
        let failure_detector = Self::make_detector(identity, configuration, now)?;
        let state = State {
            failure_detector,
            armed: None,
            is_stopped: false,
        };
        Arc::pin_init(
            pin_init!(&this in Self {
                // SAFETY: `this` is pinned. Dropping it first keeps everybody from starting the timer again
                // (`silence`), and then stops the timer before the fields that `beat` uses are dropped.
                timer <- unsafe { DeadlineTimer::new(this, Self::beat) },
                socket,
                state <- new_bottom_half_lock!(state, "kcgcs_detector"),
                link,
                node: identity.node,
                detector: configuration.settings().detector,
            }),
            GFP_KERNEL,
        )
    }

    /// Make a failure detector on the heap. It is made on the stack first, and too large to lie there beside
    /// anything else: hence a function of its own.
    #[inline(never)]
    fn make_detector(
        identity: Identity,
        configuration: &ValidConfiguration,
        now: Instant,
    ) -> Result<KBox<FailureDetector>> {
        let seed = clock::random_seed();
        let room = KBox::new_uninit(GFP_KERNEL)?;
        match FailureDetector::new(identity, configuration, now, seed) {
            Ok(failure_detector) => Ok(KBox::write(room, failure_detector)),
            Err(OutOfMemory) => Err(ENOMEM),
        }
    }

    /// Start to receive.
    ///
    /// Context: Process context.
    pub(crate) fn start(&self) {
        // SAFETY: `kcgcs_receive` and `kcgcs_received` below expect this type. The socket is dropped, which closes
        // it and waits for an RCU grace period, before the fields that the two use and before the memory is freed.
        unsafe { self.socket.start(NonNull::from(self).cast()) }
    }

    /// Send and read no heartbeat from now on.
    ///
    /// Context: Process context or soft interrupt.
    pub(crate) fn silence(&self) {
        self.state.lock().is_stopped = true;
    }

    /// Close the socket. A receive hook or a sender that has begun may still run until an RCU grace period is over.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn close(&self) {
        self.socket.close();
    }

    /// Stop sending heartbeats: the timer's function does not run any more when this returns.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn end(&self) {
        self.silence();
        self.timer.stop();
    }

    // ---- soft interrupts ----------------------------------------------------------------------

    /// Handle a received datagram. Returns whether it is to be queued for the engine.
    ///
    /// Context: Soft interrupt.
    fn handle_received(&self, from: PeerAddress, bytes: &[u8]) -> bool {
        let now = clock::now();
        let verdict = {
            let mut state = self.state.lock();
            if state.is_stopped {
                return false;
            }
            state.failure_detector.handle_datagram(now, from, bytes)
        };
        match verdict {
            DetectorVerdict::ForEngine => true,
            DetectorVerdict::ForBoth => {
                self.drive_detector(now);
                true
            }
            DetectorVerdict::Consumed => {
                trace_points::heartbeat_receive(self.node, from, bytes.len());
                self.drive_detector(now);
                false
            }
            DetectorVerdict::Dropped(_) => false,
        }
    }

    /// Handle the timer of the failure detector.
    ///
    /// Context: Soft interrupt.
    fn beat(&self) {
        let now = clock::now();
        {
            let mut state = self.state.lock();
            state.armed = None;
            if state.is_stopped {
                return;
            }
            state.failure_detector.handle_timer(now);
        }
        self.drive_detector(now);
    }

    /// Send what the failure detector has to send, set its timer, and wake the engine for its reports.
    fn drive_detector(&self, now: Instant) {
        match self.detector {
            DetectorKind::Ring => self.send_detector(now, &mut [0; HEARTBEAT_BYTES]),
            DetectorKind::Gossip => self.send_gossip(now),
        }
        let has_reports = {
            let mut state = self.state.lock();
            let next = state.failure_detector.next_deadline();
            // The timer may fire too early, never too late.
            let is_sooner = match (next, state.armed) {
                (Some(next), Some(armed)) => next < armed,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if is_sooner && !state.is_stopped {
                if let Some(next) = next {
                    self.timer.start(next);
                    state.armed = Some(next);
                }
            }
            state.failure_detector.has_reports()
        };
        if has_reports {
            self.link.wake();
        }
    }

    /// Send gossip. A function of its own, so that heartbeats do not pay for a buffer that only gossip needs.
    #[inline(never)]
    fn send_gossip(&self, now: Instant) {
        self.send_detector(now, &mut [0; DETECTOR_BYTES_MAX]);
    }

    fn send_detector(&self, now: Instant, buffer: &mut [u8]) {
        loop {
            // Sending happens outside of the lock: it may take long, and over loopback it ends in the receive hook.
            let transmit = self.state.lock().failure_detector.poll_transmit(now, buffer);
            let Some(transmit) = transmit else {
                return;
            };
            let bytes = buffer.get(..transmit.length).unwrap_or_default();
            trace_points::heartbeat_send(self.node, transmit.to, bytes.len());
            // The protocol treats a datagram that cannot be sent as one that the network lost.
            let _ = self.socket.transmit(transmit.to, bytes, true);
        }
    }

    // ---- for the engine -----------------------------------------------------------------------

    /// Take the oldest datagram that waits for the engine.
    pub(crate) fn take_datagram(&self) -> Option<Datagram> {
        self.socket.take()
    }

    /// Send a datagram of the engine.
    ///
    /// Context: Process context.
    pub(crate) fn transmit(&self, to: PeerAddress, bytes: &[u8]) {
        trace_points::datagram_send(self.node, to, bytes.len());
        // The protocol treats a datagram that cannot be sent as one that the network lost.
        let _ = self.socket.transmit(to, bytes, false);
    }

    /// Take the oldest report of the failure detector.
    pub(crate) fn take_report(&self) -> Option<DetectorReport> {
        self.state.lock().failure_detector.poll_report()
    }

    /// Install in the failure detector whom to send heartbeats to and whom to monitor in a view of `members`.
    ///
    /// Context: Process context.
    pub(crate) fn assign(
        &self,
        now: Instant,
        assignment: &DetectorAssignment,
        members: &[MemberRecord],
    ) {
        let mut state = self.state.lock();
        state.failure_detector.install(now, assignment, members);
        drop(state);
        self.drive_detector(now);
    }

    // ---- for operators ------------------------------------------------------------------------

    /// How late the heartbeats from and to the neighbour at `place` are; `None` after the last neighbour.
    pub(crate) fn neighbour_delays(&self, place: usize) -> Option<NeighbourDelays> {
        self.state.lock().failure_detector.neighbour_delays(place).copied()
    }

    /// What the failure detector has counted, and the datagrams that the socket dropped for want of room.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = *self.state.lock().failure_detector.counters();
        counters.add(Counter::DroppedNoRoom, self.socket.overflows());
        counters
    }
}

#[pinned_drop]
impl PinnedDrop for BottomHalf {
    fn drop(self: Pin<&mut Self>) {
        // A receive hook may still be under way, until the socket is dropped. It must not start the timer again.
        self.silence();
    }
}

ffi::as_declared!(kcgcs_receive, kcgcs_received);

/// Handle a received datagram. Returns whether it is to be queued for the engine.
///
/// Context: Soft interrupt, inside of an RCU read section.
///
/// # Safety
///
/// `context` was given to `kcgcs_socket_start`; `address` is 16 bytes, `payload` is `length` bytes.
#[no_mangle]
unsafe extern "C" fn kcgcs_receive(
    context: *mut c_void,
    address: *const u8,
    port: u16,
    payload: *const u8,
    length: u32,
) -> bool {
    // SAFETY: `BottomHalf::start` gave a pointer to a `BottomHalf`, which waits for this RCU read section before it
    // goes away.
    let bottom_half = unsafe { &*context.cast::<BottomHalf>() };
    // SAFETY: The caller says that there are 16 bytes; an array of bytes needs no alignment.
    let octets = unsafe { *address.cast::<[u8; 16]>() };
    // SAFETY: The caller says that the payload has this length; it stays during this call.
    let bytes = unsafe { core::slice::from_raw_parts(payload, length as usize) };
    bottom_half.handle_received(PeerAddress { octets, port }, bytes)
}

/// Wake the engine for a datagram that was queued.
///
/// Context: Soft interrupt, inside of an RCU read section.
///
/// # Safety
///
/// `context` was given to `kcgcs_socket_start`.
#[no_mangle]
unsafe extern "C" fn kcgcs_received(context: *mut c_void) {
    // SAFETY: `BottomHalf::start` gave a pointer to a `BottomHalf`, which waits for this RCU read section before it
    // goes away.
    let bottom_half = unsafe { &*context.cast::<BottomHalf>() };
    bottom_half.link.wake();
}
