// SPDX-License-Identifier: GPL-2.0

//! The properties of a group, which its first member chooses and which are the same at all members.
//!
//! A member that asks for other properties than the group has is refused, and the refusal names the property. Two
//! lists of properties are equal exactly when their packed forms ([`GroupProperties::pack`]) are.

use super::order::Order;
pub use super::outputs::{GroupProperty, GroupRefusal};

/// Milliseconds for which a slow member may hold up its group, at most: ten minutes.
pub const SLOW_BOUND_MS_MAX: u32 = 10 * 60 * 1000;

/// What happens to a member whose consumer does not take its messages as fast as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlowPolicy {
    /// It is removed from the group when its queue is full.
    Evict,
    /// The senders wait for it, for so many milliseconds at most. Then it is removed. The bound is from 1 to
    /// [`SLOW_BOUND_MS_MAX`].
    Wait {
        /// The bound.
        bound_ms: u32,
    },
    /// It stays in the group, misses messages, and is told how many.
    Notify,
}

/// In which cluster views the members of a group may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuorumMode {
    /// In each one, also in that of a component that goes on without a majority.
    AnyView,
    /// In primary ones only.
    PrimaryView,
}

/// The properties of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupProperties {
    /// The order of a message whose sender names none.
    pub default_order: Order,
    /// Whether a message is delivered in the view that its sender had been shown when it sent it.
    pub is_sending_view: bool,
    /// What happens to a member that is slow.
    pub slow_policy: SlowPolicy,
    /// In which cluster views the members may send.
    pub quorum_mode: QuorumMode,
}

/// The place of each property in the packed form. All other bits are zero.
const ORDER_BITS: u64 = 0xf;
const SENDING_VIEW_BIT: u64 = 1 << 4;
const PRIMARY_VIEW_BIT: u64 = 1 << 5;
const SLOW_SHIFT: u32 = 6;
const SLOW_BITS: u64 = 3 << SLOW_SHIFT;
const BOUND_SHIFT: u32 = 32;

const SLOW_EVICT: u64 = 1;
const SLOW_WAIT: u64 = 2;
const SLOW_NOTIFY: u64 = 3;

impl GroupProperties {
    /// The properties of a group whose members ask for none.
    pub const DEFAULT: Self = Self {
        default_order: Order::Agreed,
        is_sending_view: false,
        slow_policy: SlowPolicy::Evict,
        quorum_mode: QuorumMode::AnyView,
    };

    /// Whether each value is in its range.
    pub const fn is_valid(&self) -> bool {
        match self.slow_policy {
            SlowPolicy::Wait { bound_ms } => bound_ms >= 1 && bound_ms <= SLOW_BOUND_MS_MAX,
            SlowPolicy::Evict | SlowPolicy::Notify => true,
        }
    }

    /// All properties in one number, never zero.
    pub const fn pack(&self) -> u64 {
        let order = match self.default_order {
            Order::Fifo => 1,
            Order::Causal => 2,
            Order::Agreed => 3,
            Order::Safe => 4,
        };
        let (slow, bound_ms) = match self.slow_policy {
            SlowPolicy::Evict => (SLOW_EVICT, 0),
            SlowPolicy::Wait { bound_ms } => (SLOW_WAIT, bound_ms),
            SlowPolicy::Notify => (SLOW_NOTIFY, 0),
        };
        let sending_view = match self.is_sending_view {
            true => SENDING_VIEW_BIT,
            false => 0,
        };
        let primary_view = match self.quorum_mode {
            QuorumMode::AnyView => 0,
            QuorumMode::PrimaryView => PRIMARY_VIEW_BIT,
        };
        order
            | sending_view
            | primary_view
            | (slow << SLOW_SHIFT)
            | ((bound_ms as u64) << BOUND_SHIFT)
    }

    /// The properties that [`Self::pack`] has packed. `None`: the number does not come from there.
    pub fn unpack(packed: u64) -> Option<Self> {
        let default_order = match packed & ORDER_BITS {
            1 => Order::Fifo,
            2 => Order::Causal,
            3 => Order::Agreed,
            4 => Order::Safe,
            _ => return None,
        };
        let bound_ms = u32::try_from(packed >> BOUND_SHIFT).ok()?;
        let slow_policy = match (packed & SLOW_BITS) >> SLOW_SHIFT {
            SLOW_EVICT => SlowPolicy::Evict,
            SLOW_WAIT => SlowPolicy::Wait { bound_ms },
            SLOW_NOTIFY => SlowPolicy::Notify,
            _ => return None,
        };
        let properties = Self {
            default_order,
            is_sending_view: packed & SENDING_VIEW_BIT != 0,
            slow_policy,
            quorum_mode: match packed & PRIMARY_VIEW_BIT {
                0 => QuorumMode::AnyView,
                _ => QuorumMode::PrimaryView,
            },
        };
        // No other bit is set, and no bound stands where none belongs.
        (properties.pack() == packed && properties.is_valid()).then_some(properties)
    }

