// SPDX-License-Identifier: GPL-2.0

//! Groups: named sets of members that get agreed views and one order of messages.
//!
//! Each group has a coordinator: the node with the highest rendezvous hash of the group and the
//! cluster view's nodes (Thaler and Ravishankar, 1998), so that groups are spread over the nodes and
//! few move when a node comes or goes. The coordinator keeps a log; messages and views are its
//! entries, numbered from 1 in each cluster view.
//!
//! ```text
//!  member                     coordinator                     all nodes with members
//!    | --- GroupData ------------> | orders                          |
//!    |                             | --- GroupOrdered -------------> | keep the entries
//!    |                             | <-- GroupAcknowledge ---------- |
//!    |                             | all have it: it is stable       |
//!    |                             | --- GroupStatus --------------> | deliver
//! ```
//!
//! Delivery waits until all have a message, so that what anybody delivers nobody lacks, whoever
//! dies. What happens to the log when the cluster view changes is told in [`flush`]; the parts are
//! [`local`] (a member on this node), [`log`], [`member`] (taking and delivering), [`sequencer`] and
//! [`coordinator`] (ordering).

mod coordinator;
mod datagrams;
#[cfg(kcgcs_exploration)]
mod exploration;
mod flush;
mod local;
mod log;
mod member;
mod participant;
mod past;
mod reassembly;
mod returns;
mod sequencer;
mod upkeep;
mod views;

use self::local::{Local, Standing};
use self::log::{Log, ViewEntry};
use self::past::Past;
use self::sequencer::Sequencer;
use super::configuration::Configuration;
use super::errors::CommandError;
use super::group_view::GroupSummary;
use super::identity::{
    EndpointId, GroupId, GroupName, Identity, MemberId, NodeId, PeerAddress, ViewKey, ViewNumber,
};
use super::limits::{
    DATAGRAM_BYTES_MAX, DEPARTURES_MAX, ENDPOINTS_MAX, EVENTS_KEPT_FOR_MEMBERSHIP, GROUPS_MAX,
    HEADER_BYTES, TRANSMIT_BYTES_MAX,
};
use super::outbox::Outbox;
use super::outputs::{ChangeReason, Event, Order};
use super::random::mix;
use super::time::{Duration, Instant};
use super::view::ClusterView;
use crate::platform::{BoundedVec, OutOfMemory, Shared};

/// Room in the event queue that groups leave to the membership.
const EVENTS_KEPT: usize = EVENTS_KEPT_FOR_MEMBERSHIP + 2 * ENDPOINTS_MAX;
/// Room in the transmit queue that groups leave to the membership.
const ROOM_KEPT_BYTES: usize = TRANSMIT_BYTES_MAX / 4;
/// Members on their way from one part of the cluster to another keep their last view for as long as a part waits for a
/// quorum, and so many rounds of looking for others.
const MOVING_ROUNDS: u64 = 16;
/// Room for fragments in a datagram.
const FRAGMENTS_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - HEADER_BYTES - 8;

/// What members are told of the cluster view that a view of their group belongs to.
#[derive(Clone, Copy, Default)]
struct Shown {
    number: ViewNumber,
    is_primary: bool,
}

/// What a group needs of its surroundings for one call.
struct Context<'a> {
    now: Instant,
    own: Identity,
    view: &'a ClusterView,
    cluster_view: ViewKey,
    shown: Shown,
    interval: Duration,
    departed: &'a [(Identity, ChangeReason)],
    highest: &'a mut ViewNumber,
    outbox: &'a mut Outbox,
}

impl Context<'_> {
    fn address(&self, node: NodeId) -> Option<PeerAddress> {
        self.view.member(node).map(|member| member.address)
    }
}

/// The start of an epoch that was accepted.
struct Candidate {
    epoch: ViewNumber,
    cluster_view: ViewKey,
    /// The epoch before, and how far its log counts.
    previous: ViewNumber,
    last: u64,
    view: Shared<ViewEntry>,
    /// All are known to have it.
    in_effect: bool,
}

