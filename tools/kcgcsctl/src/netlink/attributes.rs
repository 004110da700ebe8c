// SPDX-License-Identifier: GPL-2.0

//! Attributes: their numbers, and the encoding and decoding of their values.

use netlink_packet_core::{DefaultNla, Emitable, NlasIterator, NLA_F_NESTED};

use crate::failure::Failure;

/// `enum kcgcs_attribute`.
pub(super) mod kind {
    pub(crate) const CLUSTER: u16 = 2;
    pub(crate) const NODE_ID: u16 = 3;
    pub(crate) const ADDRESS: u16 = 4;
    pub(crate) const PEERS: u16 = 5;
    pub(crate) const INCARNATION: u16 = 6;
    pub(crate) const STATE: u16 = 7;
    pub(crate) const VIEW_NUMBER: u16 = 8;
    pub(crate) const VIEW_ISSUER: u16 = 9;
    pub(crate) const SLOT: u16 = 10;
    pub(crate) const IS_COORDINATOR: u16 = 11;
    pub(crate) const PRIMARY: u16 = 12;
    pub(crate) const SETTING: u16 = 13;
    pub(crate) const NAME: u16 = 14;
    pub(crate) const VALUE: u16 = 15;
    pub(crate) const COUNTER: u16 = 16;
    pub(crate) const GROUP: u16 = 17;
    pub(crate) const MEMBERS: u16 = 18;
    pub(crate) const LOCAL_MEMBERS: u16 = 19;
    pub(crate) const COORDINATOR: u16 = 20;
    pub(crate) const LOG_ENTRIES: u16 = 21;
    pub(crate) const SPAN_MS: u16 = 22;
    pub(crate) const PINNED_BY: u16 = 23;
    pub(crate) const RECEIVED_DELAYS: u16 = 24;
    pub(crate) const SENT_DELAYS: u16 = 25;
    pub(crate) const DETECTOR: u16 = 26;
}

/// The longest value. The length of an attribute has 16 bits and counts a header of four bytes.
const VALUE_BYTES_MAX: usize = u16::MAX as usize - 4;

/// An attribute with a number of 16 bits.
pub(super) fn u16_attribute(kind: u16, value: u16) -> DefaultNla {
    DefaultNla::new(kind, value.to_ne_bytes().to_vec())
}

/// An attribute with a number of 32 bits.
pub(super) fn u32_attribute(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_ne_bytes().to_vec())
}

/// An attribute with a text, ended by a zero byte as the kernel expects.
///
/// # Errors
///
/// The text is too long or contains a zero byte.
pub(super) fn text_attribute(kind: u16, text: &str) -> Result<DefaultNla, Failure> {
    if text.contains('\0') || text.len() >= VALUE_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "a text of {} bytes cannot be sent to the kernel: it must have less than {VALUE_BYTES_MAX} bytes and \
             no zero byte",
            text.len()
        )));
    }
    let mut value = text.as_bytes().to_vec();
    value.push(0);
    Ok(DefaultNla::new(kind, value))
}

/// A nested attribute with a name and a value.
///
/// # Errors
///
/// The name is too long or contains a zero byte.
pub(super) fn pair_attribute(kind: u16, name: &str, value: u64) -> Result<DefaultNla, Failure> {
    let fields = [
        text_attribute(kind::NAME, name)?,
        DefaultNla::new(kind::VALUE, value.to_ne_bytes().to_vec()),
    ];
    Ok(DefaultNla::new(kind | NLA_F_NESTED, bytes_of(&fields)))
}

/// The attributes as bytes, each with its header and padding.
pub(super) fn bytes_of(attributes: &[DefaultNla]) -> Vec<u8> {
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    bytes
}

