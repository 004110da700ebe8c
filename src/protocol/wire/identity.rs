// SPDX-License-Identifier: GPL-2.0

//! How the names of nodes, views and groups, and what else is not a message, stand in datagrams.

use super::bytes::{Decode, Encode, Reader, Writer};
use super::layout::layout;
use crate::protocol::errors::Counter;
use crate::protocol::identity::{
    EndpointId, GroupId, Identity, Incarnation, MemberId, NodeId, PeerAddress, ViewKey, ViewName,
    ViewNumber,
};
use crate::protocol::view::ChangeReason;

layout!(struct Incarnation { 0 });
layout!(struct ViewNumber { 0 });
layout!(struct ViewKey { 0 });
layout!(struct EndpointId { 0 });
layout!(struct GroupId { 0 });
layout!(struct Identity { node, incarnation });
layout!(struct ViewName { number, issuer });
layout!(struct MemberId { node, endpoint, incarnation });

/// A number other than zero.
impl Decode<'_> for NodeId {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Counter> {
        NodeId::new(reader.u16()?).ok_or(Counter::DroppedValue)
    }
}

impl Encode for NodeId {
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.u16(self.number())
    }
}

/// The octets, then a port other than zero.
impl Decode<'_> for PeerAddress {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Counter> {
        let octets = reader.array()?;
        let port = reader.u16()?;
        if port == 0 {
            return Err(Counter::DroppedValue);
        }
        Ok(PeerAddress { octets, port })
    }
}

impl Encode for PeerAddress {
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.bytes(&self.octets)?;
        writer.u16(self.port)
    }
}

/// Why a node left. [`ChangeReason::Join`] has a number too, but is no reason to leave and refused.
impl Decode<'_> for ChangeReason {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Counter> {
        match reader.u8()? {
            2 => Ok(Self::Leave),
            3 => Ok(Self::Failed),
            4 => Ok(Self::Evicted),
            _ => Err(Counter::DroppedValue),
        }
    }
}

impl Encode for ChangeReason {
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.u8(match self {
            Self::Join => 1,
            Self::Leave => 2,
            Self::Failed => 3,
            Self::Evicted => 4,
        })
    }
}

impl Writer<'_> {
    /// Write an identity.
    pub fn identity(&mut self, identity: Identity) -> Option<()> {
        self.write(&identity)
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_wire_identity))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{
        address, identity, identity_in, node, written, wrong_length_taken, TestResult,
    };

    #[test]
    fn names_are_read_as_they_were_written() -> TestResult {
        let names = (identity_in(u16::MAX, u64::MAX), address(9));
        let mut buffer = [0; 64];
        let body = written(&mut buffer, |writer| writer.write(&names))?;
        assert_eq!(body.len(), 10 + 18);
        assert_eq!(Decode::parse(body), Ok(names));
        let taken = wrong_length_taken(body, |body| <(Identity, PeerAddress)>::parse(body).is_ok());
        assert_eq!(taken, None);
        Ok(())
    }

    #[test]
    fn there_is_no_node_zero_and_no_port_zero() {
        assert_eq!(NodeId::parse(&[0, 0]), Err(Counter::DroppedValue));
        assert_eq!(NodeId::parse(&[0, 1]), Ok(node(1)));
        let mut bytes = [0; 18];
        bytes.iter_mut().take(16).for_each(|byte| *byte = 0xaa);
        assert_eq!(PeerAddress::parse(&bytes), Err(Counter::DroppedValue));
        assert_eq!(Identity::parse(&[0; 10]), Err(Counter::DroppedValue));
        let first = [0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(Identity::parse(&first), Ok(identity(1)));
    }

    #[test]
    fn joining_is_no_reason_to_leave() -> TestResult {
        for reason in [
            ChangeReason::Leave,
            ChangeReason::Failed,
            ChangeReason::Evicted,
        ] {
            let mut buffer = [0; 1];
            let body = written(&mut buffer, |writer| writer.write(&reason))?;
            assert_eq!(ChangeReason::parse(body), Ok(reason));
        }
        for number in [0, 1, 5, 255] {
            assert_eq!(ChangeReason::parse(&[number]), Err(Counter::DroppedValue));
        }
        Ok(())
    }
}
