//! When an account is abandoned: no link stands on it any more, and no grant under it.

use std::time::Duration;

use crate::time::Timestamp;

/// How long an abandoned account stays: 30 days, in which a person who has the keys after all finds the time to link, to
/// export what is there, or to close it herself; after a report of theft none of these is left. Every checker of a log counts by it, so no broker sets another.
pub const ABANDONED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// The reason in the record of an erasure that no statement of the customer's stands behind.
pub const ABANDONED: &str = "ABANDONED";

/// The moment from which on an account may be erased that is abandoned since `since`.
pub fn erased_at(since: Timestamp) -> Timestamp {
    since.plus(ABANDONED_FOR)
}
