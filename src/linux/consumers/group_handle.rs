// SPDX-License-Identifier: GPL-2.0

//! A consumer's membership in a group: the messages it has submitted, the deliveries that wait for it, and the
//! calls of its callbacks.
//!
//! ```text
//!   kcgcs_join --> open --kcgcs_leave--> leaving --all is ordered, or time is up--> gone
//!                   |                                                                ^
//!                   +-- node stops, or callbacks too slow, or refused --> closed ----+ kcgcs_leave
//! ```
//!
//! Both queues are bounded. A consumer whose callbacks do not keep up is excluded from its group, with a last view
//! that has no members, so that it delays nobody else.
//!
//! Each message that was accepted goes to the protocol or is counted as lost. The count reaches the consumer with its
//! next view, or as the result of its leave.

mod callbacks;
mod module_reference;
mod queue_items;
mod watchdog;

pub(crate) use self::{
    queue_items::{
        Delivery,
        Submission, //
    },
    watchdog::Alarm, //
};

use self::{
    module_reference::ModuleReference,
    watchdog::Watchdog, //
};
use super::{
    callback_types::{
        End,
        GroupOps,
        Member, //
    },
    view_record::ViewRecord, //
};
use crate::{
    linux::{
        ffi,
        observability::live_objects::{
            Kind,
            LiveObject, //
        },
        runtime::{
            engine_link::EngineLink,
            ring_buffer::RingBuffer,
            work_item::{
                WorkItem,
                WorkQueue, //
            }, //
        }, //
    },
    platform::BoundedVec,
    protocol::{
        group_properties::{
            GroupProperties,
            QuorumMode, //
        },
        identity::{
            EndpointId,
            GroupName,
            NodeId,
            ViewName,
            ViewNumber, //
        },
        limits::{
            ENDPOINT_PENDING_BYTES_MAX,
            ENDPOINT_PENDING_MESSAGES_MAX, //
        },
        outputs::Order,
        time::Instant, //
    }, //
};
use kernel::{
    ffi::c_void,
    new_spinlock_irq,
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Completion,
        SpinLockIrq,
        UniqueArc, //
    },
    task::Task, //
};

/// Number of deliveries that may wait for a slow consumer.
const DELIVERIES_MAX: usize = 4096;
/// Bytes of messages that may wait for a slow consumer.
const DELIVERY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What changes during a membership.
struct State {
    submissions: RingBuffer<Submission>,
    submitted_bytes: usize,
    wants_writable: bool,
    deliveries: RingBuffer<Delivery>,
    delivery_bytes: usize,
    /// The last view that the engine has handed over.
    latest: Option<Arc<ViewRecord>>,
    /// The last view that was given to the consumer's callback.
    shown: Option<Arc<ViewRecord>>,
    /// The member's own address in `latest`.
    own: Option<Member>,
    /// The incarnation in which the member is in `shown`. A consumer that was not shown yet that it has another one may
    /// not send: it does not know that messages were lost.
    shown_incarnation: Option<u64>,
    /// Nothing can be submitted, and nothing is queued for delivery any more.
    is_closed: bool,
    /// No callback is called any more.
    is_left: bool,
    /// The engine has ended the membership.
    is_over: bool,
    /// Until when the engine sends what a leaving member had submitted.
    leave_by: Option<Instant>,
    /// The protocol was told that the member leaves.
    has_asked: bool,
    /// The time was up before all was sent.
    is_late: bool,
    /// Messages that were lost and that no view callback has told of, once the member has left.
    lost: u64,
    /// The last view, which [`Handle::close`] completes, so that it needs no memory.
    farewell: Option<UniqueArc<ViewRecord>>,
}

/// What a consumer gives to become a member.
pub(crate) struct Application {
    pub(crate) name: GroupName,
    pub(crate) ops: GroupOps,
    pub(crate) properties: GroupProperties,
    pub(crate) context: *mut c_void,
}