/// One group, as far as this node has to do with it.
struct Group {
    name: GroupName,
    id: GroupId,
    /// Who orders it in the present cluster view.
    coordinator: Option<NodeId>,
    locals: BoundedVec<Local>,
    log: Option<Log>,
    candidate: Option<Candidate>,
    /// What members have kept of another part of the cluster.
    past: Option<Past>,
    /// That is being delivered.
    is_in_past: bool,
    sequencer: Option<Sequencer>,
    /// This node orders the group in the present cluster view and has begun to.
    is_ordering: bool,
    /// When to tell the coordinator again what this node holds.
    report_at: Option<Instant>,
    acknowledge_due: bool,
    /// When to acknowledge again, since nothing was heard of what all have.
    acknowledge_at: Option<Instant>,
    /// Gaps are complained of no sooner.
    missing_at: Instant,
    /// Something had to wait for room in a queue.
    backlog: bool,
}

impl Group {
    fn new(name: GroupName) -> Result<Self, OutOfMemory> {
        Ok(Self {
            name,
            id: name.id(),
            coordinator: None,
            locals: BoundedVec::with_capacity(ENDPOINTS_MAX)?,
            log: None,
            candidate: None,
            past: None,
            is_in_past: false,
            sequencer: None,
            is_ordering: false,
            report_at: None,
            acknowledge_due: false,
            acknowledge_at: None,
            missing_at: Instant::ZERO,
            backlog: false,
        })
    }
}

fn member_id(own: Identity, endpoint: EndpointId) -> MemberId {
    MemberId {
        node: own.node,
        endpoint,
        incarnation: own.incarnation,
    }
}

/// The node of the view with the highest hash of group and node.
fn coordinator_of(group: GroupId, view: &ClusterView) -> Option<NodeId> {
    view.members()
        .iter()
        .map(|member| member.identity.node)
        .max_by_key(|node| mix(group.0 ^ mix(u64::from(node.number()))))
}

/// All groups of one node.
pub struct Groups {
    own: Identity,
    groups: BoundedVec<Group>,
    interval: Duration,
    /// How long members on their way from one part of the cluster to another keep their last view.
    patience: Duration,
    /// The present cluster view.
    cluster_view: ViewKey,
    shown: Shown,
    next_endpoint: u32,
    has_quorum: bool,
    is_frozen: bool,
    is_stopped: bool,
    /// The highest number of a group view that this node has seen.
    highest: ViewNumber,
    /// Why nodes went lately.
    departed: BoundedVec<(Identity, ChangeReason)>,
}

impl Groups {
    /// No groups yet.
    pub fn new(own: Identity, settings: &Configuration) -> Result<Self, OutOfMemory> {
        let milliseconds = |value: u32| Duration::from_milliseconds(u64::from(value));
        Ok(Self {
            own,
            groups: BoundedVec::with_capacity(GROUPS_MAX)?,
            interval: milliseconds(settings.retransmit_ms),
            patience: milliseconds(settings.blocked_timeout_ms)
                .plus(milliseconds(settings.formation_ms).times(MOVING_ROUNDS)),
            cluster_view: ViewKey::default(),
            shown: Shown::default(),
            next_endpoint: 1,
            has_quorum: false,
            is_frozen: false,
            is_stopped: false,
            highest: ViewNumber::default(),
            departed: BoundedVec::with_capacity(DEPARTURES_MAX)?,
        })
    }

    // ---- commands -----------------------------------------------------------------------------

    /// Makes a member; legal before any view.
    pub fn join(
        &mut self,
        now: Instant,
        name: GroupName,
        view: Option<&ClusterView>,
    ) -> Result<EndpointId, CommandError> {
        if self.is_stopped {
            return Err(CommandError::Stopped);
        }
        let members = self.groups.iter().fold(0, |count: usize, group| {
            count.saturating_add(group.locals.len())
        });
        if members >= ENDPOINTS_MAX {
            return Err(CommandError::LimitReached);
        }
        let endpoint = EndpointId(self.next_endpoint);
        // No number is given out twice.
        let following = self.next_endpoint.checked_add(1);
        let following = following.ok_or(CommandError::LimitReached)?;
        let local = Local::new(endpoint, now)?;
        let group = self.group_or_new(name, view)?;
        group
            .locals
            .push(local)
            .map_err(|_| CommandError::LimitReached)?;
        self.next_endpoint = following;
        Ok(endpoint)
    }

    fn group_or_new(
        &mut self,
        name: GroupName,
        view: Option<&ClusterView>,
    ) -> Result<&mut Group, CommandError> {
        let id = name.id();
        let place = match self.groups.iter().position(|group| group.id == id) {
            Some(place) => place,
            None => {
                let mut group = Group::new(name)?;
                group.coordinator = view.and_then(|view| coordinator_of(id, view));
                let place = self.groups.len();
                self.groups
                    .push(group)
                    .map_err(|_| CommandError::LimitReached)?;
                place
            }
        };
        self.groups
            .as_mut_slice()
            .get_mut(place)
            .filter(|group| group.name == name)
            .ok_or(CommandError::LimitReached)
    }

