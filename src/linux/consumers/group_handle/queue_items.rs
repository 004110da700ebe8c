// SPDX-License-Identifier: GPL-2.0

//! What waits in the two queues of a handle.

#![forbid(unsafe_code)]

use crate::{
    linux::consumers::view_record::ViewRecord,
    platform::BoundedVec,
    protocol::{
        identity::{
            MemberId,
            ViewName,
            ViewNumber, //
        },
        outputs::{
            Order,
            Payload, //
        }, //
    }, //
};
use kernel::sync::Arc;

/// A message on its way to the engine.
pub(crate) struct Submission {
    pub(crate) order: Order,
    /// The view that the consumer had been shown last when it submitted the message.
    pub(crate) call_view: ViewName,
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
    /// Bytes of payload.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Message { payload, .. } => payload.len(),
            _ => 0,
        }
    }
}
