// SPDX-License-Identifier: GPL-2.0

//! A consumer's membership in a group: what it has submitted, what waits to be delivered to it, and
//! the calls of its callbacks.
//!
//! ```text
//!   kcgcs_join --> open --kcgcs_leave----------------------------> gone
//!                   |                                                ^
//!                   +-- node stops, or reads too slowly --> closed --+ kcgcs_leave
//! ```
//!
//! Both queues are bounded. A consumer whose callbacks do not keep up is put out of its group, with a
//! last view that has no members: it holds up nobody else.

mod watchdog;

pub(super) use self::watchdog::Alarm;

use self::watchdog::Watchdog;
use super::{
    callback_types::{
        order_number,
        GroupOps,
        Member,
        Message, //
    },
    instance::Instance,
    live_objects::{
        Kind,
        LiveObject, //
    },
    ring_buffer::RingBuffer,
    view_record::ViewRecord,
    work_item::WorkItem, //
};
use crate::{
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

/// Deliveries that wait for a slow consumer.
const DELIVERIES_MAX: usize = 4096;
/// Bytes of messages that wait for a slow consumer.
const DELIVERY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Callbacks that one run of the work item makes, before others get their turn.
const CALLBACKS_PER_RUN: usize = 64;

/// A message on its way to the engine.
pub(super) struct Submission {
    pub(super) order: Order,
    pub(super) payload: BoundedVec<u8>,
}

/// One callback to be made.
pub(super) enum Delivery {
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
    /// The view that the consumer has seen last.
    shown: Option<Arc<ViewRecord>>,
    /// The own address in `latest`.
    own: Option<Member>,
    /// Nothing is submitted or delivered any more, but what waits already.
    is_closed: bool,
    /// No callback is made any more.
    is_left: bool,
}

/// A membership. Consumers hold a pointer to it.
#[pin_data]
pub(super) struct Handle {
    #[pin]
    work: WorkItem<Handle>,
    pub(super) instance: Arc<Instance>,
    pub(super) name: GroupName,
    /// Its number in the engine; set before the engine's lock is given up for the first time.
    endpoint: Atomic<u32>,
    ops: NonNull<GroupOps>,
    context: *mut c_void,
    /// The task that makes a callback now, as a number; zero: none.
    calling: Atomic<usize>,
    pub(super) watchdog: Watchdog,
    /// Taken by consumers wherever they are, so with interrupts off.
    #[pin]
    state: SpinLockIrq<State>,
    _owner: ModuleReference,
    _live: LiveObject,
}

// SAFETY: The pointers are the consumer's: its callbacks may be called from any task, as
// `include/kcgcs.h` says; everything else may be sent and shared.
unsafe impl Send for Handle {}
// SAFETY: As above.
unsafe impl Sync for Handle {}

/// Keeps a consumer's module from being unloaded.
struct ModuleReference(*mut bindings::module);

impl ModuleReference {
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
        // SAFETY: The reference was taken in `new`.
        unsafe { bindings::module_put(self.0) }
    }
}

