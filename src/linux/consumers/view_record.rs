// SPDX-License-Identifier: GPL-2.0

//! Views in the form that consumers get: `struct kcgcs_view` with its lists, reference-counted.
//!
//! A record never changes. It is freed when its last holder gives it back, in any context, so its lists lie in
//! physically contiguous memory, which may be freed anywhere.

use super::callback_types::{
    reason_number,
    Change,
    End,
    Member,
    View, //
};
use crate::{
    linux::{
        ffi,
        observability::live_objects::{
            Kind,
            LiveObject, //
        }, //
    },
    protocol::{
        group_view::GroupView,
        identity::{
            EndpointId,
            Identity,
            MemberId, //
        },
        outputs::ChangeReason,
        view::ClusterView, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        UniqueArc, //
    }, //
};

/// One view and the memory of its lists.
///
/// # Invariants
///
/// `view` is the first field; its pointers and counts are those of the lists, which never change.
#[repr(C)]
pub(crate) struct ViewRecord {
    view: View,
    members: KVec<Member>,
    joined: KVec<Member>,
    left: KVec<Change>,
    transitional: KVec<Member>,
    _live: LiveObject,
}

// SAFETY: The pointers in `view` are to memory that the record owns, and that may be freed on any thread.
unsafe impl Send for ViewRecord {}
// SAFETY: The record and the memory that its pointers are to never change, so any number of threads may read them.
unsafe impl Sync for ViewRecord {}

/// A view without its lists.
#[derive(Clone, Copy, Default)]
struct Head {
    number: u64,
    cluster_view: u64,
    coordinator: u16,
    primary: bool,
}

/// The lists of a view.
#[derive(Default)]
struct Lists {
    members: KVec<Member>,
    joined: KVec<Member>,
    left: KVec<Change>,
    transitional: KVec<Member>,
}

fn collect<S, T>(source: &[S], convert: impl Fn(&S) -> T) -> Result<KVec<T>> {
    let mut list = KVec::with_capacity(source.len(), GFP_KERNEL)?;
    for item in source {
        list.push(convert(item), GFP_KERNEL)?;
    }
    Ok(list)
}

fn count<T>(list: &KVec<T>) -> u16 {
    u16::try_from(list.len()).unwrap_or(u16::MAX)
}

fn change(member: Member, reason: ChangeReason) -> Change {
    Change {
        member,
        reason: reason_number(reason),
        reserved: 0,
    }
}

impl ViewRecord {
    fn new(head: Head, lists: Lists) -> Result<UniqueArc<Self>> {
        // INVARIANT: Moving the vectors does not move what they point to, and counts are of lists
        // with at most `NODES_MAX` entries.
        let record = Self {
            view: View {
                number: head.number,
                cluster_view: head.cluster_view,
                coordinator: head.coordinator,
                primary: u8::from(head.primary),
                reserved: 0,
                member_count: count(&lists.members),
                joined_count: count(&lists.joined),
                left_count: count(&lists.left),
                transitional_count: count(&lists.transitional),
                members: lists.members.as_ptr(),
                joined: lists.joined.as_ptr(),
                left: lists.left.as_ptr(),
                transitional: lists.transitional.as_ptr(),
                lost: 0,
                end: ffi::KCGCS_END_NONE,
                refusal: ffi::KCGCS_REFUSAL_NONE,
            },
            members: lists.members,
            joined: lists.joined,
            left: lists.left,
            transitional: lists.transitional,
            _live: LiveObject::new(Kind::View),
        };
        Ok(UniqueArc::new(record, GFP_KERNEL)?)
    }

    /// Make a view without members, for [`Self::ended`].
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn empty() -> Result<UniqueArc<Self>> {
        Self::new(Head::default(), Lists::default())
    }

    /// Say in a view without members why it has none, and how many messages were lost.
    pub(crate) fn ended(mut empty: UniqueArc<Self>, end: End, lost: u64) -> Arc<Self> {
        empty.view.lost = lost;
        empty.view.end = end.number();
        empty.view.refusal = end.refusal_number();
        empty.into()
    }

