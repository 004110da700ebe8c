// SPDX-License-Identifier: GPL-2.0

//! One node of one network namespace: its parts, how it starts and how it ends.
//!
//! ```text
//!   start --> running --begin_leave, wait_left--> left --+
//!                |                                       |
//!                +---- the namespace goes away ----------+--> close --> RCU grace period --> finish
//! ```
//!
//! The parts know nothing of the instance. What runs in soft interrupts is in [`super::bottom_half`], the rest of
//! the node in [`super::engine`], which an instance runs under a mutex in a work item.

mod fencing;

use super::{
    bottom_half::BottomHalf,
    engine::{
        Engine,
        Surroundings, //
    },
    settings::{
        ClusterName,
        Complaint,
        Settings, //
    }, //
};
use crate::{
    linux::{
        consumers::{
            cluster_notifier::ClusterNotifier,
            fence_gate::FenceGate, //
        },
        network::udp_socket::Socket,
        observability::live_objects::{
            Kind,
            LiveObject, //
        },
        runtime::{
            clock,
            engine_link::EngineLink,
            no_io::NoIo,
            work_item::{
                Work,
                WorkQueue, //
            }, //
        }, //
    },
    protocol::{
        configuration::Configuration,
        identity::{
            Identity,
            Incarnation,
            PeerAddress, //
        }, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        UniqueArc, //
    }, //
};

/// The work item that runs the engine.
const ENGINE_WORK: u32 = 0;
/// The work item that calls the fence handler.
const FENCE_WORK: u32 = 1;

/// One node of one network namespace.
#[pin_data(PinnedDrop)]
pub(crate) struct Instance {
    /// The namespace: compared, never followed after the namespace is gone.
    pub(crate) net: NonNull<bindings::net>,
    pub(crate) cluster: ClusterName,
    pub(crate) address: PeerAddress,
    pub(crate) configuration: Configuration,
    /// Nothing may be started any more.
    stopping: Atomic<bool>,
    pub(crate) link: Arc<EngineLink>,
    pub(crate) bottom_half: Arc<BottomHalf>,
    pub(crate) notifier: Arc<ClusterNotifier>,
    fence_gate: Arc<FenceGate>,
    /// Where the callbacks of consumers run. They may sleep for long, so they have a queue of their own.
    pub(crate) delivery_queue: Arc<WorkQueue>,
    #[pin]
    engine: Mutex<Engine>,
    _live: LiveObject,
}

// SAFETY: `net` is only compared, which any thread may do. Each other field is `Send`.
unsafe impl Send for Instance {}
// SAFETY: `net` never changes and is only compared through a shared reference. Each other field is `Sync`.
unsafe impl Sync for Instance {}

impl Instance {
    /// Start a node in a namespace that has none.
    ///
    /// Context: Process context. May sleep. The namespace stays during the call.
    pub(crate) fn start(
        net: NonNull<bindings::net>,
        settings: Settings,
    ) -> Result<Arc<Self>, Complaint> {
        let address = settings.address;
        let socket = Socket::bind(net, address).map_err(|error| {
            Complaint::new(
                error,
                format_args!("address={address:?}: cannot be bound ({error:?})"),
            )
        })?;
        let instance =
            Self::make(net, settings, socket).map_err(|_| Complaint::out_of_memory())?;
        instance.bottom_half.start();
        instance.link.wake();
        Ok(instance)
    }

    /// Make all parts of a node. Nothing runs yet.
    fn make(
        net: NonNull<bindings::net>,
        settings: Settings,
        socket: Socket,
    ) -> Result<Arc<Self>> {
        let Settings {
            cluster,
            node,
            address,
            configuration,
        } = settings;
        let identity = Identity {
            node,
            incarnation: Incarnation(clock::new_incarnation()),
        };
        let now = clock::now();
        let plain = *configuration.settings();
        // The work items of the parts point to the instance, so its memory comes first.
        let mut room = UniqueArc::<Self>::new_uninit(GFP_KERNEL)?;
        let this = NonNull::new(room.as_mut_ptr()).ok_or(ENOMEM)?;
        let delivery_queue = Arc::new(WorkQueue::new(c"kcgcs_delivery", false)?, GFP_KERNEL)?;
        // SAFETY: The instance is made in `this`, pinned, before anybody can wake the engine. `finish`, or else its
        // drop, ends the link before a field is dropped.
        let link = unsafe { EngineLink::new::<Self, ENGINE_WORK>(this)? };
        // SAFETY: The instance is made in `this`, pinned, before the engine runs and asks for a node to be fenced.
        // `finish`, or else its drop, ends the gate before a field is dropped.
        let fence_gate =
            unsafe { FenceGate::new::<Self, FENCE_WORK>(this, delivery_queue.clone())? };
        let notifier = ClusterNotifier::new(delivery_queue.clone())?;
        let bottom_half =
            BottomHalf::new(identity, &configuration, now, socket, link.clone())?;
        let surroundings = Surroundings {
            link: link.clone(),
            bottom_half: bottom_half.clone(),
            notifier: notifier.clone(),
            fence_gate: fence_gate.clone(),
        };
        let engine = Engine::new(identity, address, configuration, now, cluster, surroundings)?;
        let instance = room.pin_init_with(pin_init!(Self {
            net,
            cluster,
            address,
            configuration: plain,
            stopping: Atomic::new(false),
            link,
            bottom_half,
            notifier,
            fence_gate,
            delivery_queue,
            engine <- new_mutex!(engine, "kcgcs_engine"),
            _live: LiveObject::new(Kind::Instance),
        }))?;
        Ok(instance.into())
    }

    /// Refuse consumers from now on. Returns false if the node is being stopped already.
    pub(crate) fn begin_stop(&self) -> bool {
        !self.stopping.xchg(true, Relaxed)
    }

    /// Send a leave request to the cluster; [`Self::wait_left`] waits for the answer.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn begin_leave(&self) {
        self.with_engine(Engine::leave_cluster);
        self.link.wake();
    }

    /// Wait until the cluster has confirmed the leave request, a second at most.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn wait_left(&self) {
        self.link.wait_left();
    }

    /// Stop receiving and sending. What has begun may still run until an RCU grace period is over.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn close(&self) {
        self.bottom_half.close();
    }

    /// End everything else, an RCU grace period after [`Self::close`]. Handles of consumers stay, closed, until
    /// they are given back.
    ///
    /// Context: Process context. May sleep, not under the engine's lock.
    pub(crate) fn finish(&self) {
        self.bottom_half.silence();
        self.with_engine(Engine::stop);
        self.bottom_half.end();
        self.link.end();
        self.fence_gate.end();
        self.link.announce_left();
        self.notifier.end();
    }

    /// Whether the node is going away.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Use the engine, under its lock. Allocations in `action` start no input or output: a disk may wait for a
    /// message that this engine is to send.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn with_engine<R>(&self, action: impl FnOnce(&mut Engine) -> R) -> R {
        let _scope = NoIo::begin();
        action(&mut self.engine.lock())
    }
}

impl Work<ENGINE_WORK> for Instance {
    /// Let the engine handle its input.
    fn run(&self) {
        let is_more = self.with_engine(Engine::run);
        if is_more {
            // Others may want the processor, or the lock.
            self.link.wake();
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Instance {
    fn drop(self: Pin<&mut Self>) {
        // Both were ended if the node was finished. They may outlive the instance, which their work items point to.
        self.link.end();
        self.fence_gate.end();
    }
}
