// SPDX-License-Identifier: GPL-2.0

//! One node of one network namespace: what belongs together, how it starts and how it ends.
//!
//! ```text
//!   start --> running --begin_leave, wait_left--> left --+
//!                |                                       |
//!                +---- the namespace goes away ----------+--> close --> RCU grace period --> finish
//! ```
//!
//! The heartbeat half runs in soft interrupts and is here; the rest is in [`super::engine`].

use super::{
    bottom_half_lock::{
        new_bottom_half_lock,
        BottomHalfLock, //
    },
    clock,
    cluster_notifier::ClusterNotifier,
    deadline_timer::DeadlineTimer,
    engine::Engine,
    fence_gate::FenceGate,
    live_objects::{
        Kind,
        LiveObject, //
    },
    no_io::NoIo,
    settings::{
        ClusterName,
        Complaint,
        Settings, //
    },
    trace_points,
    udp_socket::Socket,
    work_item::{
        WorkItem,
        WorkQueue, //
    }, //
};
use crate::platform::OutOfMemory;
use crate::protocol::{
    configuration::{
        Configuration,
        DetectorKind,
        ValidConfiguration, //
    },
    errors::Counters,
    identity::{
        Identity,
        Incarnation,
        NodeId,
        PeerAddress, //
    },
    limits::{
        HEARTBEAT_BYTES,
        DETECTOR_BYTES_MAX, //
    },
    failure_detector::{
        NeighbourDelays,
        FailureDetector,
        DetectorAssignment,
        DetectorReport,
        DetectorVerdict, //
    },
    time::Instant,
    view::MemberRecord, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Completion,
        Mutex, //
    }, //
};

/// The failure detector and what its timer stands at.
struct Beating {
    failure_detector: KBox<FailureDetector>,
    /// What the timer is set to.
    armed: Option<Instant>,
    is_stopped: bool,
}

/// One node of one network namespace.
#[pin_data]
pub(crate) struct Instance {
    /// Which namespace: compared, never followed after the namespace is gone.
    pub(super) net: NonNull<bindings::net>,
    pub(super) node: NodeId,
    pub(super) cluster: ClusterName,
    pub(super) address: PeerAddress,
    pub(super) configuration: Configuration,
    /// Set when nothing may be started any more.
    stopping: Atomic<bool>,
    /// Whether the node sees a quorum, as the engine saw it last.
    quorum: Atomic<bool>,
    // Timers and work items come before what they use, so that they end before it is dropped.
    #[pin]
    detector_timer: DeadlineTimer<Instance>,
    #[pin]
    engine_timer: DeadlineTimer<Instance>,
    #[pin]
    engine_work: WorkItem<Instance>,
    #[pin]
    fence_work: WorkItem<Instance>,
    #[pin]
    pub(super) fence_gate: FenceGate,
    #[pin]
    pub(super) notifier: ClusterNotifier,
    pub(super) engine_queue: WorkQueue,
    /// Consumers may sleep long in their callbacks: they have a queue of their own.
    pub(super) delivery_queue: WorkQueue,
    #[pin]
    beating: BottomHalfLock<Beating>,
    #[pin]
    pub(super) engine: Mutex<Engine>,
    #[pin]
    pub(super) left: Completion,
    pub(super) socket: Socket,
    _live: LiveObject,
}

// SAFETY: The namespace pointer is only compared, or used while the namespace is known to be there;
// everything else may be sent and shared.
unsafe impl Send for Instance {}
// SAFETY: As above.
unsafe impl Sync for Instance {}

