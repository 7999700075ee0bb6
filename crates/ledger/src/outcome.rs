//! What becomes of a unit.

use bytes::Bytes;
use countersign_store::{Key, ReadError};
use countersign_tlog::Hash;

use crate::unit::UnitError;

/// How a unit was judged. All but `Committed` left everything as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is durable.
    Committed(Committed),
    /// A row isn't at the version that the unit expected: read it again, and judge again.
    Conflict {
        /// The first such row, in the unit's order.
        key: Key,
    },
    /// A counter is at its ceiling.
    Ceiling {
        /// The first such counter, in the unit's order.
        counter: Key,
        /// After how many milliseconds its window ends; `None` if it never does.
        retry_after_ms: Option<u64>,
    },
    /// This very request was committed before.
    Replayed {
        /// The index of its first record.
        first_index: u64,
        /// The [answer](crate::Request::answer) that was kept with it.
        answer: Bytes,
    },
    /// A request under the same key with another digest was committed before.
    IdReused,
}

/// What a committed unit became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// One for each record, in order, all at one head.
    pub receipts: Vec<Receipt>,
    /// The time of its records, in Unix milliseconds.
    pub time_ms: u64,
    /// The version that every row has which it put. No other unit wrote any of these rows in the same commit.
    pub version: u64,
    /// For each of the unit's ceilings, in order, its count after this unit.
    pub counts: Vec<u64>,
}

/// A record's place in the log, with the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The exact bytes of the leaf.
    pub record: Bytes,
    /// Where it stands.
    pub index: u64,
    /// The inclusion path in the tree of `checkpoint`, the leaf's sibling first.
    pub path: Vec<Hash>,
    /// A signed checkpoint whose size contains `index`. Not necessarily ever published.
    pub checkpoint: Bytes,
}

/// Why a unit was not judged, or its judgement is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The unit breaks a bound: the caller's bug. Nothing happened.
    #[error("the unit is refused: {0}")]
    Invalid(#[source] UnitError),
    /// Too many units are waiting. Nothing happened.
    #[error("too many units are waiting for the log")]
    Overloaded,
    /// A row that the judgement rests on couldn't be read. Nothing happened.
    #[error("the unit couldn't be judged: {0}")]
    Unreadable(#[source] ReadError),
    /// The log takes nothing more until it is opened again. Whether this unit still came to stand is not known.
    #[error("the log is unavailable")]
    Unavailable,
}

/// The ledger was shut down: nothing will be notified any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log was shut down")]
pub struct Closed;
