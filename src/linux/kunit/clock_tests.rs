// SPDX-License-Identifier: GPL-2.0

//! The clock, and the numbers of incarnations.

#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_clock))]
mod tests {
    use crate::linux::runtime::clock::{
        new_incarnation,
        now,
        random_seed, //
    };

    #[test]
    fn incarnations_grow_even_within_one_tick_of_the_clock() {
        let mut last = 0;
        for _ in 0..1000 {
            let next = new_incarnation();
            assert!(next > last);
            last = next;
        }
    }

    #[test]
    fn the_clock_never_goes_back() {
        let mut last = now();
        for _ in 0..1000 {
            let next = now();
            assert!(next >= last);
            last = next;
        }
    }

    #[test]
    fn seeds_differ() {
        assert!(random_seed() != random_seed());
    }
}