    fn local(&mut self, endpoint: EndpointId) -> Option<&mut Local> {
        self.groups
            .as_mut_slice()
            .iter_mut()
            .flat_map(|group| group.locals.as_mut_slice())
            .find(|local| local.endpoint == endpoint && local.standing != Standing::Leaving)
    }

    /// Ends a membership; `Event::GroupLeft` follows.
    pub fn leave(&mut self, now: Instant, endpoint: EndpointId) -> Result<(), CommandError> {
        let local = self.local(endpoint).ok_or(CommandError::NoSuchEndpoint)?;
        local.standing = Standing::Leaving;
        local.request_at = now;
        Ok(())
    }

    /// Queues a message; on error the payload is handed back.
    pub fn multicast(
        &mut self,
        endpoint: EndpointId,
        order: Order,
        payload: BoundedVec<u8>,
    ) -> Result<(), (CommandError, BoundedVec<u8>)> {
        if self.is_stopped {
            return Err((CommandError::Stopped, payload));
        }
        if payload.len() > super::limits::MESSAGE_BYTES_MAX {
            return Err((CommandError::MessageTooLong, payload));
        }
        let has_quorum = self.has_quorum;
        match self.local(endpoint) {
            None => Err((CommandError::NoSuchEndpoint, payload)),
            Some(local) if !has_quorum || local.standing != Standing::Member => {
                Err((CommandError::NoQuorum, payload))
            }
            Some(local) => local.submit(order, payload),
        }
    }

    // ---- what the membership says -------------------------------------------------------------

    /// Whether the node may hold entries that others lack, or has members (told in its promise).
    pub fn has_groups(&self) -> bool {
        self.groups.iter().any(|group| {
            !group.locals.is_empty() || group.log.is_some() || group.candidate.is_some()
        })
    }

    /// The node promised to a new cluster view: nothing is ordered or accepted any more.
    pub fn freeze(&mut self, outbox: &mut Outbox) {
        self.is_frozen = true;
        for local in self.groups.iter().flat_map(|group| group.locals.iter()) {
            if local.standing == Standing::Member && outbox.event_room() > EVENTS_KEPT {
                outbox.event(Event::Block {
                    endpoint: local.endpoint,
                });
            }
        }
    }

    /// A cluster view was installed; `departed` says why nodes went lately.
    pub fn install(
        &mut self,
        now: Instant,
        view: &ClusterView,
        own: Identity,
        departed: &[(Identity, ChangeReason)],
    ) {
        self.own = own;
        self.cluster_view = view.key();
        self.shown = Shown {
            number: view.number,
            is_primary: view.is_primary,
        };
        self.is_frozen = false;
        self.departed.clear();
        let _ = self.departed.extend_from_slice(departed);
        for group in self.groups.as_mut_slice() {
            group.install(now, view, own.node);
        }
        self.groups.retain(|group| !group.is_over());
    }

    /// The node has begun a new incarnation: its members join again. Unless it goes from one part of the cluster to
    /// another by itself (`keeps_past`), they are out meanwhile: the cluster went on without them.
    pub fn excluded(
        &mut self,
        now: Instant,
        new_own: Identity,
        keeps_past: bool,
        outbox: &mut Outbox,
    ) {
        let old_own = core::mem::replace(&mut self.own, new_own);
        self.is_frozen = false;
        for group in self.groups.as_mut_slice() {
            if keeps_past {
                group.keep_past(old_own, self.shown, now.after(self.patience), outbox);
            } else {
                group.lose_past(outbox);
            }
            group.log = None;
            group.candidate = None;
            group.sequencer = None;
            group.is_ordering = false;
            group.coordinator = None;
            group.report_at = None;
            group.acknowledge_at = None;
            group.acknowledge_due = false;
            group.locals.retain(|local| {
                let endpoint = local.endpoint;
                match local.standing {
                    Standing::Leaving => {
                        local.tell_end(outbox);
                        return false;
                    }
                    Standing::Member => {
                        tell_out(endpoint, old_own, outbox);
                        local.standing = Standing::Joining;
                    }
                    Standing::Joining | Standing::Returning => {}
                }
                local.request_at = now;
                local.forget_messages();
                true
            });
        }
        self.groups.retain(|group| !group.is_over());
    }

