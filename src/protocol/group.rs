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
mod flush;
mod local;
mod log;
mod member;
mod sequencer;

use self::flush::{Held, NodeReport};
use self::local::{Local, Standing};
use self::log::{Log, ViewEntry};
use self::sequencer::Sequencer;
use super::configuration::Configuration;
use super::errors::{CommandError, Counter};
use super::identity::{
    EndpointId, GroupId, GroupName, Identity, MemberId, NodeId, PeerAddress, ViewNumber,
};
use super::limits::{
    DATAGRAM_BYTES_MAX, DEPARTURES_MAX, ENDPOINTS_MAX, EVENTS_KEPT_FOR_MEMBERSHIP, GROUPS_MAX,
    HEADER_BYTES, TRANSMIT_BYTES_MAX,
};
use super::node::GroupSummary;
use super::outbox::Outbox;
use super::outputs::{ChangeReason, Event, Order};
use super::random::mix;
use super::time::{Duration, Instant};
use super::view::{ClusterView, MemberRecord};
use super::wire::group::{
    parse_acknowledge, parse_data, parse_fetch, parse_handover, parse_ordered, parse_positions,
    parse_query, parse_report, parse_request, read_group, write_fragment, write_request, Report,
    Request, FRAGMENT_HEAD_BYTES,
};
use super::wire::{Kind, Reader};
use crate::platform::{BoundedVec, OutOfMemory, Shared};

/// Room in the event queue that groups leave to the membership.
const EVENTS_KEPT: usize = EVENTS_KEPT_FOR_MEMBERSHIP + 2 * ENDPOINTS_MAX;
/// Room in the transmit queue that groups leave to the membership.
const ROOM_KEPT_BYTES: usize = TRANSMIT_BYTES_MAX / 4;
/// Room for fragments in a datagram.
const FRAGMENTS_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - HEADER_BYTES - 8;