impl Instance {
    /// Starts a node in a namespace that has none.
    ///
    /// Context: Process context. May sleep. The namespace stays during the call.
    pub(super) fn start(
        net: NonNull<bindings::net>,
        settings: Settings,
    ) -> Result<Arc<Self>, Complaint> {
        let Settings {
            cluster,
            node,
            address,
            configuration,
        } = settings;
        let socket = Socket::bind(net, address).map_err(|error| {
            Complaint::new(
                error,
                format_args!("address={address:?}: cannot be bound ({error:?})"),
            )
        })?;
        let out_of_memory = |_| Complaint::out_of_memory();
        let identity = Identity {
            node,
            incarnation: Incarnation(clock::new_incarnation()),
        };
        let now = clock::now();
        let plain = *configuration.settings();
        let failure_detector = Self::make_detector(identity, &configuration, now).map_err(out_of_memory)?;
        let engine =
            Engine::new(identity, address, configuration, now, cluster).map_err(out_of_memory)?;
        let engine_queue = WorkQueue::new(c"kcgcs", true).map_err(out_of_memory)?;
        let delivery_queue = WorkQueue::new(c"kcgcs_delivery", false).map_err(out_of_memory)?;
        let unfenced = FenceGate::queue().map_err(|_| Complaint::out_of_memory())?;
        let news = ClusterNotifier::queue().map_err(|_| Complaint::out_of_memory())?;
        let instance = Arc::pin_init(
            pin_init!(&this in Self {
                net,
                node,
                cluster,
                address,
                configuration: plain,
                stopping: Atomic::new(false),
                quorum: Atomic::new(false),
                // SAFETY: `this` is where the instance is made and stays; `finish` and the order of
                // the fields stop the timer before what `beat` uses is dropped.
                detector_timer <- unsafe { DeadlineTimer::new(this, Self::beat) },
                // SAFETY: As above, for `wake_engine`.
                engine_timer <- unsafe { DeadlineTimer::new(this, Self::wake_engine) },
                // SAFETY: As above: `finish` cancels the item, and it is dropped before the engine.
                engine_work <- unsafe {
                    WorkItem::new(
                        this,
                        Self::run_engine,
                        c"kcgcs engine",
                        static_lock_class!(),
                    )
                },
                // SAFETY: As above, for the gate and the engine.
                fence_work <- unsafe {
                    WorkItem::new(this, FenceGate::call, c"kcgcs fence", static_lock_class!())
                },
                fence_gate <- FenceGate::new(unfenced),
                notifier <- ClusterNotifier::new(news),
                engine_queue,
                delivery_queue,
                beating <- new_bottom_half_lock!(
                    Beating { failure_detector, armed: None, is_stopped: false },
                    "kcgcs_detector"
                ),
                engine <- new_mutex!(engine, "kcgcs_engine"),
                left <- Completion::new(),
                socket,
                _live: LiveObject::new(Kind::Instance),
            }),
            GFP_KERNEL,
        )
        .map_err(|_| Complaint::out_of_memory())?;
        instance.socket.start(&instance);
        instance.wake_engine();
        Ok(instance)
    }

    /// Like [`Engine`]'s node, a failure detector is too large to lie on the stack beside anything else.
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

    /// Refuses consumers from now on. False if somebody stops the node already.
    pub(super) fn begin_stop(&self) -> bool {
        !self.stopping.xchg(true, Relaxed)
    }

    /// Says good-bye to the cluster; [`Self::wait_left`] waits for the end of it.
    ///
    /// Context: Process context. May sleep.
    pub(super) fn begin_leave(&self) {
        self.with_engine(Engine::leave_cluster);
        self.wake_engine();
    }

    /// Waits until the cluster has let the node go, a second at most.
    ///
    /// Context: Process context. May sleep.
    pub(super) fn wait_left(&self) {
        self.left.wait_for_completion();
    }

    /// Ends receiving and sending. What has begun may still run until an RCU grace period is over.
    ///
    /// Context: Process context. May sleep.
    pub(super) fn close(&self) {
        self.socket.close();
    }

    /// Ends everything else, an RCU grace period after [`Self::close`]. Handles of consumers stay,
    /// closed, until they are given back.
    ///
    /// Context: Process context. May sleep, not under the engine's lock.
    pub(super) fn finish(&self) {
        self.silence();
        self.with_engine(Engine::stop);
        self.detector_timer.stop();
        self.engine_timer.stop();
        self.engine_work.cancel();
        self.fence_work.cancel();
        self.fence_gate.end();
        self.left.complete_all();
        self.notifier.end();
    }

    /// Whether the node is going away.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    // ---- the engine ---------------------------------------------------------------------------

    /// Lets the engine look for input soon.
    ///
    /// Context: Any context.
    pub(super) fn wake_engine(&self) {
        self.engine_work.enqueue(&self.engine_queue);
    }

    /// Lets the fence gate call its handler soon. Like other consumers it may sleep long.
    pub(super) fn wake_fence_gate(&self) {
        self.fence_work.enqueue(&self.delivery_queue);
    }

    /// Sets the time at which the engine wakes by itself.
    pub(super) fn wake_engine_at(&self, at: Instant) {
        self.engine_timer.start(at);
    }

    fn run_engine(&self) {
        let is_more = self.with_engine(Engine::run);
        if is_more {
            // Others may want the processor, or the lock.
            self.wake_engine();
        }
    }