    /// Whether sends are accepted.
    pub fn set_quorum(&mut self, quorum: bool) {
        self.has_quorum = quorum;
    }

    /// The node stops: all members are out for good.
    pub fn stop(&mut self, outbox: &mut Outbox) {
        self.is_stopped = true;
        let own = self.own;
        // What is held stays for the others until the node is out of the cluster's view.
        for group in self.groups.as_mut_slice() {
            group.lose_past(outbox);
            for local in group.locals.as_mut_slice() {
                let endpoint = local.endpoint;
                match local.standing {
                    Standing::Leaving => local.tell_end(outbox),
                    Standing::Member => {
                        tell_out(endpoint, own, outbox);
                        outbox.event(Event::GroupClosed { endpoint });
                    }
                    Standing::Joining | Standing::Returning => {
                        outbox.event(Event::GroupClosed { endpoint });
                    }
                }
                local.standing = Standing::Leaving;
                local.is_ended = true;
            }
        }
    }

    // ---- time ---------------------------------------------------------------------------------

    /// When [`Self::after_input`] has something to do although nothing comes in.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.is_frozen || !self.has_view() {
            let has_backlog = self.groups.iter().any(|group| group.backlog);
            let given_up = self.groups.iter().filter_map(Group::given_up_at);
            let given_up = given_up.filter(|_| !self.has_view()).min();
            return has_backlog.then_some(Instant::ZERO).or(given_up);
        }
        self.groups.iter().filter_map(Group::next_deadline).min()
    }

    fn has_view(&self) -> bool {
        self.groups
            .first()
            .is_some_and(|group| group.coordinator.is_some())
    }

    /// To be called once after every input and command: sends what was packed, delivers what may be.
    pub fn after_input(&mut self, now: Instant, view: Option<&ClusterView>, outbox: &mut Outbox) {
        let Some(view) = view else {
            self.wait_for_view(now, outbox);
            return;
        };
        let mut is_over = false;
        for group in self.groups.as_mut_slice() {
            let mut context = Context {
                now,
                own: self.own,
                view,
                cluster_view: self.cluster_view,
                shown: self.shown,
                interval: self.interval,
                departed: &self.departed,
                highest: &mut self.highest,
                outbox,
            };
            if self.is_frozen {
                // What is decided already is still delivered.
                group.backlog = false;
                group.deliver(&mut context);
            } else {
                group.run(&mut context);
            }
            is_over |= group.is_over();
        }
        if is_over && !self.is_frozen {
            self.groups.retain(|group| !group.is_over());
        }
    }

    /// Without a view nobody knows this node's members: those who leave are gone at once. Those who come from
    /// another part of the cluster do not wait for ever.
    fn wait_for_view(&mut self, now: Instant, outbox: &mut Outbox) {
        for group in self.groups.as_mut_slice() {
            group.backlog = false;
            if group.given_up_at().is_some_and(|at| now >= at) {
                group.lose_past(outbox);
            }
            group.locals.retain(|local| {
                let is_leaving = local.standing == Standing::Leaving;
                if is_leaving {
                    local.tell_end(outbox);
                }
                !is_leaving
            });
        }
        self.groups.retain(|group| !group.is_over());
    }

    /// Tells of each group.
    pub fn for_each_group(&self, each: &mut dyn FnMut(&GroupSummary)) {
        for group in self.groups.iter() {
            let latest = group
                .sequencer
                .as_ref()
                .and_then(|sequencer| sequencer.latest.as_ref());
            let view = group
                .log
                .as_ref()
                .and_then(|log| log.view.as_ref())
                .or(latest);
            let short = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
            each(&GroupSummary {
                name: group.name,
                members: view.map_or(0, |view| short(view.members.len())),
                local_members: short(group.locals.len()),
                view: view.map_or_else(ViewNumber::default, |view| view.number),
                coordinator: group.coordinator.unwrap_or(self.own.node),
                log_entries: group
                    .log
                    .as_ref()
                    .map_or(0, |log| u32::try_from(log.length()).unwrap_or(u32::MAX)),
            });
        }
    }
}

/// Tells a member that it is out.
fn tell_out(endpoint: EndpointId, own: Identity, outbox: &mut Outbox) {
    if let Ok(view) = views::empty_view(own) {
        outbox.event(Event::GroupView { endpoint, view });
    }
}
