// SPDX-License-Identifier: GPL-2.0

//! Reading values from the front of a body and writing them one behind the other.
//!
//! A type that stands in datagrams implements [`Decode`] and [`Encode`]; for a type whose fields stand there one after the
//! other, `layout!` writes both. Numbers are big-endian.

use core::marker::PhantomData;

use crate::protocol::errors::Counter;

/// A value that can be read from a datagram.
pub trait Decode<'a>: Sized {
    /// Read the value from the front of what is left.
    ///
    /// # Errors
    ///
    /// The counter under which the datagram is dropped: [`Counter::DroppedShort`] if the bytes end too early,
    /// [`Counter::DroppedValue`] or [`Counter::DroppedCount`] for a value that is not allowed.
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Counter>;

    /// Read the value from a body that holds nothing else.
    ///
    /// # Errors
    ///
    /// As [`Self::decode`], and [`Counter::DroppedLength`] if bytes are left.
    fn parse(body: &'a [u8]) -> Result<Self, Counter> {
        let mut reader = Reader::new(body);
        let value = reader.read()?;
        reader.end()?;
        Ok(value)
    }
}

/// A value that can be written to a datagram.
pub trait Encode {
    /// Write the value behind what was written. `None` if there is no room.
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()>;
}

/// Reads values from the front of some bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Start at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Read the next value.
    ///
    /// # Errors
    ///
    /// See [`Decode::decode`].
    pub fn read<T: Decode<'a>>(&mut self) -> Result<T, Counter> {
        T::decode(self)
    }

    /// Read the next `N` bytes, or nothing and [`Counter::DroppedShort`] if there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Counter> {
        let (front, rest) = self.0.split_first_chunk().ok_or(Counter::DroppedShort)?;
        self.0 = rest;
        Ok(*front)
    }

    /// Read the next `length` bytes, or nothing and [`Counter::DroppedShort`] if there are fewer.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Counter> {
        let (front, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Counter::DroppedShort)?;
        self.0 = rest;
        Ok(front)
    }

    /// Read all bytes that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Demand the end of the body: [`Counter::DroppedLength`] if something is left.
    pub fn end(&self) -> Result<(), Counter> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Counter::DroppedLength)
        }
    }
}

/// Writes values one behind the other into a buffer. All functions return `None` if there is no room, and then write
/// nothing: the datagram is given up.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Writer<'a> {
    /// Start at the buffer's first byte.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// How many bytes were written.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// How many bytes still fit.
    pub fn room(&self) -> usize {
        self.buffer.len().saturating_sub(self.length)
    }

    /// Write a value.
    pub fn write<T: Encode>(&mut self, value: &T) -> Option<()> {
        value.encode(self)
    }

    /// Write some bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.length.checked_add(bytes.len())?;
        self.buffer
            .get_mut(self.length..end)?
            .copy_from_slice(bytes);
        self.length = end;
        Some(())
    }
}

/// The reader, the writer and the two traits of an unsigned number.
macro_rules! numbers {
    ($($number:ident: $text:literal,)+) => {
        impl Reader<'_> {
            $(
                #[doc = concat!("Read ", $text, ".")]
                pub fn $number(&mut self) -> Result<$number, Counter> {
                    self.array().map($number::from_be_bytes)
                }
            )+
        }

        impl Writer<'_> {
            $(
                #[doc = concat!("Write ", $text, ".")]
                pub fn $number(&mut self, value: $number) -> Option<()> {
                    self.bytes(&value.to_be_bytes())
                }
            )+
        }

        $(
            impl Decode<'_> for $number {
                fn decode(reader: &mut Reader<'_>) -> Result<Self, Counter> {
                    reader.$number()
                }
            }

            impl Encode for $number {
                fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
                    writer.$number(*self)
                }
            }
        )+
    };
}

numbers! {
    u8: "one byte",
    u16: "two bytes",
    u32: "four bytes",
    u64: "eight bytes",
}

