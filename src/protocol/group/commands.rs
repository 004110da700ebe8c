// SPDX-License-Identifier: GPL-2.0

//! What consumers ask of their groups: join, leave, send.

use super::context::coordinator_of;
use super::local::{LeaveMode, Local, Standing};
use super::log::Log;
use super::{Group, Groups};
use crate::platform::BoundedVec;
use crate::protocol::errors::CommandError;
use crate::protocol::group_properties::{GroupProperties, QuorumMode};
use crate::protocol::identity::{EndpointId, GroupName, ViewName};
use crate::protocol::limits::{ENDPOINTS_MAX, MESSAGE_BYTES_MAX};
use crate::protocol::outputs::Order;
use crate::protocol::time::Instant;
use crate::protocol::view::ClusterView;

impl Groups {
    /// Make a member of a group. This is legal before any view.
    ///
    /// # Errors
    ///
    /// Nothing has changed. `Stopped`: the node stops. `NotSupported`: this version cannot keep one of the properties.
    /// `LimitReached`: too many members or groups on this node, or
    /// the name has the hash of another group's. `OutOfMemory`.
    pub fn join(
        &mut self,
        now: Instant,
        name: GroupName,
        properties: GroupProperties,
        view: Option<&ClusterView>,
    ) -> Result<EndpointId, CommandError> {
        if self.is_stopped {
            return Err(CommandError::Stopped);
        }
        if properties.unsupported().is_some() {
            return Err(CommandError::NotSupported);
        }
        let members = self.groups.iter().fold(0, |count: usize, group| {
            count.saturating_add(group.locals.len())
        });
        if members >= ENDPOINTS_MAX {
            return Err(CommandError::LimitReached);
        }
        let endpoint = EndpointId(self.next_endpoint);
        // Endpoint numbers are never reused.
        let following = self.next_endpoint.checked_add(1);
        let following = following.ok_or(CommandError::LimitReached)?;
        let local = Local::new(endpoint, properties, now)?;
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
            .find_map(|group| group.local(endpoint))
    }

    /// Let a member leave its group. `Event::GroupLeft` follows. A member that sends its messages first may be told
    /// later to discard them.
    ///
    /// # Errors
    ///
    /// `NoSuchEndpoint`: there is no such member, or it is leaving already.
    pub fn leave(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        mode: LeaveMode,
    ) -> Result<(), CommandError> {
        let local = self.local(endpoint).ok_or(CommandError::NoSuchEndpoint)?;
        local.standing = match (mode, local.standing) {
            (LeaveMode::SendFirst, Standing::Member) => Standing::Draining,
            (LeaveMode::SendFirst, Standing::Draining) => {
                return Err(CommandError::NoSuchEndpoint);
            }
            // Only a member of a view has something to send.
            _ => Standing::Leaving,
        };
        local.request_at = now;
        Ok(())
    }

    /// How many messages of a member are accepted and not ordered yet.
    pub fn pending_messages(&self, endpoint: EndpointId) -> usize {
        self.groups
            .iter()
            .flat_map(|group| group.locals.iter())
            .find(|local| local.endpoint == endpoint)
            .map_or(0, Local::pending)
    }

    /// Queue a message of a member, which had been shown `call_view` last when it submitted it.
    ///
    /// # Errors
    ///
    /// Nothing has changed, and the payload is returned. `Stopped`: the node stops. `MessageTooLong`. `NoSuchEndpoint`:
    /// there is no such member, or it is leaving. `NoQuorum`: the cluster has no quorum, the member has no view, or the
    /// view is not primary and the group wants one that is.
    /// `WindowFull`: too much waits already; `Event::Writable` follows.
    pub fn multicast(
        &mut self,
        endpoint: EndpointId,
        order: Order,
        call_view: ViewName,
        payload: BoundedVec<u8>,
    ) -> Result<(), (CommandError, BoundedVec<u8>)> {
        if self.is_stopped {
            return Err((CommandError::Stopped, payload));
        }
        if payload.len() > MESSAGE_BYTES_MAX {
            return Err((CommandError::MessageTooLong, payload));
        }
        let (has_quorum, is_primary) = (self.has_quorum, self.shown.is_primary);
        for group in self.groups.as_mut_slice() {
            // What is sent while another log begins depends on nothing in that.
            let is_over = self.is_frozen || group.pending_start.is_some();
            let log = group.log.as_ref().filter(|_| !is_over);
            let after = log.map_or(0, Log::causal_past);
            let local = group.local(endpoint);
            let Some(local) = local.filter(|local| local.standing != Standing::Draining) else {
                continue;
            };
            let may_send = match local.properties.quorum_mode {
                QuorumMode::AnyView => has_quorum,
                QuorumMode::PrimaryView => has_quorum && is_primary,
            };
            if !may_send || local.standing != Standing::Member {
                return Err((CommandError::NoQuorum, payload));
            }
            return local.submit(order, after, call_view, payload);
        }
        Err((CommandError::NoSuchEndpoint, payload))
    }
}

impl Group {
    /// A member of this node that is not leaving.
    fn local(&mut self, endpoint: EndpointId) -> Option<&mut Local> {
        self.locals
            .as_mut_slice()
            .iter_mut()
            .find(|local| local.endpoint == endpoint && local.standing != Standing::Leaving)
    }
}