    /// The first property in which `other` differs.
    pub fn difference(&self, other: &Self) -> Option<GroupProperty> {
        if self.default_order != other.default_order {
            Some(GroupProperty::DefaultOrder)
        } else if self.is_sending_view != other.is_sending_view {
            Some(GroupProperty::SendingView)
        } else if self.slow_policy != other.slow_policy {
            Some(GroupProperty::SlowPolicy)
        } else if self.quorum_mode != other.quorum_mode {
            Some(GroupProperty::QuorumMode)
        } else {
            None
        }
    }

    /// The first property whose value this version cannot keep. A member that asks for it is refused when it joins.
    pub fn unsupported(&self) -> Option<GroupProperty> {
        if self.is_sending_view {
            Some(GroupProperty::SendingView)
        } else if self.slow_policy != SlowPolicy::Evict {
            Some(GroupProperty::SlowPolicy)
        } else {
            None
        }
    }
}

impl Default for GroupProperties {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(
    CONFIG_KUNIT = "y",
    kernel::macros::kunit_tests(kcgcs_group_properties)
)]
mod tests {
    use super::*;

    const ORDERS: [Order; 4] = [Order::Fifo, Order::Causal, Order::Agreed, Order::Safe];
    const POLICIES: [SlowPolicy; 4] = [
        SlowPolicy::Evict,
        SlowPolicy::Wait { bound_ms: 1 },
        SlowPolicy::Wait {
            bound_ms: SLOW_BOUND_MS_MAX,
        },
        SlowPolicy::Notify,
    ];
    const MODES: [QuorumMode; 2] = [QuorumMode::AnyView, QuorumMode::PrimaryView];

    fn for_each(mut each: impl FnMut(GroupProperties)) {
        for default_order in ORDERS {
            for is_sending_view in [false, true] {
                for slow_policy in POLICIES {
                    for quorum_mode in MODES {
                        each(GroupProperties {
                            default_order,
                            is_sending_view,
                            slow_policy,
                            quorum_mode,
                        });
                    }
                }
            }
        }
    }

    #[test]
    fn all_properties_come_back_from_their_packed_form() {
        for_each(|properties| {
            assert!(properties.is_valid());
            assert_eq!(GroupProperties::unpack(properties.pack()), Some(properties));
        });
    }

    #[test]
    fn properties_differ_exactly_when_their_packed_forms_do() {
        for_each(|one| {
            for_each(|other| {
                let is_same = one.pack() == other.pack();
                assert_eq!(is_same, one.difference(&other).is_none());
            });
        });
    }

    #[test]
    fn numbers_that_pack_never_makes_are_refused() {
        let good = GroupProperties::DEFAULT.pack();
        // No order, an unknown order, no policy, a bit without meaning, a bound without a policy that has one.
        for packed in [
            0,
            good & !ORDER_BITS,
            good | ORDER_BITS,
            good & !SLOW_BITS,
            good | 1 << 8,
            good | 1 << 31,
            good | 1 << BOUND_SHIFT,
        ] {
            assert_eq!(GroupProperties::unpack(packed), None);
        }
        let wait = |bound_ms| {
            let slow_policy = SlowPolicy::Wait { bound_ms };
            let properties = GroupProperties {
                slow_policy,
                ..GroupProperties::DEFAULT
            };
            GroupProperties::unpack(properties.pack())
        };
        assert_eq!(wait(0), None);
        assert!(wait(1).is_some());
        assert_eq!(wait(SLOW_BOUND_MS_MAX.saturating_add(1)), None);
    }

    #[test]
    fn the_difference_names_the_property() {
        let own = GroupProperties::DEFAULT;
        let mut other = own;
        assert_eq!(own.difference(&other), None);
        other.quorum_mode = QuorumMode::PrimaryView;
        assert_eq!(own.difference(&other), Some(GroupProperty::QuorumMode));
        other.slow_policy = SlowPolicy::Wait { bound_ms: 5 };
        assert_eq!(own.difference(&other), Some(GroupProperty::SlowPolicy));
        other.is_sending_view = true;
        assert_eq!(own.difference(&other), Some(GroupProperty::SendingView));
        other.default_order = Order::Fifo;
        assert_eq!(own.difference(&other), Some(GroupProperty::DefaultOrder));
    }
}