    /// Does something with the engine, under its lock. Memory that is wanted meanwhile is not waited
    /// for by writing to disks: a disk may wait for a message that this engine is to send.
    ///
    /// Context: Process context. May sleep.
    pub(super) fn with_engine<R>(&self, action: impl FnOnce(&mut Engine, &Self) -> R) -> R {
        let _scope = NoIo::begin();
        action(&mut self.engine.lock(), self)
    }

    /// Whether messages are accepted, as the engine saw it last.
    pub(super) fn has_quorum(&self) -> bool {
        self.quorum.load(Relaxed)
    }

    /// For the engine: see [`Self::has_quorum`].
    pub(super) fn set_quorum(&self, quorum: bool) {
        self.quorum.store(quorum, Relaxed);
    }

    // ---- the failure detector ----------------------------------------------------------------------------

    /// A datagram has come in. Whether it is to be queued for the engine.
    ///
    /// Context: Soft interrupt.
    pub(super) fn handle_received(&self, from: PeerAddress, bytes: &[u8]) -> bool {
        let now = clock::now();
        let verdict = {
            let mut beating = self.beating.lock();
            if beating.is_stopped {
                return false;
            }
            beating.failure_detector.handle_datagram(now, from, bytes)
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

    /// The failure detector's timer has fired.
    fn beat(&self) {
        let now = clock::now();
        {
            let mut beating = self.beating.lock();
            beating.armed = None;
            if beating.is_stopped {
                return;
            }
            beating.failure_detector.handle_timer(now);
        }
        self.drive_detector(now);
    }

    /// Sends what the failure detector has to send, sets its timer, and tells the engine if there is a report.
    fn drive_detector(&self, now: Instant) {
        match self.configuration.detector {
            DetectorKind::Ring => self.send_detector(now, &mut [0; HEARTBEAT_BYTES]),
            DetectorKind::Gossip => self.send_gossip(now),
        }
        let has_reports = {
            let mut beating = self.beating.lock();
            let next = beating.failure_detector.next_deadline();
            // The timer may fire too early, never too late.
            let is_sooner = match (next, beating.armed) {
                (Some(next), Some(armed)) => next < armed,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if is_sooner && !beating.is_stopped {
                if let Some(next) = next {
                    self.detector_timer.start(next);
                    beating.armed = Some(next);
                }
            }
            beating.failure_detector.has_reports()
        };
        if has_reports {
            self.wake_engine();
        }
    }

    /// Heartbeats shall not pay for a buffer that only gossip needs.
    #[inline(never)]
    fn send_gossip(&self, now: Instant) {
        self.send_detector(now, &mut [0; DETECTOR_BYTES_MAX]);
    }

    fn send_detector(&self, now: Instant, buffer: &mut [u8]) {
        loop {
            // Sending is outside of the lock: it may take long, and may come back here.
            let transmit = self.beating.lock().failure_detector.poll_transmit(now, buffer);
            let Some(transmit) = transmit else {
                return;
            };
            let bytes = buffer.get(..transmit.length).unwrap_or_default();
            trace_points::heartbeat_send(self.node, transmit.to, bytes.len());
            // A datagram that cannot be sent is one that the network lost.
            let _ = self.socket.transmit(transmit.to, bytes, true);
        }
    }

    /// The next report of the failure detector, for the engine.
    pub(super) fn take_report(&self) -> Option<DetectorReport> {
        self.beating.lock().failure_detector.poll_report()
    }

    /// Tells the failure detector whom to send to and whom to watch, in a view of these members.
    pub(super) fn assign(
        &self,
        now: Instant,
        assignment: &DetectorAssignment,
        members: &[MemberRecord],
    ) {
        let mut beating = self.beating.lock();
        beating.failure_detector.install(now, assignment, members);
        drop(beating);
        self.drive_detector(now);
    }

    /// No heartbeat is sent or looked at any more.
    pub(super) fn silence(&self) {
        self.beating.lock().is_stopped = true;
    }

    /// How late the heartbeats of a neighbour are, and those to it.
    pub(super) fn neighbour_delays(&self, place: usize) -> Option<NeighbourDelays> {
        self.beating.lock().failure_detector.neighbour_delays(place).copied()
    }

    /// What the failure detector has counted.
    pub(super) fn detector_counters(&self) -> Counters {
        *self.beating.lock().failure_detector.counters()
    }
}