/// One byte, 0 or 1.
impl Decode<'_> for bool {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Counter> {
        match reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Counter::DroppedValue),
        }
    }
}

impl Encode for bool {
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.u8(u8::from(*self))
    }
}

/// Whether there is a value, as a `bool`, then the value.
impl<'a, T: Decode<'a>> Decode<'a> for Option<T> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Counter> {
        Ok(match reader.read()? {
            true => Some(reader.read()?),
            false => None,
        })
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.write(&self.is_some())?;
        self.as_ref().map_or(Some(()), |value| writer.write(value))
    }
}

/// One behind the other.
impl<'a, A: Decode<'a>, B: Decode<'a>> Decode<'a> for (A, B) {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Counter> {
        Ok((reader.read()?, reader.read()?))
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.write(&self.0)?;
        writer.write(&self.1)
    }
}

/// The entries of a list in a datagram. All of them are checked when the list is made, so that reading them gives each.
#[derive(Clone, Copy, Debug)]
pub struct List<'a, T> {
    rest: Reader<'a>,
    entry: PhantomData<T>,
}

impl<'a, T: Decode<'a>> List<'a, T> {
    /// Take `bytes` as entries, one behind the other.
    ///
    /// # Errors
    ///
    /// That of the first entry which cannot be read.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Counter> {
        Self::parse_checked(bytes, |_| Ok(()))
    }

    /// Take `bytes` as entries that also pass `check`.
    ///
    /// # Errors
    ///
    /// That of the first entry which cannot be read or does not pass.
    pub(super) fn parse_checked(
        bytes: &'a [u8],
        mut check: impl FnMut(&T) -> Result<(), Counter>,
    ) -> Result<Self, Counter> {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            check(&reader.read()?)?;
        }
        Ok(Self {
            rest: Reader::new(bytes),
            entry: PhantomData,
        })
    }
}