/// One membership of a consumer.
#[pin_data]
pub(crate) struct Handle {
    #[pin]
    work: WorkItem,
    /// The queue that callbacks run on.
    queue: Arc<WorkQueue>,
    link: Arc<EngineLink>,
    pub(crate) name: GroupName,
    pub(crate) properties: GroupProperties,
    /// Its number in the engine, set before the engine's lock is released for the first time.
    endpoint: Atomic<u32>,
    /// What callbacks get as the handle; set before the engine knows the membership.
    group: Atomic<*mut ffi::kcgcs_group>,
    ops: GroupOps,
    context: *mut c_void,
    /// The address of the task that calls a callback now; zero: none.
    calling: Atomic<usize>,
    /// The address of the task that gives the handle back, and so waits for that callback; zero: none.
    leaving: Atomic<usize>,
    pub(crate) watchdog: Watchdog,
    /// Consumers take it in any context, so it keeps interrupts off.
    #[pin]
    state: SpinLockIrq<State>,
    /// The engine has ended the membership.
    #[pin]
    over: Completion,
    _owner: ModuleReference,
    _live: LiveObject,
}

// SAFETY: What `ops` and `context` point to and the module are the consumer's. `include/kcgcs.h` says that its callbacks
// are called on any thread; a module reference may be dropped on any thread. Each other field is `Send`.
unsafe impl Send for Handle {}
// SAFETY: `ops`, `context` and the module pointer never change. Only the work item, one run at a time, calls the
// callbacks. Each other field is `Sync`.
unsafe impl Sync for Handle {}

impl Handle {
    /// Make a membership that the engine does not know yet. Its callbacks run on `queue`.
    ///
    /// Context: Process context. May sleep.
    ///
    /// # Errors
    ///
    /// - `ESHUTDOWN`: the consumer's module is being unloaded.
    /// - `ENOMEM`: out of memory.
    ///
    /// # Safety
    ///
    /// The callbacks stay, with the module that owns them, until the handle is given back.
    pub(crate) unsafe fn new(
        link: Arc<EngineLink>,
        queue: Arc<WorkQueue>,
        application: Application,
    ) -> Result<Arc<Self>> {
        let Application {
            name,
            ops,
            properties,
            context,
        } = application;
        // SAFETY: The caller says that `owner` is the module that owns the callbacks; it is joining, so it runs.
        let owner = unsafe { ModuleReference::new(ops.owner)? };
        let watchdog = Watchdog::new(ops.watchdog_ms, ops.watchdog_leave);
        // One place more, for the message that the engine has taken and may give back.
        let submissions =
            RingBuffer::with_capacity(ENDPOINT_PENDING_MESSAGES_MAX.saturating_add(1));
        // One place more, for the last view.
        let deliveries = RingBuffer::with_capacity(DELIVERIES_MAX.saturating_add(1));
        let (Ok(submissions), Ok(deliveries)) = (submissions, deliveries) else {
            return Err(ENOMEM);
        };
        let state = State {
            submissions,
            submitted_bytes: 0,
            wants_writable: false,
            deliveries,
            delivery_bytes: 0,
            latest: None,
            shown: None,
            own: None,
            shown_incarnation: None,
            is_closed: false,
            is_left: false,
            is_over: false,
            leave_by: None,
            has_asked: false,
            is_late: false,
            lost: 0,
            farewell: Some(ViewRecord::empty()?),
        };
        Arc::pin_init(
            pin_init!(&this in Self {
                // SAFETY: `this` is pinned. Only methods of the handle queue the item, so nobody does once it is being
                // dropped, and dropping the item, the first field, cancels it.
                work <- unsafe {
                    WorkItem::new::<Self, 0>(this, c"kcgcs delivery", static_lock_class!())
                },
                queue,
                link,
                name,
                properties,
                endpoint: Atomic::new(0),
                group: Atomic::new(core::ptr::null_mut()),
                ops,
                context,
                calling: Atomic::new(0),
                leaving: Atomic::new(0),
                watchdog,
                state <- new_spinlock_irq!(state, "kcgcs_handle"),
                over <- Completion::new(),
                _owner: owner,
                _live: LiveObject::new(Kind::Handle),
            }),
            GFP_KERNEL,
        )
    }

