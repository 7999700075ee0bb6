//! When it is told that a grant ends before long.

use std::time::Duration;

use crate::time::Timestamp;

/// The longest time before the end: a day, in which a person finds the time to renew.
pub const MAX_LEAD: Duration = Duration::from_secs(24 * 3600);

/// The part of a grant's time that is left when it is told, where that is shorter: a tenth, so that a grant of an hour is
/// not announced as it begins.
const PART: u32 = 10;

/// The moment at which it is told that what stands from `start` to `end` ends before long.
pub fn announced_at(start: Timestamp, end: Timestamp) -> Timestamp {
    end.minus((end.since(start) / PART).min(MAX_LEAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_before_the_end_or_a_tenth_of_the_time() {
        let start = Timestamp::from_millis(1_000);
        let check = |lasts: Duration, before: Duration| {
            let end = start.plus(lasts);
            assert_eq!(announced_at(start, end), end.minus(before), "{lasts:?}");
        };
        let hour = Duration::from_secs(3600);
        check(hour, hour / 10);
        check(24 * hour, 24 * hour / 10);
        check(240 * hour, 24 * hour);
        check(24_000 * hour, 24 * hour);
        check(Duration::ZERO, Duration::ZERO);
    }
}
