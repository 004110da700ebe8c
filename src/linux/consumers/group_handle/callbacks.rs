// SPDX-License-Identifier: GPL-2.0

//! The calls of a consumer's callbacks, one after the other, in a work item.

use super::{
    Delivery,
    Handle, //
};
use crate::linux::{
    consumers::{
        callback_types::{
            order_number,
            Member,
            Message, //
        },
        view_record::ViewRecord, //
    },
    runtime::work_item::Work, //
};
use kernel::{
    sync::{
        atomic::Relaxed,
        Arc, //
    },
    task::Task, //
};

/// Number of callbacks that one run of the work item makes before other work items get their turn.
const CALLBACKS_PER_RUN: usize = 64;

impl Handle {
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

    /// Note that the consumer is shown a view. Returns the one before.
    fn show(&self, view: Arc<ViewRecord>) -> Option<Arc<ViewRecord>> {
        let mut state = self.state.lock();
        // Only the present incarnation counts, and a member of it is in the view.
        let own = state.own.filter(|own| view.has(own));
        state.shown_incarnation = own.map(|own| own.incarnation);
        state.shown.replace(view)
    }

    /// Call the callback for one delivery.
    fn call_back(&self, delivery: Delivery) {
        // The caller of `new` promised that the callbacks stay until the handle is given back, and giving it back waits
        // for this function.
        let (ops, context) = (&self.ops, self.context);
        let group = self.group.load(Relaxed);
        match delivery {
            Delivery::View(view) => {
                let before = self.show(view.clone());
                drop(before);
                if let Some(call) = ops.view {
                    // SAFETY: Group and context are the consumer's; the view lives until the call has returned.
                    unsafe { call(group, context, view.as_view()) }
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
                    // SAFETY: Group and context are the consumer's; message and bytes live until the call has returned.
                    unsafe { call(group, context, &message) }
                }
            }
            Delivery::Block => {
                if let Some(call) = ops.block {
                    // SAFETY: The group is the consumer's, and the context the one that it gave for its callbacks.
                    unsafe { call(group, context) }
                }
            }
            Delivery::Writable => {
                if let Some(call) = ops.writable {
                    // SAFETY: The group is the consumer's, and the context the one that it gave for its callbacks.
                    unsafe { call(group, context) }
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