    /// The number of the membership in the engine.
    pub(crate) fn endpoint(&self) -> EndpointId {
        EndpointId(self.endpoint.load(Relaxed))
    }

    /// Set the number of the membership. The caller holds the engine's lock.
    pub(crate) fn set_endpoint(&self, endpoint: EndpointId) {
        self.endpoint.store(endpoint.0, Relaxed);
    }

    /// Set what callbacks get as the handle. Called once, before the engine knows the membership.
    pub(crate) fn set_group(&self, group: *mut ffi::kcgcs_group) {
        self.group.store(group, Relaxed);
    }

    // ---- for consumers ------------------------------------------------------------------------

    /// Queue a message for the engine.
    ///
    /// Context: Any context but NMI.
    ///
    /// # Errors
    ///
    /// - `ESHUTDOWN`: the membership is over.
    /// - `ENOTCONN`: the consumer was not shown the present view, the node has no quorum, or the view is not primary
    ///   and the group asks for that.
    /// - `EAGAIN`: the queue is full. The consumer is told when there is room.
    pub(crate) fn submit(&self, order: Order, payload: BoundedVec<u8>) -> Result {
        let length = payload.len();
        {
            let mut state = self.state.lock();
            if state.is_closed {
                return Err(ESHUTDOWN);
            }
            let call_view = self.sending_view(&state).ok_or(ENOTCONN)?;
            let submission = Submission {
                order,
                call_view,
                payload,
            };
            let bytes = state.submitted_bytes.saturating_add(length);
            if bytes > ENDPOINT_PENDING_BYTES_MAX
                || state.submissions.len() >= ENDPOINT_PENDING_MESSAGES_MAX
            {
                state.wants_writable = true;
                drop(state);
                // The message is freed without the lock.
                drop(submission);
                return Err(EAGAIN);
            }
            // There is room for one message more than that.
            let _ = state.submissions.push(submission);
            state.submitted_bytes = bytes;
        }
        self.link.wake();
        Ok(())
    }

    /// The view that the consumer was shown last, if it may send in it.
    fn sending_view(&self, state: &State) -> Option<ViewName> {
        let own = state.own?;
        let shown = state.shown.as_ref()?.as_view();
        let is_primary = state.latest.as_ref()?.as_view().primary != 0;
        let may_send = self.link.has_quorum()
            && state.shown_incarnation == Some(own.incarnation)
            && (is_primary || self.properties.quorum_mode == QuorumMode::AnyView);
        let issuer = NodeId::new(shown.coordinator)?;
        may_send.then_some(ViewName {
            number: ViewNumber(shown.number),
            issuer,
        })
    }

    /// The member's own address.
    ///
    /// Context: Any context but NMI.
    ///
    /// # Errors
    ///
    /// - `ESHUTDOWN`: the membership is over.
    /// - `ENOTCONN`: not a member yet.
    pub(crate) fn own(&self) -> Result<Member> {
        let state = self.state.lock();
        if state.is_closed {
            return Err(ESHUTDOWN);
        }
        state.own.ok_or(ENOTCONN)
    }

    /// The last view that was given to the consumer's callback.
    ///
    /// Context: Any context but NMI.
    pub(crate) fn view(&self) -> Option<Arc<ViewRecord>> {
        self.state.lock().shown.clone()
    }

    /// Whether the caller is inside of a callback of this handle.
    pub(crate) fn is_inside_callback(&self) -> bool {
        self.calling.load(Relaxed) == Task::current_raw() as usize
    }

