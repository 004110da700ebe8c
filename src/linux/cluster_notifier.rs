// SPDX-License-Identifier: GPL-2.0

//! Telling other modules of the cluster: a chain of notifiers that is called from a work item, one
//! piece of news after the other, in the order in which things happened.

use super::{
    bottom_half_lock::{
        new_bottom_half_lock,
        BottomHalfLock, //
    },
    callback_types::Member,
    ffi,
    ring_buffer::RingBuffer,
    view_record::ViewRecord,
    work_item::{
        WorkItem,
        WorkQueue, //
    }, //
};
use crate::platform::OutOfMemory;
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

/// News that wait to be told. A chain that is slower than this misses suspicions, not views.
const NEWS_MAX: usize = 256;
/// Of these places, those that only views and the end may take.
const PLACES_KEPT: usize = 64;

/// One piece of news: an `enum kcgcs_cluster_event` with its data.
pub(super) enum News {
    /// A view was installed.
    View(Arc<ViewRecord>),
    /// A node is silent.
    Suspect(Member),
    /// A view is about to change.
    Prepare,
    /// A node is excluded by the view that follows.
    Failed(Member),
    /// No quorum any more.
    QuorumLost,
    /// The quorum is back.
    QuorumRegained,
    /// The cluster went on without this node.
    Excluded,
    /// The node is gone.
    Stopped,
}

impl News {
    /// The number that the notifier gets.
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

    /// The data that the notifier gets.
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

/// What the chain was told.
struct Told {
    /// The last view, unless the node is out of the cluster.
    view: Option<Arc<ViewRecord>>,
    /// The node is gone: nothing follows.
    is_ended: bool,
}

/// The chain of one node, and the news that wait for it.
#[pin_data]
pub(super) struct ClusterNotifier {
    #[pin]
    work: WorkItem<ClusterNotifier>,
    #[pin]
    chain: Opaque<bindings::blocking_notifier_head>,
    #[pin]
    news: BottomHalfLock<RingBuffer<News>>,
    /// Held while the chain is called, so that who registers gets each view once.
    #[pin]
    told: Mutex<Told>,
}

// SAFETY: The chain has a lock of its own; the other fields may be sent and shared.
unsafe impl Send for ClusterNotifier {}
// SAFETY: As above.
unsafe impl Sync for ClusterNotifier {}

impl ClusterNotifier {
    /// The queue that [`Self::new`] takes.
    pub(super) fn queue() -> Result<RingBuffer<News>, OutOfMemory> {
        RingBuffer::with_capacity(NEWS_MAX)
    }

    /// A chain that nobody is on.
    pub(super) fn new(news: RingBuffer<News>) -> impl PinInit<Self> {
        pin_init!(&this in Self {
            // SAFETY: `this` is pinned, and its first field is the work item, which is dropped, and
            // thereby cancelled, before the others.
            work <- unsafe {
                WorkItem::new(this, Self::tell, c"kcgcs notifier", static_lock_class!())
            },
            chain <- Opaque::ffi_init(|head| {
                // SAFETY: `head` is memory for the head of a chain.
                unsafe { ffi::kcgcs_init_notifier_chain(head) }
            }),
            news <- new_bottom_half_lock!(news, "kcgcs_news"),
            told <- new_mutex!(Told { view: None, is_ended: false }, "kcgcs_notifier"),
        })
    }

    /// Queues a piece of news.
    ///
    /// Context: Process context.
    pub(super) fn push(&self, news: News, queue: &WorkQueue) {
        {
            let mut waiting = self.news.lock();
            if news.may_be_missed() && waiting.len() >= NEWS_MAX.saturating_sub(PLACES_KEPT) {
                return;
            }
            if waiting.push(news).is_err() {
                // The chain sleeps for long; it gets the next view.
                return;
            }
        }
        self.work.enqueue(queue);
    }

    /// Tells what still waits, and waits until it is told.
    ///
    /// Context: Process context. May sleep, not from a notifier.
    pub(super) fn end(&self) {
        self.work.cancel();
        self.tell();
        let mut told = self.told.lock();
        told.is_ended = true;
        told.view = None;
    }

    fn tell(&self) {
        loop {
            let mut told = self.told.lock();
            let Some(news) = self.news.lock().pop() else {
                return;
            };
            // SAFETY: The chain is initialised; the data lives until the call returns.
            unsafe {
                bindings::blocking_notifier_call_chain(self.chain.get(), news.action(), news.data())
            };
            match news {
                News::View(view) => told.view = Some(view),
                News::Excluded | News::Stopped => told.view = None,
                _ => {}
            }
        }
    }

    /// Adds a notifier, and calls it with the present view if there is one.
    ///
    /// Context: Process context. May sleep.
    ///
    /// # Safety
    ///
    /// `block` is a notifier that stays until it was removed or the node is gone.
    pub(super) unsafe fn register(&self, block: NonNull<bindings::notifier_block>) -> Result {
        let told = self.told.lock();
        if told.is_ended {
            return Err(ENETDOWN);
        }
        // SAFETY: The chain is initialised; the caller promises the rest.
        to_result(unsafe {
            bindings::blocking_notifier_chain_register(self.chain.get(), block.as_ptr())
        })?;
        if let Some(view) = &told.view {
            let news = News::View(view.clone());
            // SAFETY: The caller promises that it is a notifier.
            if let Some(call) = unsafe { (*block.as_ptr()).notifier_call } {
                // SAFETY: As the chain would call it.
                unsafe { call(block.as_ptr(), news.action(), news.data()) };
            }
        }
        Ok(())
    }

    /// Removes a notifier; waits for a call of it to end.
    ///
    /// Context: Process context. May sleep.
    pub(super) fn unregister(&self, block: NonNull<bindings::notifier_block>) -> Result {
        // SAFETY: The chain is initialised; the function only looks for the pointer in it.
        to_result(unsafe {
            bindings::blocking_notifier_chain_unregister(self.chain.get(), block.as_ptr())
        })
    }
}