/// The attributes of one answer. The numbers and texts below are `None` if the answer lacks the attribute.
pub(super) struct Attributes<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Attributes<'a> {
    /// Split `bytes` into attributes.
    ///
    /// # Errors
    ///
    /// The bytes are not a sequence of whole attributes.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Failure> {
        let mut fields = Vec::new();
        let mut rest = bytes;
        for attribute in NlasIterator::new(bytes) {
            let attribute = attribute.map_err(|error| Failure::BadAnswer(error.to_string()))?;
            let length = usize::from(attribute.length());
            // The iterator has checked that `length` is within the rest.
            let value = rest.get(4..length).unwrap_or_default();
            fields.push((attribute.kind(), value));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(Self(fields))
    }

    fn find(&self, kind: u16) -> Option<&'a [u8]> {
        let found = self.0.iter().find(|field| field.0 == kind);
        found.map(|field| field.1)
    }

    fn number<const SIZE: usize>(&self, kind: u16) -> Result<Option<[u8; SIZE]>, Failure> {
        let Some(value) = self.find(kind) else {
            return Ok(None);
        };
        let wrong = |_| {
            Failure::BadAnswer(format!(
                "attribute {kind} has {} bytes instead of {SIZE}",
                value.len()
            ))
        };
        value.try_into().map(Some).map_err(wrong)
    }

    /// A flag, which has eight bits.
    pub(super) fn flag(&self, kind: u16) -> Result<Option<bool>, Failure> {
        Ok(self.u8(kind)?.map(|value| value != 0))
    }

    /// A number of 8 bits.
    pub(super) fn u8(&self, kind: u16) -> Result<Option<u8>, Failure> {
        Ok(self.number(kind)?.map(u8::from_ne_bytes))
    }

    /// A number of 16 bits.
    pub(super) fn u16(&self, kind: u16) -> Result<Option<u16>, Failure> {
        Ok(self.number(kind)?.map(u16::from_ne_bytes))
    }

    /// A number of 32 bits.
    pub(super) fn u32(&self, kind: u16) -> Result<Option<u32>, Failure> {
        Ok(self.number(kind)?.map(u32::from_ne_bytes))
    }

    /// A number of 64 bits.
    pub(super) fn u64(&self, kind: u16) -> Result<Option<u64>, Failure> {
        Ok(self.number(kind)?.map(u64::from_ne_bytes))
    }

    /// A list of numbers of 32 bits.
    pub(super) fn numbers(&self, kind: u16) -> Result<Option<Vec<u32>>, Failure> {
        let Some(value) = self.find(kind) else {
            return Ok(None);
        };
        let numbers = value.chunks(4).map(|bytes| {
            let number = bytes.try_into().map(u32::from_ne_bytes);
            number.map_err(|_| {
                Failure::BadAnswer(format!(
                    "attribute {kind} has {} bytes, which is no multiple of 4",
                    value.len()
                ))
            })
        });
        numbers.collect::<Result<_, _>>().map(Some)
    }

    /// A text. Bytes that are not UTF-8 are replaced, because names may have any bytes.
    pub(super) fn text(&self, kind: u16) -> Option<String> {
        self.find(kind).map(text_of)
    }

    /// All nested attributes of a name and a value, in order.
    pub(super) fn pairs(&self, kind: u16) -> Result<Vec<(String, u64)>, Failure> {
        let nests = self.0.iter().filter(|field| field.0 == kind);
        nests
            .map(|(_, bytes)| {
                let nest = Attributes::parse(bytes)?;
                let name = needed(nest.text(kind::NAME), "name")?;
                Ok((name, needed(nest.u64(kind::VALUE)?, "value")?))
            })
            .collect()
    }
}

/// The text of a value, without the zero byte that ends it.
pub(super) fn text_of(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0);
    let text = value.get(..end.unwrap_or(value.len())).unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// The value of an attribute that the answer must have.
///
/// # Errors
///
/// The answer lacks it; the text says `what` is missing.
pub(super) fn needed<T>(value: Option<T>, what: &str) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::BadAnswer(format!("it lacks the {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_with_a_zero_byte_and_are_padded() {
        let bytes = bytes_of(&[text_attribute(kind::CLUSTER, "demo").unwrap()]);
        let mut wanted = Vec::new();
        wanted.extend(9u16.to_ne_bytes());
        wanted.extend(kind::CLUSTER.to_ne_bytes());
        wanted.extend(b"demo\0\0\0\0");
        assert_eq!(bytes, wanted);
    }

    #[test]
    fn pairs_are_nested_and_read_back() {
        let bytes = bytes_of(&[
            pair_attribute(kind::SETTING, "rings", 3).unwrap(),
            u16_attribute(kind::NODE_ID, 7),
            pair_attribute(kind::SETTING, "coordinators", u64::MAX).unwrap(),
        ]);
        let flags = u16::from_ne_bytes([bytes[2], bytes[3]]);
        assert_eq!(flags, kind::SETTING | NLA_F_NESTED);
        let attributes = Attributes::parse(&bytes).unwrap();
        let wanted = [
            ("rings".to_owned(), 3),
            ("coordinators".to_owned(), u64::MAX),
        ];
        assert_eq!(attributes.pairs(kind::SETTING).unwrap(), wanted);
        assert_eq!(attributes.u16(kind::NODE_ID).unwrap(), Some(7));
        assert_eq!(attributes.u64(kind::INCARNATION).unwrap(), None);
    }

    #[test]
    fn a_number_of_another_size_is_refused() {
        let bytes = bytes_of(&[u16_attribute(kind::INCARNATION, 7)]);
        let attributes = Attributes::parse(&bytes).unwrap();
        assert!(attributes.u64(kind::INCARNATION).is_err());
    }

    #[test]
    fn cut_attributes_are_refused() {
        let bytes = bytes_of(&[text_attribute(kind::CLUSTER, "a long name").unwrap()]);
        for length in 1..bytes.len() - 1 {
            assert!(Attributes::parse(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn texts_that_would_be_cut_are_refused() {
        assert!(text_attribute(kind::PEERS, "a\0b").is_err());
        assert!(text_attribute(kind::PEERS, &"x".repeat(70_000)).is_err());
    }
}