impl Handle {
    /// A membership that the engine does not know yet.
    ///
    /// Context: Process context. May sleep.
    ///
    /// # Safety
    ///
    /// `ops` points to callbacks that stay, with the module that owns them, until the handle is
    /// given back; those that are required are there.
    pub(super) unsafe fn new(
        instance: Arc<Instance>,
        name: GroupName,
        ops: NonNull<GroupOps>,
        context: *mut c_void,
    ) -> Result<Arc<Self>> {
        // SAFETY: The caller says that `ops` can be read and that its module is running.
        let owner = unsafe { ModuleReference::new((*ops.as_ptr()).owner)? };
        // SAFETY: As above.
        let (watchdog_ms, puts_out) =
            unsafe { ((*ops.as_ptr()).watchdog_ms, (*ops.as_ptr()).watchdog_leave) };
        // One place more, for the one that the engine has taken and may give back.
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
                // SAFETY: `this` is pinned; `leave` cancels the item, and it is the first field to be
                // dropped.
                work <- unsafe {
                    WorkItem::new(this, Self::make_callbacks, c"kcgcs delivery", static_lock_class!())
                },
                instance,
                name,
                endpoint: Atomic::new(0),
                ops,
                context,
                calling: Atomic::new(0),
                watchdog: Watchdog::new(watchdog_ms, puts_out),
                state <- new_spinlock_irq!(state, "kcgcs_handle"),
                _owner: owner,
                _live: LiveObject::new(Kind::Handle),
            }),
            GFP_KERNEL,
        )
    }

    /// Its number in the engine.
    pub(super) fn endpoint(&self) -> EndpointId {
        EndpointId(self.endpoint.load(Relaxed))
    }

    /// Sets the number; under the engine's lock.
    pub(super) fn set_endpoint(&self, endpoint: EndpointId) {
        self.endpoint.store(endpoint.0, Relaxed);
    }

    // ---- for consumers ------------------------------------------------------------------------

    /// Queues a message for the engine.
    ///
    /// Context: Any context but NMI.
    pub(super) fn submit(&self, submission: Submission) -> Result {
        let length = submission.payload.len();
        {
            let mut state = self.state.lock();
            if state.is_closed {
                return Err(ESHUTDOWN);
            }
            if state.own.is_none() || !self.instance.has_quorum() {
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
        self.instance.wake_engine();
        Ok(())
    }

    /// The own address.
    ///
    /// Context: Any context but NMI.
    pub(super) fn own(&self) -> Result<Member> {
        let state = self.state.lock();
        if state.is_closed {
            return Err(ESHUTDOWN);
        }
        state.own.ok_or(ENOTCONN)
    }

    /// The view that the consumer has seen last.
    ///
    /// Context: Any context but NMI.
    pub(super) fn view(&self) -> Option<Arc<ViewRecord>> {
        self.state.lock().shown.clone()
    }

    /// Whether the caller is inside of a callback of this handle.
    pub(super) fn is_inside_callback(&self) -> bool {
        self.calling.load(Relaxed) == Task::current_raw() as usize
    }

    /// Ends the callbacks; none runs any more when this returns.
    ///
    /// Context: Process context. May sleep, not from a callback of this handle.
    pub(super) fn end_callbacks(&self) {
        {
            let mut state = self.state.lock();
            state.is_closed = true;
            state.is_left = true;
        }
        self.work.cancel();
    }

    // ---- for the engine -----------------------------------------------------------------------

    /// The oldest message that was submitted.
    pub(super) fn take_submission(&self) -> Option<Submission> {
        let mut state = self.state.lock();
        let submission = state.submissions.pop()?;
        state.submitted_bytes = state
            .submitted_bytes
            .saturating_sub(submission.payload.len());
        Some(submission)
    }

    /// The engine cannot take the message now. False if its place was taken, which must not be.
    pub(super) fn give_back(&self, submission: Submission) -> bool {
        let length = submission.payload.len();
        let mut state = self.state.lock();
        let refused = state.submissions.push_front(submission);
        if refused.is_ok() {
            state.submitted_bytes = state.submitted_bytes.saturating_add(length);
        }
        // What was refused may only be freed where sleeping is allowed.
        drop(state);
        refused.is_ok()
    }

    /// Tells the consumer that there is room again, if it was refused and there is.
    pub(super) fn tell_writable(&self) {
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
            // Without room for it the handle is about to be closed anyway.
            let _ = self.push(Delivery::Writable);
        }
    }

    /// The last view that was handed over.
    pub(super) fn latest(&self) -> Option<Arc<ViewRecord>> {
        self.state.lock().latest.clone()
    }

    /// Hands over a view. False if the consumer is too slow.
    pub(super) fn push_view(&self, record: Arc<ViewRecord>, own: Option<Member>) -> bool {
        {
            let mut state = self.state.lock();
            state.own = own;
            state.latest = Some(record.clone());
        }
        self.push(Delivery::View(record))
    }

    /// Hands over something to be delivered. False if the consumer is too slow.
    pub(super) fn push(&self, delivery: Delivery) -> bool {
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
        self.work.enqueue(&self.instance.delivery_queue);
        true
    }

    /// The membership is over: a last view without members follows what waits already.
    pub(super) fn close(&self, last: Option<Arc<ViewRecord>>) {
        {
            let mut state = self.state.lock();
            if state.is_closed {
                return;
            }
            state.is_closed = true;
            state.own = None;
            // Also for one who is not a member: it would wait for a view that never comes.
            if let Some(last) = last {
                // There is a place for it.
                let _ = state.deliveries.push(Delivery::View(last));
            }
        }
        self.work.enqueue(&self.instance.delivery_queue);
    }

    // ---- callbacks ----------------------------------------------------------------------------

    fn make_callbacks(&self) {
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
                self.instance.wake_engine();
            }
            self.call_back(delivery);
            if self.watchdog.end() {
                self.instance.wake_engine();
            }
            self.calling.store(0, Relaxed);
        }
        self.work.enqueue(&self.instance.delivery_queue);
    }

    fn call_back(&self, delivery: Delivery) {
        // SAFETY: The callbacks stay until the handle is given back, and giving it back waits for
        // this function.
        let ops = unsafe { self.ops.as_ref() };
        let context = self.context;
        match delivery {
            Delivery::View(view) => {
                let before = self.state.lock().shown.replace(view.clone());
                drop(before);
                if let Some(call) = ops.view {
                    // SAFETY: The view lives until the call has returned.
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
                    // SAFETY: The message and its bytes live until the call has returned.
                    unsafe { call(context, &message) }
                }
            }
            Delivery::Block => {
                if let Some(call) = ops.block {
                    // SAFETY: The context is the consumer's own.
                    unsafe { call(context) }
                }
            }
            Delivery::Writable => {
                if let Some(call) = ops.writable {
                    // SAFETY: The context is the consumer's own.
                    unsafe { call(context) }
                }
            }
        }
    }
}
