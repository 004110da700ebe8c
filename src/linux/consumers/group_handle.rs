// SPDX-License-Identifier: GPL-2.0

//! A consumer's membership in a group: the messages it has submitted, the deliveries that wait for it, and the
//! calls of its callbacks.
//!
//! ```text
//!   kcgcs_join --> open --kcgcs_leave------------------------------> gone
//!                   |                                                  ^
//!                   +-- node stops, or callbacks too slow --> closed --+ kcgcs_leave
//! ```
//!
//! Both queues are bounded. A consumer whose callbacks do not keep up is excluded from its group, with a last view
//! that has no members, so that it delays nobody else.

mod watchdog;

pub(crate) use self::watchdog::Alarm;

use self::watchdog::Watchdog;
use super::{
    callback_types::{
        order_number,
        GroupOps,
        Member,
        Message, //
    },
    view_record::ViewRecord, //
};
use crate::{
    linux::{
        observability::live_objects::{
            Kind,
            LiveObject, //
        },
        runtime::{
            engine_link::EngineLink,
            ring_buffer::RingBuffer,
            work_item::{
                Work,
                WorkItem,
                WorkQueue, //
            }, //
        }, //
    },
    platform::BoundedVec,
    protocol::{
        identity::{
            EndpointId,
            GroupName,
            MemberId,
            ViewNumber, //
        },
        limits::{
            ENDPOINT_PENDING_BYTES_MAX,
            ENDPOINT_PENDING_MESSAGES_MAX, //
        },
        outputs::{
            Order,
            Payload, //
        }, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
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
        SpinLockIrq, //
    },
    task::Task, //
};

/// Number of deliveries that may wait for a slow consumer.
const DELIVERIES_MAX: usize = 4096;
/// Bytes of messages that may wait for a slow consumer.
const DELIVERY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Number of callbacks that one run of the work item makes before other work items get their turn.
const CALLBACKS_PER_RUN: usize = 64;

/// A message on its way to the engine.
pub(crate) struct Submission {
    pub(crate) order: Order,
    pub(crate) payload: BoundedVec<u8>,
}

/// One callback to be made.
pub(crate) enum Delivery {
    /// A new view.
    View(Arc<ViewRecord>),
    /// A message.
    Message {
        sender: MemberId,
        sequence: u64,
        order: Order,
        view: ViewNumber,
        payload: Payload,
    },
    /// The view is about to change.
    Block,
    /// There is room again.
    Writable,
}

impl Delivery {
    fn bytes(&self) -> usize {
        match self {
            Self::Message { payload, .. } => payload.len(),
            _ => 0,
        }
    }
}

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
    /// Nothing can be submitted, and nothing is queued for delivery any more.
    is_closed: bool,
    /// No callback is called any more.
    is_left: bool,
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
    /// Its number in the engine, set before the engine's lock is released for the first time.
    endpoint: Atomic<u32>,
    ops: NonNull<GroupOps>,
    context: *mut c_void,
    /// The address of the task that calls a callback now; zero: none.
    calling: Atomic<usize>,
    pub(crate) watchdog: Watchdog,
    /// Consumers take it in any context, so it keeps interrupts off.
    #[pin]
    state: SpinLockIrq<State>,
    _owner: ModuleReference,
    _live: LiveObject,
}

// SAFETY: `ops`, `context` and the module pointer are the consumer's. `include/kcgcs.h` says that its callbacks are
// called on any thread; a module reference may be dropped on any thread. Each other field is `Send`.
unsafe impl Send for Handle {}
// SAFETY: `ops`, `context` and the module pointer never change. Only the work item, one run at a time, calls the
// callbacks. Each other field is `Sync`.
unsafe impl Sync for Handle {}

/// A reference to a consumer's module, which keeps it loaded.
struct ModuleReference(*mut bindings::module);

impl ModuleReference {
    /// Take a reference.
    ///
    /// # Errors
    ///
    /// - `ESHUTDOWN`: the module is being unloaded.
    ///
    /// # Safety
    ///
    /// `module` is NULL (built into the kernel) or a module whose code is running now.
    unsafe fn new(module: *mut bindings::module) -> Result<Self> {
        // SAFETY: The caller says that it is a module.
        if unsafe { bindings::try_module_get(module) } {
            Ok(Self(module))
        } else {
            Err(ESHUTDOWN)
        }
    }
}