    /// Note that the caller is about to wait for the callbacks of this handle, unless that would be for ever: a callback of
    /// this handle waits for one of another handle, and so on, and the last of these is the caller. `others` are the
    /// handles of the node. The caller holds the engine's lock.
    ///
    /// # Errors
    ///
    /// - `EDEADLK`: it would be for ever.
    pub(crate) fn begin_leave(&self, others: &[Arc<Handle>]) -> Result {
        let caller = Task::current_raw() as usize;
        let mut callback = self.calling.load(Relaxed);
        // A chain has each handle once at most.
        for _ in 0..others.len() {
            if callback == 0 {
                break;
            }
            let is_next = |other: &&Arc<Handle>| other.leaving.load(Relaxed) == callback;
            let Some(next) = others.iter().find(is_next) else {
                break;
            };
            callback = next.calling.load(Relaxed);
            if callback == caller {
                return Err(EDEADLK);
            }
        }
        self.leaving.store(caller, Relaxed);
        Ok(())
    }

    /// End the callbacks: none runs any more when this returns. Nothing can be submitted any more either.
    ///
    /// Context: Process context. May sleep, not from a callback of this handle.
    pub(crate) fn end_callbacks(&self) {
        {
            let mut state = self.state.lock();
            state.is_closed = true;
            state.is_left = true;
        }
        self.work.cancel();
        // Views that the consumer did not get told of losses.
        loop {
            let mut state = self.state.lock();
            let Some(delivery) = state.deliveries.pop() else {
                return;
            };
            if let Delivery::View(view) = &delivery {
                state.lost = state.lost.saturating_add(view.as_view().lost);
            }
            drop(state);
        }
    }

    /// Wait until the engine has ended the membership. Returns how many messages were lost that no view callback has
    /// told of, and whether that is because time was up.
    ///
    /// Context: Process context. May sleep, for as long as the leave may take.
    pub(crate) fn wait_over(&self) -> (u64, bool) {
        self.over.wait_for_completion();
        let state = self.state.lock();
        (state.lost, state.is_late)
    }

    // ---- for the engine -----------------------------------------------------------------------

    /// Take the oldest submitted message.
    pub(crate) fn take_submission(&self) -> Option<Submission> {
        let mut state = self.state.lock();
        let submission = state.submissions.pop()?;
        state.submitted_bytes = state
            .submitted_bytes
            .saturating_sub(submission.payload.len());
        Some(submission)
    }

    /// Put back a message that the protocol cannot take now. Returns false if its place was taken, which is a bug.
    pub(crate) fn give_back(&self, submission: Submission) -> bool {
        let length = submission.payload.len();
        let mut state = self.state.lock();
        let refused = state.submissions.push_front(submission);
        if refused.is_ok() {
            state.submitted_bytes = state.submitted_bytes.saturating_add(length);
        }
        // A refused message is freed when this returns, which may sleep: the lock is released before.
        drop(state);
        refused.is_ok()
    }

    /// Report to the consumer that there is room again, if a message was refused and half of the room is free.
    pub(crate) fn report_writable(&self) {
        let is_due = {
            let mut state = self.state.lock();
            let is_due = state.wants_writable
                && state.submissions.len() <= ENDPOINT_PENDING_MESSAGES_MAX / 2
                && state.submitted_bytes <= ENDPOINT_PENDING_BYTES_MAX / 2;
            if is_due {
                state.wants_writable = false;
            }
            is_due
        };
        if is_due {
            // A handle whose deliveries are full is about to be closed anyway.
            let _ = self.push(Delivery::Writable);
        }
    }

    /// Let the engine send what was submitted, until `by`. The member has left.
    pub(crate) fn set_leave_by(&self, by: Instant) {
        self.state.lock().leave_by = Some(by);
    }

    /// Until when the engine sends what a leaving member had submitted. `None`: it is not leaving.
    pub(crate) fn leave_by(&self) -> Option<Instant> {
        self.state.lock().leave_by
    }

