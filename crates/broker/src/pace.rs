//! How often something may be done to each of many.
//!
//! What is counted stands in memory: it bounds what floods a person's records, and nobody rests anything on it. After a
//! restart counting begins anew.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    num::NonZeroU32,
    time::Duration,
};

use countersign_grants::time::Timestamp;
use parking_lot::Mutex;

/// The most requests that are put to one subject in a [`DAY`]. One of a person who travels and changes all plans comes to
/// some ten; and of what waits for a week, as long as a request can, an erasure is through within a second.
pub(crate) const REQUESTS_A_DAY: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

/// The most notices of one grant in a [`MINUTE`], unless it is set: what moves on a map is worth a look each second.
pub(crate) const NOTICES_A_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("not zero");

/// The window of [`REQUESTS_A_DAY`].
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The window of [`NOTICES_A_MINUTE`].
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// From so many on, those whose windows are over are forgotten each time that their number has doubled: so what is kept
/// is at most twice what happened within a window, and looking through it costs each count as good as nothing.
const TIDY_FROM: usize = 1_024;

/// At most so many in a window, which begins with the first after the window before.
pub(crate) struct Pace<K> {
    most: NonZeroU32,
    window: Duration,
    known: Mutex<Known<K>>,
}

struct Known<K> {
    /// When the window began, and how many it has had.
    counts: HashMap<K, (Timestamp, u32)>,
    tidy_at: usize,
}

impl<K: Eq + Hash> Pace<K> {
    pub(crate) fn new(most: NonZeroU32, window: Duration) -> Self {
        Self { most, window, known: Mutex::new(Known { counts: HashMap::new(), tidy_at: TIDY_FROM }) }
    }

    /// Counts one; if that is too many, says how long until it is not.
    pub(crate) fn count(&self, key: K, now: Timestamp) -> Result<(), Duration> {
        let known = &mut *self.known.lock();
        if known.counts.len() >= known.tidy_at {
            known.counts.retain(|_, (begun, _)| begun.plus(self.window) > now);
            known.tidy_at = (2 * known.counts.len()).max(TIDY_FROM);
        }
        match known.counts.entry(key) {
            Entry::Occupied(mut entry) if entry.get().0.plus(self.window) > now => {
                let (begun, count) = entry.get_mut();
                if *count >= self.most.get() {
                    return Err(begun.plus(self.window).since(now));
                }
                *count += 1;
            }
            entry => {
                entry.insert_entry((now, 1));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn pace() -> Pace<u64> {
        Pace::new(NonZeroU32::new(2).expect("not zero"), WINDOW)
    }

    #[test]
    fn each_has_so_many_in_a_window() {
        let (pace, at) = (pace(), Timestamp::from_millis(1_000_000));
        let later = at.plus(WINDOW / 2);
        assert_eq!(
            [pace.count(1, at), pace.count(1, later), pace.count(1, later)],
            [Ok(()), Ok(()), Err(WINDOW / 2)]
        );
        assert_eq!(pace.count(2, later), Ok(()), "another has its own");
        let again = at.plus(WINDOW);
        assert_eq!(pace.count(1, again), Ok(()));
        assert_eq!(pace.count(2, again), Ok(()), "its window is not over");
        assert_eq!(pace.count(2, again), Err(WINDOW / 2));
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let (pace, at) = (pace(), Timestamp::from_millis(1_000_000));
        let many = u64::try_from(TIDY_FROM).expect("few");
        for key in 0..10 * many {
            assert_eq!(pace.count(key, at.plus(WINDOW * u32::try_from(key / many).expect("few"))), Ok(()));
            assert!(pace.known.lock().counts.len() <= 2 * TIDY_FROM);
        }
        let now = at.plus(WINDOW * 9);
        assert_eq!([pace.count(9 * many, now), pace.count(9 * many, now)], [Ok(()), Err(WINDOW)]);
    }
}
