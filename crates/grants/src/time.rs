//! Time and randomness, which are arguments here.

use std::{fmt, time::Duration};

/// A moment, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment so many milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// This moment moved later; stays at the end of time rather than wrapping.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This moment moved earlier; stays at the epoch rather than wrapping.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long it is from `earlier` to this moment; nothing if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// How far two moments lie apart, in either direction.
    pub fn distance(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// Tells the time. The real one stands in `countersignd` and `client` alone.
pub trait Clock: Send + Sync + 'static {
    /// The moment it is.
    fn now(&self) -> Timestamp;
    /// How long it has been since some moment of this run: for deadlines within it. Unlike the moment, it never jumps when
    /// somebody sets the machine's clock.
    fn elapsed(&self) -> Duration;
}

/// Draws random bytes. The real one stands in `countersignd` and `client` alone.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` with bytes that nobody can guess.
    fn fill(&self, bytes: &mut [u8]);
}

/// Draws an array.
pub fn draw<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_units() {
        let time = Timestamp::from_millis(61_999);
        assert_eq!((time.as_millis(), time.as_secs()), (61_999, 61));
        assert_eq!(time.to_string(), "61999 ms");
    }

    #[test]
    fn moments_stay_within_time() {
        let (early, late) = (Timestamp::from_millis(1), Timestamp::from_millis(3));
        let two = Duration::from_millis(2);
        assert_eq!((early.plus(two), late.minus(two)), (late, early));
        assert_eq!((late.since(early), early.since(late)), (two, Duration::ZERO));
        assert_eq!((late.distance(early), early.distance(late)), (two, two));
        assert_eq!(early.minus(two), Timestamp::default());
        assert_eq!(late.plus(Duration::MAX), Timestamp::from_millis(u64::MAX));
    }

    #[test]
    fn what_is_drawn_is_what_the_entropy_filled() {
        struct Counting;
        impl Entropy for Counting {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.iter_mut().zip(7..).for_each(|(byte, next)| *byte = next);
            }
        }
        assert_eq!(draw(&Counting), [7, 8, 9]);
    }
}
