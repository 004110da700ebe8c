// SPDX-License-Identifier: GPL-2.0

//! The clock of a machine, the only one that its node sees. It has an offset against the clocks of other machines,
//! and runs a little too fast or too slow.

use crate::timing::SECOND;

/// The unit of `rate_ppm`.
const MILLION: i128 = 1_000_000;

/// The clock of one machine.
#[derive(Clone, Copy, Debug)]
pub struct MachineClock {
    /// Its reading when the simulation began.
    offset_ns: u64,
    /// By how many millionths it runs too fast, or too slow if negative.
    rate_ppm: i32,
}

impl MachineClock {
    /// The clock of host `number`, which runs too fast by so many millionths.
    pub fn new(number: usize, rate_ppm: i32) -> Self {
        Self {
            offset_ns: (number as u64 * 7_919 % 10_007) * SECOND,
            rate_ppm,
        }
    }

    /// Its reading at `time`.
    pub fn reading(&self, time: u64) -> u64 {
        let passed = i128::from(time) * (MILLION + i128::from(self.rate_ppm)) / MILLION;
        self.offset_ns
            .saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// The first time at which it reads `reading` or more.
    pub fn time_of(&self, reading: u64) -> u64 {
        let rate = MILLION + i128::from(self.rate_ppm);
        let passed = i128::from(reading.saturating_sub(self.offset_ns)) * MILLION;
        u64::try_from((passed + rate - 1) / rate).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::MachineClock;
    use crate::timing::SECOND;

    #[test]
    fn the_time_of_a_reading_is_the_first_one_that_shows_it() {
        for rate_ppm in [-10_000, -200, 0, 1, 10_000] {
            let clock = MachineClock::new(3, rate_ppm);
            for time in [0, 1, 999, 1_000_003, 17 * SECOND + 1] {
                let reading = clock.reading(time);
                let first = clock.time_of(reading);
                assert!(first <= time, "{rate_ppm} ppm at {time}");
                assert!(clock.reading(first) >= reading, "{rate_ppm} ppm at {time}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_one_percent_too_fast_shows_a_second_more_after_a_hundred() {
        let clock = MachineClock::new(0, 10_000);
        assert_eq!(clock.reading(100 * SECOND) - clock.reading(0), 101 * SECOND);
    }
}
