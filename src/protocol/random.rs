// SPDX-License-Identifier: GPL-2.0

//! Seeded random numbers: SplitMix64 (Steele, Lea and Flood, 2014).
//!
//! They spread retries and place nodes on rings. They are not for secrets.

/// A generator whose output follows from its seed.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub struct Random(u64);

impl Random {
    /// A generator for `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Return the next number, uniform over all of `u64`.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Return a number from `0` to `bound - 1`; zero if `bound` is zero.
    ///
    /// The slight bias of the remainder does not matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }
}

/// Mix the bits of `value` with the finalizer of SplitMix64, which also serves as a hash of small keys.
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_random))]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_numbers() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
        assert_eq!(random.next_u64(), 9_817_491_932_198_370_423);
        assert_eq!(Random::new(0).next_u64(), 0xE220_A839_7B1D_CDAF);
    }

    #[test]
    fn a_bounded_number_is_below_its_bound() {
        for bound in [1, 2, 3, 10, 1 << 32, u64::MAX] {
            let mut random = Random::new(bound);
            for _ in 0..100 {
                assert!(random.below(bound) < bound);
            }
        }
        assert_eq!(Random::new(9).below(0), 0);
    }

    #[test]
    fn every_number_below_a_small_bound_comes_up() {
        let mut random = Random::new(7);
        let mut seen = 0_u32;
        for _ in 0..200 {
            seen |= 1 << random.below(10);
        }
        assert_eq!(seen, (1 << 10) - 1);
    }

    #[test]
    fn generators_with_one_seed_agree() {
        let (mut one, mut other) = (Random::new(42), Random::new(42));
        for _ in 0..10 {
            assert_eq!(one.next_u64(), other.next_u64());
        }
    }
}
