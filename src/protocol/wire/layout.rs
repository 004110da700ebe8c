// SPDX-License-Identifier: GPL-2.0

//! The layout of a message as a table, from which its reader and its writer are made.

/// Implements `Decode` and `Encode` for a type from the list of what stands in a datagram.
///
/// ```text
/// layout!(struct Ballot { round, coordinator });
/// ```
///
/// The fields stand in the datagram in this order, each as its type has it. The compiler refuses a list that lacks a field.
///
/// ```text
/// layout!(enum JoinAnswer {
///     0 => Forming { last_view, primary },
///     2 => Refused(reason),
///     7 => Busy,
/// });
/// ```
///
/// The number of the variant stands first, in one byte, then its values. Any other number is `Counter::DroppedValue`.
macro_rules! layout {
    (struct $name:ident { $($field:tt),+ $(,)? }) => {
        #[doc = concat!("In this order:" $(, " `", stringify!($field), "`")+, ".")]
        impl $crate::protocol::wire::Decode<'_> for $name {
            fn decode(
                reader: &mut $crate::protocol::wire::Reader<'_>,
            ) -> Result<Self, $crate::protocol::errors::Counter> {
                Ok(Self { $($field: reader.read()?),+ })
            }
        }

        #[doc = concat!("In this order:" $(, " `", stringify!($field), "`")+, ".")]
        impl $crate::protocol::wire::Encode for $name {
            fn encode(&self, writer: &mut $crate::protocol::wire::Writer<'_>) -> Option<()> {
                $(writer.write(&self.$field)?;)+
                Some(())
            }
        }
    };
    (enum $name:ident {
        $($number:literal => $variant:ident $(($($value:ident),+))? $({ $($field:ident),+ })?,)+
    }) => {
        $(#[doc = concat!(
            "* ", $number, ": `", stringify!($variant), "`"
            $($(, " `", stringify!($value), "`")+)? $($(, " `", stringify!($field), "`")+)?
        )])+
        impl $crate::protocol::wire::Decode<'_> for $name {
            fn decode(
                reader: &mut $crate::protocol::wire::Reader<'_>,
            ) -> Result<Self, $crate::protocol::errors::Counter> {
                match reader.u8()? {
                    $($number => {
                        $($(let $value = reader.read()?;)+)?
                        $($(let $field = reader.read()?;)+)?
                        Ok(Self::$variant $(($($value),+))? $({ $($field),+ })?)
                    })+
                    _ => Err($crate::protocol::errors::Counter::DroppedValue),
                }
            }
        }

        impl $crate::protocol::wire::Encode for $name {
            fn encode(&self, writer: &mut $crate::protocol::wire::Writer<'_>) -> Option<()> {
                match self {
                    $(Self::$variant $(($($value),+))? $({ $($field),+ })? => {
                        writer.u8($number)?;
                        $($(writer.write($value)?;)+)?
                        $($(writer.write($field)?;)+)?
                    })+
                }
                Some(())
            }
        }
    };
}

pub(super) use layout;