impl Drop for ModuleReference {
    fn drop(&mut self) {
        // SAFETY: The reference was taken in `new` and is put once.
        unsafe { bindings::module_put(self.0) }
    }
}

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
    /// `ops` points to callbacks that stay, with the module that owns them, until the handle is
    /// given back; those that are required are there.
    pub(crate) unsafe fn new(
        link: Arc<EngineLink>,
        queue: Arc<WorkQueue>,
        name: GroupName,
        ops: NonNull<GroupOps>,
        context: *mut c_void,
    ) -> Result<Arc<Self>> {
        // SAFETY: The caller says that the callbacks can be read and stay for now.
        let wanted = unsafe { ops.as_ref() };
        // SAFETY: The caller says that `owner` is the module that owns the callbacks; it is joining, so it runs.
        let owner = unsafe { ModuleReference::new(wanted.owner)? };
        let watchdog = Watchdog::new(wanted.watchdog_ms, wanted.watchdog_leave);
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
            is_closed: false,
            is_left: false,
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
                endpoint: Atomic::new(0),
                ops,
                context,
                calling: Atomic::new(0),
                watchdog,
                state <- new_spinlock_irq!(state, "kcgcs_handle"),
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

    // ---- for consumers ------------------------------------------------------------------------

    /// Queue a message for the engine.
    ///
    /// Context: Any context but NMI.
    ///
    /// # Errors
    ///
    /// - `ESHUTDOWN`: the membership is over.
    /// - `ENOTCONN`: not a member yet, or the node has no quorum.
    /// - `EAGAIN`: the queue is full. The consumer is told when there is room.
    pub(crate) fn submit(&self, submission: Submission) -> Result {
        let length = submission.payload.len();
        {
            let mut state = self.state.lock();
            if state.is_closed {
                return Err(ESHUTDOWN);
            }
            if state.own.is_none() || !self.link.has_quorum() {
                return Err(ENOTCONN);
            }
            let bytes = state.submitted_bytes.saturating_add(length);
            if bytes > ENDPOINT_PENDING_BYTES_MAX
                || state.submissions.len() >= ENDPOINT_PENDING_MESSAGES_MAX
                || state.submissions.push(submission).is_err()
            {
                state.wants_writable = true;
                return Err(EAGAIN);
            }
            state.submitted_bytes = bytes;
        }
        self.link.wake();
        Ok(())
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

    /// End the callbacks: none runs any more when this returns.
    ///
    /// Context: Process context. May sleep, not from a callback of this handle.
    pub(crate) fn end_callbacks(&self) {
        {
            let mut state = self.state.lock();
            state.is_closed = true;
            state.is_left = true;
        }
        self.work.cancel();
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

    /// End the membership: `last`, a view without members, follows the deliveries that wait already.
    pub(crate) fn close(&self, last: Option<Arc<ViewRecord>>) {
        {
            let mut state = self.state.lock();
            if state.is_closed {
                return;
            }
            state.is_closed = true;
            state.own = None;
            // A consumer that is not a member yet gets it too: it would wait for a view that never comes.
            if let Some(last) = last {
                // The queue has one place more for it.
                let _ = state.deliveries.push(Delivery::View(last));
            }
        }
        self.work.enqueue(&self.queue);
    }

    // ---- callbacks ----------------------------------------------------------------------------

    /// Call one callback for each delivery that waits, [`CALLBACKS_PER_RUN`] at most.
    fn call_callbacks(&self) {
        for _ in 0..CALLBACKS_PER_RUN {
            let delivery = {
                let mut state = self.state.lock();
                if state.is_left {
                    return;
                }
                let Some(delivery) = state.deliveries.pop() else {
                    return;
                };
                state.delivery_bytes = state.delivery_bytes.saturating_sub(delivery.bytes());
                delivery
            };
            self.calling.store(Task::current_raw() as usize, Relaxed);
            if self.watchdog.begin() {
                self.link.wake();
            }
            self.call_back(delivery);
            if self.watchdog.end() {
                self.link.wake();
            }
            self.calling.store(0, Relaxed);
        }
        self.work.enqueue(&self.queue);
    }

    /// Call the callback for one delivery.
    fn call_back(&self, delivery: Delivery) {
        // SAFETY: The caller of `new` promised that the callbacks stay until the handle is given back, and giving it
        // back waits for this function.
        let ops = unsafe { self.ops.as_ref() };
        let context = self.context;
        match delivery {
            Delivery::View(view) => {
                let before = self.state.lock().shown.replace(view.clone());
                drop(before);
                if let Some(call) = ops.view {
                    // SAFETY: The context is the consumer's; the view lives until the call has returned.
                    unsafe { call(context, view.as_view()) }
                }
            }
            Delivery::Message {
                sender,
                sequence,
                order,
                view,
                payload,
            } => {
                let shown = self.state.lock().shown.clone();
                let known = shown.and_then(|shown| shown.find(sender));
                let message = Message {
                    sender: known.unwrap_or(Member::new(sender, None)),
                    sequence,
                    view: view.0,
                    order: order_number(order),
                    length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
                    data: payload.as_ptr().cast(),
                };
                if let Some(call) = ops.deliver {
                    // SAFETY: The context is the consumer's; message and bytes live until the call has returned.
                    unsafe { call(context, &message) }
                }
            }
            Delivery::Block => {
                if let Some(call) = ops.block {
                    // SAFETY: The context is the one that the consumer gave for its callbacks.
                    unsafe { call(context) }
                }
            }
            Delivery::Writable => {
                if let Some(call) = ops.writable {
                    // SAFETY: The context is the one that the consumer gave for its callbacks.
                    unsafe { call(context) }
                }
            }
        }
    }
}

impl Work for Handle {
    fn run(&self) {
        self.call_callbacks();
    }
}