impl<'a, T: Decode<'a>> Iterator for List<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.rest.is_empty() {
            return None;
        }
        self.rest.read().ok()
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_wire_bytes))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{written, wrong_length_taken, TestResult, Unexpected};
    use crate::protocol::wire::layout::layout;

    #[test]
    fn values_are_read_as_they_were_written() -> TestResult {
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        let write = |writer: &mut Writer<'_>| {
            writer.u8(0xfe)?;
            writer.u16(0xfedc)?;
            writer.u32(0xfedc_ba98)?;
            writer.u64(u64::MAX - 1)?;
            writer.write(&true)?;
            writer.write(&Some(3_u16))?;
            writer.write(&None::<u16>)?;
            writer.write(&(4_u8, false))
        };
        assert!(write(&mut writer).is_some());
        assert_eq!(writer.length(), 1 + 2 + 4 + 8 + 1 + 3 + 1 + 2);
        assert_eq!(writer.room(), 64 - 22);
        let mut reader = Reader::new(buffer.get(..22).ok_or(Unexpected)?);
        assert_eq!(reader.u8()?, 0xfe);
        assert_eq!(reader.u16()?, 0xfedc);
        assert_eq!(reader.u32()?, 0xfedc_ba98);
        assert_eq!(reader.u64()?, u64::MAX - 1);
        assert!(reader.read::<bool>()?);
        assert_eq!(reader.read::<Option<u16>>()?, Some(3));
        assert_eq!(reader.read::<Option<u16>>()?, None);
        assert_eq!(reader.read::<(u8, bool)>()?, (4, false));
        assert!(reader.is_empty() && reader.end().is_ok());
        Ok(())
    }

    #[test]
    fn reading_past_the_end_takes_nothing() -> TestResult {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32(), Err(Counter::DroppedShort));
        assert_eq!(reader.u64(), Err(Counter::DroppedShort));
        assert_eq!(reader.bytes(4), Err(Counter::DroppedShort));
        assert_eq!(reader.bytes(usize::MAX), Err(Counter::DroppedShort));
        assert_eq!(reader.end(), Err(Counter::DroppedLength));
        assert_eq!(reader.u16()?, 0x0102);
        assert!(reader.rest() == [3]);
        assert_eq!(reader.u8(), Err(Counter::DroppedShort));
        assert!(reader.bytes(0).is_ok() && reader.rest().is_empty());
        Ok(())
    }

    #[test]
    fn a_whole_body_has_no_byte_too_few_or_too_many() {
        assert_eq!(u16::parse(&[1, 2]), Ok(0x0102));
        assert_eq!(u16::parse(&[1]), Err(Counter::DroppedShort));
        assert_eq!(u16::parse(&[1, 2, 3]), Err(Counter::DroppedLength));
    }

    #[test]
    fn a_truth_value_is_zero_or_one() {
        for value in 2..=u8::MAX {
            assert_eq!(bool::parse(&[value]), Err(Counter::DroppedValue));
            let option = Option::<u8>::parse(&[value]);
            assert_eq!(option, Err(Counter::DroppedValue));
        }
        assert_eq!(Option::<u8>::parse(&[1]), Err(Counter::DroppedShort));
        assert_eq!(Option::<u8>::parse(&[0, 1]), Err(Counter::DroppedLength));
    }

    #[test]
    fn a_list_is_checked_whole_before_it_is_read() -> TestResult {
        let list = List::<u16>::parse(&[0, 1, 0, 2])?;
        assert!(list.eq([1, 2]) && list.count() == 2);
        assert_eq!(List::<u16>::parse(&[])?.count(), 0);
        let cut = List::<u16>::parse(&[0, 1, 0]).err();
        assert_eq!(cut, Some(Counter::DroppedShort));
        let refused = List::<u8>::parse_checked(&[1, 2, 3], |entry| match entry {
            2 => Err(Counter::DroppedValue),
            _ => Ok(()),
        });
        assert_eq!(refused.err(), Some(Counter::DroppedValue));
        Ok(())
    }

    #[test]
    fn a_writer_without_room_stays_where_it_is() {
        let mut buffer = [0; 3];
        let mut writer = Writer::new(&mut buffer);
        assert_eq!(writer.u32(1), None);
        assert_eq!(writer.length(), 0);
        assert_eq!(writer.u16(0x0102), Some(()));
        assert_eq!(writer.u16(3), None);
        assert_eq!((writer.length(), writer.room()), (2, 1));
        assert_eq!(writer.u8(3), Some(()));
        assert_eq!(writer.u8(4), None);
        assert_eq!(buffer, [1, 2, 3]);
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Record {
        late: u8,
        early: u16,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Choice {
        Nothing,
        Two(u8, u16),
        Named { record: Record },
    }

    layout!(struct Record { early, late });

    layout!(enum Choice {
        0 => Nothing,
        3 => Two(first, second),
        4 => Named { record },
    });

    #[test]
    fn a_layout_gives_the_order_of_the_bytes() -> TestResult {
        let record = Record { late: 3, early: 1 };
        let table: [(Choice, &[u8]); 3] = [
            (Choice::Nothing, &[0]),
            (Choice::Two(5, 6), &[3, 5, 0, 6]),
            (Choice::Named { record }, &[4, 0, 1, 3]),
        ];
        for (choice, expected) in table {
            let mut buffer = [0; 8];
            let body = written(&mut buffer, |writer| writer.write(&choice))?;
            assert!(body == expected);
            assert_eq!(Choice::parse(body), Ok(choice));
            let taken = wrong_length_taken(body, |body| Choice::parse(body).is_ok());
            assert_eq!(taken, None);
        }
        for number in [1, 2, 5, 255] {
            assert_eq!(Choice::parse(&[number]), Err(Counter::DroppedValue));
        }
        Ok(())
    }
}
