// SPDX-License-Identifier: GPL-2.0

//! Wait for a condition, with a limit that is part of the failure's message.

use std::time::{Duration, Instant};

/// The shortest pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// The pause as a multiple of the time of the look before it, so that on a slow kernel the observer does not delay the
/// cluster.
const PAUSE_FACTOR: u32 = 4;

/// Call `look` until it succeeds, and return its value. Its error says what is still missing, which the failure shows
/// when `limit` has passed.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    look: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    wait_for_every(LOOK_EVERY, what, limit, look)
}

/// As [`wait_for`], with a pause of `pause` between two looks, for expensive ones.
pub fn wait_for_every<T>(
    pause: Duration,
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let start = Instant::now();
    loop {
        let looked = Instant::now();
        match look() {
            Ok(value) => return Ok(value),
            Err(missing) if start.elapsed() >= limit => {
                return Err(format!(
                    "{what}: not within {} ms: {missing}",
                    limit.as_millis()
                ));
            }
            Err(_) => std::thread::sleep(pause.max(looked.elapsed() * PAUSE_FACTOR)),
        }
    }
}

/// Call `look` for the whole of `length`, and fail as soon as it does.
pub fn holds_for(
    what: &str,
    length: Duration,
    mut look: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let looked = Instant::now();
        look().map_err(|reason| {
            format!(
                "{what}: true only for {} of {} ms: {reason}",
                start.elapsed().as_millis(),
                length.as_millis()
            )
        })?;
        if start.elapsed() >= length {
            return Ok(());
        }
        std::thread::sleep((LOOK_EVERY * 5).max(looked.elapsed() * PAUSE_FACTOR));
    }
}
