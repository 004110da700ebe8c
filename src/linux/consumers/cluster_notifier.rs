// SPDX-License-Identifier: GPL-2.0

//! News of the cluster for other modules: a notifier chain, which a work item calls for one piece of news after the
//! other, in the order of the events.

use super::{
    callback_types::Member,
    view_record::ViewRecord, //
};
use crate::linux::{
    ffi,
    runtime::{
        bottom_half_lock::{
            new_bottom_half_lock,
            BottomHalfLock, //
        },
        ring_buffer::RingBuffer,
        work_item::{
            Work,
            WorkItem,
            WorkQueue, //
        }, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_ulong,
        c_void, //
    },
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::{
        Arc,
        Mutex, //
    },
    types::Opaque, //
};

/// Number of pieces of news that may wait. A slower chain misses suspicions first, not views.
const NEWS_MAX: usize = 256;
/// Number of these places that suspicions and [`News::Prepare`] may not take.
const PLACES_KEPT: usize = 64;

/// One piece of news: an `enum kcgcs_cluster_event` with its data.
pub(crate) enum News {
    /// A view was installed.
    View(Arc<ViewRecord>),
    /// The node suspects another one.
    Suspect(Member),
    /// A view is about to change.
    Prepare,
    /// The view that follows excludes a node.
    Failed(Member),
    /// The node has lost its quorum.
    QuorumLost,
    /// The node has its quorum back.
    QuorumRegained,
    /// The cluster has excluded this node.
    Excluded,
    /// The node has stopped.
    Stopped,
}

impl News {
    /// The number that notifiers get.
    fn action(&self) -> c_ulong {
        let action = match self {
            Self::View(_) => ffi::KCGCS_CLUSTER_VIEW,
            Self::Suspect(_) => ffi::KCGCS_CLUSTER_SUSPECT,
            Self::Prepare => ffi::KCGCS_CLUSTER_PREPARE,
            Self::Failed(_) => ffi::KCGCS_CLUSTER_FAILED,
            Self::QuorumLost => ffi::KCGCS_CLUSTER_QUORUM_LOST,
            Self::QuorumRegained => ffi::KCGCS_CLUSTER_QUORUM_REGAINED,
            Self::Excluded => ffi::KCGCS_CLUSTER_EXCLUDED,
            Self::Stopped => ffi::KCGCS_CLUSTER_STOPPED,
        };
        action as c_ulong
    }

    /// The data that notifiers get.
    fn data(&self) -> *mut c_void {
        match self {
            Self::View(view) => core::ptr::from_ref(view.as_view()).cast_mut().cast(),
            Self::Suspect(member) | Self::Failed(member) => {
                core::ptr::from_ref(member).cast_mut().cast()
            }
            _ => core::ptr::null_mut(),
        }
    }

    fn may_be_missed(&self) -> bool {
        matches!(self, Self::Suspect(_) | Self::Prepare)
    }
}

/// What the chain has been called with so far.
struct Announced {
    /// The last view, unless the cluster has excluded the node since.
    view: Option<Arc<ViewRecord>>,
    /// The node is gone: no news follows.
    is_ended: bool,
}

/// The notifier chain of one node, and the news that waits for it.
#[pin_data]
pub(crate) struct ClusterNotifier {
    #[pin]
    work: WorkItem,
    /// Notifiers may sleep for long: they run on the queue of consumers.
    queue: Arc<WorkQueue>,
    #[pin]
    chain: Opaque<bindings::blocking_notifier_head>,
    #[pin]
    news: BottomHalfLock<RingBuffer<News>>,
    /// Held while the chain is called, so that a new notifier gets each view once.
    #[pin]
    announced: Mutex<Announced>,
}

// SAFETY: The chain is not bound to a thread; it is dropped without a call to C. Each other field is `Send`.
unsafe impl Send for ClusterNotifier {}
// SAFETY: The C functions on the chain take its own semaphore. Each other field is `Sync`.
unsafe impl Sync for ClusterNotifier {}