/// What a group needs of its surroundings for one call.
struct Context<'a> {
    now: Instant,
    own: Identity,
    view: &'a ClusterView,
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
            sequencer: None,
            is_ordering: false,
            report_at: None,
            acknowledge_due: false,
            acknowledge_at: None,
            missing_at: Instant::ZERO,
            backlog: false,
        })
    }

    /// A cluster view was installed.
    fn install(&mut self, now: Instant, view: &ClusterView, own: NodeId) {
        self.coordinator = coordinator_of(self.id, view);
        self.sequencer = None;
        self.is_ordering = false;
        if self.locals.is_empty() {
            // It only ordered the group.
            self.log = None;
            self.candidate = None;
        }
        // A node that has accepted a view without it gets nothing of what followed.
        let is_out = self
            .log
            .as_ref()
            .and_then(Log::accepted_view)
            .is_some_and(|view| !view.has_node(own));
        if is_out {
            self.log = None;
        }
        if let Some(log) = &mut self.log {
            log.forget_unaccepted();
        }
        let holds_something = self.log.is_some() || self.candidate.is_some();
        self.report_at = holds_something.then_some(now);
        self.acknowledge_due = false;
        self.acknowledge_at = None;
        for local in self.locals.as_mut_slice() {
            local.request_at = now;
            local.send_again();
        }
    }

    /// Does what is due, in a settled cluster view.
    fn run(&mut self, context: &mut Context<'_>) {
        self.backlog = false;
        self.progress(context);
        self.send_report_due(context);
        self.send_requests(context);
        self.send_data(context);
        self.run_sequencer(context);
        self.send_acknowledge(context);
        // The epoch may have begun just now, by what this node has ordered itself.
        let epoch = context.view.number;
        if self.is_coordinator(context) && self.log_of(epoch).is_some() {
            self.backlog |= self.locals.iter().any(Local::has_more);
        }
    }

    fn is_coordinator(&self, context: &Context<'_>) -> bool {
        self.coordinator == Some(context.own.node)
    }

    /// How far the log of the present epoch was accepted.
    fn accepted(&self, epoch: ViewNumber) -> Option<u64> {
        if let Some(log) = self.log.as_ref().filter(|log| log.epoch == epoch) {
            return Some(log.accepted);
        }
        let candidate = self.candidate.as_ref();
        candidate
            .filter(|candidate| candidate.epoch == epoch)
            .map(|_| 1)
    }

    fn send_report_due(&mut self, context: &mut Context<'_>) {
        if self.accepted(context.view.number).is_some() {
            self.report_at = None;
        }
        let (Some(at), Some(coordinator)) = (self.report_at, self.coordinator) else {
            return;
        };
        if context.now < at {
            return;
        }
        if self.is_coordinator(context) {
            self.sequencer(context);
            self.report_at = None;
        } else {
            self.send_report(context, coordinator);
            self.report_at = Some(context.now.after(context.interval.times(2)));
        }
    }

    fn send_requests(&mut self, context: &mut Context<'_>) {
        let Some(coordinator) = self.coordinator else {
            return;
        };
        for place in 0..self.locals.len() {
            let Some(local) = self.locals.as_mut_slice().get_mut(place) else {
                return;
            };
            let request = match local.standing {
                Standing::Joining => Request::Join,
                Standing::Leaving => Request::Leave,
                Standing::Member => continue,
            };
            if context.now < local.request_at {
                continue;
            }
            local.request_at = context.now.after(context.interval.times(2));
            let endpoint = local.endpoint;
            if coordinator == context.own.node {
                let member = member_id(context.own, endpoint);
                if !self.take_request(context, request, member) {
                    self.answer_gone(context, member);
                }
            } else if let Some(address) = context.address(coordinator) {
                let name = &self.name;
                context
                    .outbox
                    .send([&address], Kind::GroupRequest, |writer| {
                        write_request(writer, name, request, endpoint)
                    });
            }
        }
    }

    /// A member asks to be let in or go. False if it wants to go and is not known.
    fn take_request(&mut self, context: &Context<'_>, request: Request, member: MemberId) -> bool {
        match (request, self.sequencer(context)) {
            (Request::Join, Some(sequencer)) => {
                sequencer.join(member);
                true
            }
            (Request::Leave, Some(sequencer)) => sequencer.leave(member),
            _ => true,
        }
    }

    /// Tells a member that wanted to go that it is not in the group.
    fn answer_gone(&mut self, context: &mut Context<'_>, member: MemberId) {
        if member.node == context.own.node {
            self.forget_endpoint(context, member.endpoint);
        } else if let Some(address) = context.address(member.node) {
            let name = &self.name;
            context
                .outbox
                .send([&address], Kind::GroupRequest, |writer| {
                    write_request(writer, name, Request::Gone, member.endpoint)
                });
        }
    }

    /// A member that wanted to go is not in the group.
    fn forget_endpoint(&mut self, context: &mut Context<'_>, endpoint: EndpointId) {
        let outbox = &mut *context.outbox;
        self.locals.retain(|local| {
            let is_it = local.endpoint == endpoint && local.standing == Standing::Leaving;
            if is_it {
                local.tell_end(outbox);
            }
            !is_it
        });
    }

    /// Sends what members on this node have submitted.
    fn send_data(&mut self, context: &mut Context<'_>) {
        let epoch = context.view.number;
        let is_in_effect = self.log.as_ref().is_some_and(|log| log.epoch == epoch);
        let Some(coordinator) = self.coordinator.filter(|_| is_in_effect) else {
            return;
        };
        let interval = context.interval;
        for local in self.locals.as_mut_slice() {
            if local.standing != Standing::Member {
                continue;
            }
            local.check_progress(context.now, interval);
            if coordinator == context.own.node {
                let member = member_id(context.own, local.endpoint);
                while let (Some(fragment), Some(sequencer)) =
                    (local.next_fragment(), self.sequencer.as_mut())
                {
                    sequencer.take_fragment(member, &fragment);
                    local.fragment_sent(context.now, interval);
                }
                continue;
            }
            let Some(address) = context
                .view
                .member(coordinator)
                .map(|member| member.address)
            else {
                return;
            };
            let group = self.id;
            while local.next_fragment().is_some() {
                if context.outbox.transmit_room() <= ROOM_KEPT_BYTES {
                    self.backlog = true;
                    return;
                }
                context.outbox.send([&address], Kind::GroupData, |writer| {
                    writer.u64(group.0)?;
                    let mut bytes: usize = 0;
                    while let Some(fragment) = local.next_fragment() {
                        bytes = bytes
                            .saturating_add(FRAGMENT_HEAD_BYTES)
                            .saturating_add(fragment.bytes.len());
                        if bytes > FRAGMENTS_BYTES_MAX {
                            break;
                        }
                        write_fragment(writer, &fragment)?;
                        local.fragment_sent(context.now, interval);
                    }
                    Some(())
                });
            }
        }
    }

    fn send_acknowledge(&mut self, context: &mut Context<'_>) {
        let epoch = context.view.number;
        let (Some(accepted), Some(coordinator)) = (self.accepted(epoch), self.coordinator) else {
            return;
        };
        if coordinator == context.own.node {
            return;
        }
        let Some(address) = context.address(coordinator) else {
            return;
        };
        let group = self.id;
        let (stable, gap) = match self.log.as_ref().filter(|log| log.epoch == epoch) {
            Some(log) => (log.stable, log.gap()),
            None => (0, None),
        };
        let is_again = self.acknowledge_at.is_some_and(|at| context.now >= at);
        if self.acknowledge_due || is_again {
            context
                .outbox
                .send([&address], Kind::GroupAcknowledge, |writer| {
                    writer.u64(group.0)?;
                    writer.u64(accepted)
                });
            self.acknowledge_due = false;
            self.acknowledge_at = Some(context.now.after(context.interval.times(2)));
        }
        if stable >= accepted {
            self.acknowledge_at = None;
        }
        if let Some((from, to)) = gap.filter(|_| context.now >= self.missing_at) {
            context
                .outbox
                .send([&address], Kind::GroupMissing, |writer| {
                    writer.u64(group.0)?;
                    writer.u64(from)?;
                    writer.u64(to)
                });
            self.missing_at = context.now.after(context.interval);
        }
    }

    /// When something is to be done although nothing comes in.
    fn next_deadline(&self) -> Option<Instant> {
        if self.backlog {
            return Some(Instant::ZERO);
        }
        let requests = self
            .locals
            .iter()
            .filter(|local| local.standing != Standing::Member)
            .map(|local| local.request_at);
        // Only what `send_data` and `send_acknowledge` look after: else nothing would be done then.
        let sends = self
            .locals
            .iter()
            .filter(|local| local.standing == Standing::Member)
            .filter_map(Local::next_deadline);
        let is_present = self.report_at.is_none();
        let gap = self.log.as_ref().filter(|_| is_present).and_then(Log::gap);
        let missing = gap.map(|_| self.missing_at).filter(|_| !self.is_ordering);
        let sequencer = self.sequencer.as_ref().and_then(Sequencer::next_deadline);
        requests
            .chain(sends)
            .chain(self.report_at)
            .chain(self.acknowledge_at)
            .chain(missing)
            .chain(sequencer)
            .min()
    }

    /// Whether this node has nothing to do with the group any more.
    fn is_over(&self) -> bool {
        self.locals.is_empty() && self.sequencer.as_ref().is_none_or(Sequencer::is_empty)
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
        Ok(Self {
            own,
            groups: BoundedVec::with_capacity(GROUPS_MAX)?,
            interval: Duration::from_milliseconds(u64::from(settings.retransmit_ms)),
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
        let local = Local::new(endpoint, now)?;
        let group = self.group_or_new(name, view)?;
        group
            .locals
            .push(local)
            .map_err(|_| CommandError::LimitReached)?;
        self.next_endpoint = self.next_endpoint.saturating_add(1);
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

    /// Whether the node may hold entries that others lack (told in its promise).
    pub fn has_groups(&self) -> bool {
        self.groups
            .iter()
            .any(|group| group.log.is_some() || group.candidate.is_some())
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
        self.is_frozen = false;
        self.departed.clear();
        let _ = self.departed.extend_from_slice(departed);
        for group in self.groups.as_mut_slice() {
            group.install(now, view, own.node);
        }
        self.groups.retain(|group| !group.is_over());
    }

    /// The cluster went on without this node: all its members are out, and join again.
    pub fn excluded(&mut self, now: Instant, new_own: Identity, outbox: &mut Outbox) {
        let old_own = core::mem::replace(&mut self.own, new_own);
        self.is_frozen = false;
        for group in self.groups.as_mut_slice() {
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
                    Standing::Member => tell_out(endpoint, old_own, outbox),
                    Standing::Joining => {}
                }
                local.standing = Standing::Joining;
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
            for local in group.locals.as_mut_slice() {
                let endpoint = local.endpoint;
                match local.standing {
                    Standing::Leaving => local.tell_end(outbox),
                    Standing::Member => {
                        tell_out(endpoint, own, outbox);
                        outbox.event(Event::GroupClosed { endpoint });
                    }
                    Standing::Joining => outbox.event(Event::GroupClosed { endpoint }),
                }
                local.standing = Standing::Leaving;
                local.is_ended = true;
            }
        }
    }

    // ---- datagrams ----------------------------------------------------------------------------

    /// A datagram of a group from a member of the present view. Nothing has changed on an error.
    pub fn handle_message(
        &mut self,
        now: Instant,
        view: &ClusterView,
        sender: &MemberRecord,
        kind: Kind,
        body: &[u8],
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        let mut reader = Reader::new(body);
        let id = read_group(&mut reader)?;
        let coordinator = coordinator_of(id, view).ok_or(Counter::DroppedUnexpected)?;
        let is_mine = coordinator == self.own.node;
        let is_from_coordinator = coordinator == sender.identity.node;
        let is_allowed = match kind {
            Kind::GroupData | Kind::GroupAcknowledge | Kind::GroupMissing | Kind::GroupReport => {
                is_mine
            }
            Kind::GroupRequest => is_mine || is_from_coordinator,
            Kind::GroupOrdered | Kind::GroupStatus | Kind::GroupQuery | Kind::GroupFetch => {
                is_from_coordinator
            }
            _ => true,
        };
        if !is_allowed {
            return Err(Counter::DroppedUnexpected);
        }
        let mut context = Context {
            now,
            own: self.own,
            view,
            interval: self.interval,
            departed: &self.departed,
            highest: &mut self.highest,
            outbox,
        };
        let groups = &mut self.groups;
        match kind {
            Kind::GroupRequest => {
                let (request, endpoint, name) = parse_request(reader, id)?;
                if request == Request::Gone {
                    let group = find(groups, id)?;
                    group.forget_endpoint(&mut context, endpoint);
                    return Ok(());
                }
                let group = find_or_new(groups, name, coordinator)?;
                let member = member_id(sender.identity, endpoint);
                if !group.take_request(&context, request, member) {
                    group.answer_gone(&mut context, member);
                }
            }
            Kind::GroupData => {
                let fragments = parse_data(reader)?;
                let group = find(groups, id)?;
                let sequencer = group.sequencer.as_mut().ok_or(Counter::DroppedUnexpected)?;
                for fragment in fragments {
                    let member = member_id(sender.identity, fragment.endpoint);
                    sequencer.take_fragment(member, &fragment);
                }
            }
            Kind::GroupOrdered => {
                let ordered = parse_ordered(reader)?;
                find(groups, id)?.take_ordered(&mut context, &ordered);
            }
            Kind::GroupStatus => {
                let (last, stable) = parse_positions(reader)?;
                let group = find(groups, id)?;
                group.hear_stable(&mut context, stable);
                if let Some(log) = group.log_of(view.number) {
                    log.hear_of(last);
                }
                group.progress(&mut context);
            }
            Kind::GroupAcknowledge => {
                let accepted = parse_acknowledge(reader)?;
                let group = find(groups, id)?;
                let sequencer = group.sequencer.as_mut().ok_or(Counter::DroppedUnexpected)?;
                let is_again = sequencer.acknowledge(now, sender.identity.node, accepted);
                if is_again {
                    // It may have missed what it was told.
                    sequencer.tell_again(sender.identity.node);
                }
            }
            Kind::GroupMissing => {
                let (from, _) = parse_positions(reader)?;
                let group = find(groups, id)?;
                let sequencer = group.sequencer.as_mut().ok_or(Counter::DroppedUnexpected)?;
                sequencer.missing(sender.identity.node, from);
            }
            Kind::GroupQuery => {
                let name = parse_query(reader, id)?;
                match find(groups, id) {
                    Ok(group) => group.send_report(&mut context, sender.identity.node),
                    Err(_) => {
                        let address = sender.address;
                        context
                            .outbox
                            .send([&address], Kind::GroupReport, |writer| {
                                super::wire::group::write_report_nothing(writer, &name)
                            });
                    }
                }
            }
            Kind::GroupReport => {
                let (name, report) = parse_report(reader, id)?;
                let report = node_report(sender.identity.node, &report)
                    .map_err(|OutOfMemory| Counter::DroppedNoRoom)?;
                let group = find_or_new(groups, name, coordinator)?;
                let sequencer = group.sequencer(&context).ok_or(Counter::DroppedNoRoom)?;
                sequencer.take_report(view, report);
            }
            Kind::GroupFetch => {
                let fetch = parse_fetch(reader)?;
                find(groups, id)?.hand_over(&mut context, &fetch);
            }
            Kind::GroupHandover => {
                let (epoch, ordered) = parse_handover(reader)?;
                find(groups, id)?.take_handover(&mut context, epoch, &ordered);
            }
            _ => return Err(Counter::DroppedKind),
        }
        Ok(())
    }

    // ---- time ---------------------------------------------------------------------------------

    /// When [`Self::after_input`] has something to do although nothing comes in.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.is_frozen || !self.has_view() {
            let has_backlog = self.groups.iter().any(|group| group.backlog);
            return has_backlog.then_some(Instant::ZERO);
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
            return;
        };
        let mut is_over = false;
        for group in self.groups.as_mut_slice() {
            let mut context = Context {
                now,
                own: self.own,
                view,
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

fn find(groups: &mut BoundedVec<Group>, id: GroupId) -> Result<&mut Group, Counter> {
    groups
        .as_mut_slice()
        .iter_mut()
        .find(|group| group.id == id)
        .ok_or(Counter::DroppedUnexpected)
}

fn find_or_new(
    groups: &mut BoundedVec<Group>,
    name: GroupName,
    coordinator: NodeId,
) -> Result<&mut Group, Counter> {
    let id = name.id();
    if !groups.iter().any(|group| group.id == id) {
        let mut group = Group::new(name).map_err(|OutOfMemory| Counter::DroppedNoRoom)?;
        group.coordinator = Some(coordinator);
        groups.push(group).map_err(|_| Counter::DroppedNoRoom)?;
    }
    let group = find(groups, id)?;
    if group.name == name {
        Ok(group)
    } else {
        // Two names with one number.
        Err(Counter::DroppedValue)
    }
}

fn node_report(node: NodeId, report: &Report<'_>) -> Result<NodeReport, OutOfMemory> {
    let mut result = NodeReport::of(node);
    match report {
        Report::Nothing => {}
        Report::Log {
            epoch,
            accepted,
            has_candidate,
            view,
        } => {
            result.log = Some(Held {
                epoch: *epoch,
                accepted: *accepted,
                view: ViewEntry::from_body(view)?,
            });
            result.expects_candidate = *has_candidate;
        }
        Report::Candidate {
            epoch,
            has_log,
            view,
        } => {
            result.candidate = Some(Held {
                epoch: *epoch,
                accepted: 1,
                view: ViewEntry::from_body(view)?,
            });
            result.expects_log = *has_log;
        }
    }
    Ok(result)
}

/// Tells a member that it is out.
fn tell_out(endpoint: EndpointId, own: Identity, outbox: &mut Outbox) {
    if let Ok(view) = member::empty_view(own) {
        outbox.event(Event::GroupView { endpoint, view });
    }
}