    /// Whether to tell the protocol that the member leaves. Returns true once.
    pub(crate) fn take_leave(&self) -> bool {
        !core::mem::replace(&mut self.state.lock().has_asked, true)
    }

    /// Note that time was up before all that was submitted was sent.
    pub(crate) fn set_late(&self) {
        self.state.lock().is_late = true;
    }

    /// Whether messages wait for the engine.
    pub(crate) fn has_submissions(&self) -> bool {
        self.state.lock().submissions.len() > 0
    }

    /// Messages were lost that no view will tell of before the last one, which counts them too.
    pub(crate) fn add_lost(&self, lost: u64) {
        let mut state = self.state.lock();
        state.lost = state.lost.saturating_add(lost);
    }

    /// Drop all messages that wait for the engine. Returns how many there were.
    fn drop_submissions(&self) -> u64 {
        let mut count: u64 = 0;
        // Each is freed without the lock.
        while self.take_submission().is_some() {
            count = count.saturating_add(1);
        }
        count
    }

    /// Begin a new incarnation: nothing that was submitted in the one before is sent any more, and nothing can be
    /// submitted before the consumer was told. Returns how many messages are lost.
    pub(crate) fn begin_incarnation(&self) -> u64 {
        self.state.lock().own = None;
        self.drop_submissions()
    }

    /// The last view that was handed over.
    pub(crate) fn latest(&self) -> Option<Arc<ViewRecord>> {
        self.state.lock().latest.clone()
    }

    /// Queue a view for the consumer. Returns false if the consumer is too slow.
    pub(crate) fn push_view(&self, record: Arc<ViewRecord>, own: Option<Member>) -> bool {
        {
            let mut state = self.state.lock();
            state.own = own;
            state.latest = Some(record.clone());
        }
        self.push(Delivery::View(record))
    }

    /// Queue a delivery for the consumer. Returns false if the consumer is too slow.
    pub(crate) fn push(&self, delivery: Delivery) -> bool {
        {
            let mut state = self.state.lock();
            if state.is_closed {
                // The consumer has left. The result of that tells of the losses.
                if let Delivery::View(view) = &delivery {
                    state.lost = state.lost.saturating_add(view.as_view().lost);
                }
                drop(state);
                drop(delivery);
                return true;
            }
            let bytes = state.delivery_bytes.saturating_add(delivery.bytes());
            if state.deliveries.len() >= DELIVERIES_MAX
                || bytes > DELIVERY_BYTES_MAX
                || state.deliveries.push(delivery).is_err()
            {
                return false;
            }
            state.delivery_bytes = bytes;
        }
        self.work.enqueue(&self.queue);
        true
    }

    /// End the membership, because of `end`. `lost` messages that the protocol had taken are lost, and so are all that
    /// wait here. The consumer is told by a last view without members, behind the deliveries that wait already, or by
    /// the result of its leave.
    pub(crate) fn close(&self, end: End, lost: u64) {
        let farewell = {
            let mut state = self.state.lock();
            if state.is_over {
                return;
            }
            state.is_over = true;
            state.is_closed = true;
            state.own = None;
            state.farewell.take()
        };
        let lost = lost.saturating_add(self.drop_submissions());
        let lost = lost.saturating_add(core::mem::take(&mut self.state.lock().lost));
        let last = farewell.map(|empty| ViewRecord::ended(empty, end, lost));
        {
            let mut state = self.state.lock();
            if state.is_left {
                state.lost = state.lost.saturating_add(lost);
            } else if let Some(last) = last {
                // A consumer that is not a member yet gets it too: it would wait for a view that never comes. The queue
                // has one place more for it.
                let _ = state.deliveries.push(Delivery::View(last));
            }
        }
        self.over.complete_all();
        self.work.enqueue(&self.queue);
    }
}