    /// Make the record of a group's view, before which `lost` messages of its reader were lost. Members that left have
    /// the slots that they had in `previous`.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn of_group(
        view: &GroupView,
        lost: u64,
        previous: Option<&ViewRecord>,
    ) -> Result<Arc<Self>> {
        let slot = |id: &MemberId| {
            let found = view.members.iter().find(|member| member.id == *id);
            Member::new(*id, found.map(|member| member.slot))
        };
        let lists = Lists {
            members: collect(&view.members, |member| Member::from(member))?,
            joined: collect(&view.joined, slot)?,
            left: collect(&view.left, |(id, reason)| {
                let before = previous.and_then(|previous| previous.find(*id));
                change(before.unwrap_or(Member::new(*id, None)), *reason)
            })?,
            transitional: collect(&view.transitional, slot)?,
        };
        let head = Head {
            number: view.number.0,
            cluster_view: view.cluster_view.0,
            coordinator: view.coordinator.number(),
            primary: view.primary,
        };
        let mut record = Self::new(head, lists)?;
        record.view.lost = lost;
        Ok(record.into())
    }

    /// Make the record of a cluster view; `changes` are its differences from the last one.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn of_cluster(
        view: &ClusterView,
        changes: &[(Identity, ChangeReason)],
        primary: bool,
        previous: Option<&ViewRecord>,
    ) -> Result<Arc<Self>> {
        let mut lists = Lists::default();
        for record in view.members() {
            let member = Member::new(node_member(record.identity), Some(record.slot));
            lists.members.push(member, GFP_KERNEL)?;
            if previous.is_some_and(|previous| previous.has(&member)) {
                lists.transitional.push(member, GFP_KERNEL)?;
            } else {
                lists.joined.push(member, GFP_KERNEL)?;
            }
        }
        for (identity, reason) in changes {
            if *reason != ChangeReason::Join {
                let id = node_member(*identity);
                let before = previous.and_then(|previous| previous.find(id));
                let member = before.unwrap_or(Member::new(id, None));
                lists.left.push(change(member, *reason), GFP_KERNEL)?;
            }
        }
        let head = Head {
            number: view.number.0,
            cluster_view: view.number.0,
            coordinator: view.issuer.number(),
            primary,
        };
        Ok(Self::new(head, lists)?.into())
    }

    /// The member of this id, with its slot.
    pub(crate) fn find(&self, id: MemberId) -> Option<Member> {
        self.members.iter().find(|member| member.is(id)).copied()
    }

    /// Whether it is a member, with this slot.
    pub(crate) fn has(&self, wanted: &Member) -> bool {
        self.members.iter().any(|member| member == wanted)
    }

    /// The member that is endpoint `endpoint` of the node in this incarnation.
    pub(crate) fn member_of(&self, node: Identity, endpoint: EndpointId) -> Option<Member> {
        self.find(MemberId {
            node: node.node,
            endpoint,
            incarnation: node.incarnation,
        })
    }

    /// Whether the view has no members.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The view as consumers see it.
    pub(crate) fn as_view(&self) -> &View {
        &self.view
    }

    /// Hand one reference to C, which gives it back to [`Self::from_foreign`].
    pub(crate) fn into_foreign(this: Arc<Self>) -> *const View {
        Arc::into_raw(this).cast()
    }

    /// Take back the reference that C held.
    ///
    /// # Safety
    ///
    /// `view` comes from [`Self::into_foreign`] and is given back for the first time.
    pub(crate) unsafe fn from_foreign(view: *const View) -> Arc<Self> {
        // SAFETY: By the type invariant `view` is the first field of a record. The caller says that it is from
        // `into_foreign`, so from `Arc::into_raw`, and is given back once.
        unsafe { Arc::from_raw(view.cast()) }
    }
}

/// A node as a member of the cluster view: without an endpoint.
pub(crate) fn node_member(identity: Identity) -> MemberId {
    MemberId {
        node: identity.node,
        endpoint: EndpointId(0),
        incarnation: identity.incarnation,
    }
}