impl ClusterNotifier {
    /// Make a chain without notifiers, to be called on `queue`.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn new(queue: Arc<WorkQueue>) -> Result<Arc<Self>> {
        let news = RingBuffer::with_capacity(NEWS_MAX).map_err(|_| ENOMEM)?;
        Arc::pin_init(
            pin_init!(&this in Self {
                // SAFETY: `this` is pinned. Only `push` queues the item, so nobody does once the notifier is being
                // dropped, and dropping the item, the first field, cancels it.
                work <- unsafe {
                    WorkItem::new::<Self, 0>(this, c"kcgcs notifier", static_lock_class!())
                },
                queue,
                chain <- Opaque::ffi_init(|head| {
                    // SAFETY: `head` is memory for the head of a chain.
                    unsafe { ffi::kcgcs_init_notifier_chain(head) }
                }),
                news <- new_bottom_half_lock!(news, "kcgcs_news"),
                announced <- new_mutex!(
                    Announced { view: None, is_ended: false },
                    "kcgcs_notifier"
                ),
            }),
            GFP_KERNEL,
        )
    }

    /// Queue a piece of news. Without room it is dropped.
    ///
    /// Context: Process context.
    pub(crate) fn push(&self, news: News) {
        {
            let mut waiting = self.news.lock();
            if news.may_be_missed() && waiting.len() >= NEWS_MAX.saturating_sub(PLACES_KEPT) {
                return;
            }
            if waiting.push(news).is_err() {
                // The chain has been asleep for long; it gets the next view.
                return;
            }
        }
        self.work.enqueue(&self.queue);
    }

    /// Call the chain for the news that still waits, and end it.
    ///
    /// Context: Process context. May sleep, not from a notifier.
    pub(crate) fn end(&self) {
        self.work.cancel();
        self.call_chain();
        let mut announced = self.announced.lock();
        announced.is_ended = true;
        announced.view = None;
    }

    /// Call the chain for each piece of news that waits.
    fn call_chain(&self) {
        loop {
            let mut announced = self.announced.lock();
            let Some(news) = self.news.lock().pop() else {
                return;
            };
            // SAFETY: The chain is initialised; the data lives until the call has returned.
            unsafe {
                bindings::blocking_notifier_call_chain(self.chain.get(), news.action(), news.data())
            };
            match news {
                News::View(view) => announced.view = Some(view),
                News::Excluded | News::Stopped => announced.view = None,
                _ => {}
            }
        }
    }

    /// Add a notifier, and call it with the present view if there is one.
    ///
    /// Context: Process context. May sleep.
    ///
    /// # Errors
    ///
    /// - `ENETDOWN`: the node is gone.
    /// - `EEXIST`: the notifier is registered already.
    ///
    /// # Safety
    ///
    /// `block` is a notifier that stays until it was removed or the node is gone.
    pub(crate) unsafe fn register(&self, block: NonNull<bindings::notifier_block>) -> Result {
        let announced = self.announced.lock();
        if announced.is_ended {
            return Err(ENETDOWN);
        }
        // SAFETY: The chain is initialised; the caller promises the rest.
        to_result(unsafe {
            bindings::blocking_notifier_chain_register(self.chain.get(), block.as_ptr())
        })?;
        if let Some(view) = &announced.view {
            let news = News::View(view.clone());
            // SAFETY: The caller promises that the block can be read.
            if let Some(call) = unsafe { (*block.as_ptr()).notifier_call } {
                // SAFETY: The notifier gets its own block, and an action and data as from the chain; the data lives
                // until the call has returned.
                unsafe { call(block.as_ptr(), news.action(), news.data()) };
            }
        }
        Ok(())
    }

    /// Remove a notifier and wait for a call of it to end.
    ///
    /// Context: Process context. May sleep.
    ///
    /// # Errors
    ///
    /// - `ENOENT`: the notifier is not registered.
    pub(crate) fn unregister(&self, block: NonNull<bindings::notifier_block>) -> Result {
        // SAFETY: The chain is initialised; the function only looks for the pointer in it.
        to_result(unsafe {
            bindings::blocking_notifier_chain_unregister(self.chain.get(), block.as_ptr())
        })
    }
}

impl Work for ClusterNotifier {
    fn run(&self) {
        self.call_chain();
    }
}
