//! One error per operation, saying whose fault it is.

use crate::batch::{
    Head, MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_PRIVATE_BYTES, MAX_RECORD_BYTES, MAX_VALUE_BYTES,
};

/// A bound of the contract that a batch breaks: the caller's misuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// A key is empty or too long.
    #[error("a key of {bytes} bytes is outside 1 to {MAX_KEY_BYTES}")]
    Key {
        /// Its length.
        bytes: usize,
    },
    /// A row's value is too long.
    #[error("a value of {bytes} bytes is over {MAX_VALUE_BYTES}")]
    Value {
        /// Its length.
        bytes: usize,
    },
    /// A record is too long.
    #[error("a record of {bytes} bytes is over {MAX_RECORD_BYTES}")]
    Record {
        /// Its length.
        bytes: usize,
    },
    /// A private part is too long.
    #[error("a private part of {bytes} bytes is over {MAX_PRIVATE_BYTES}")]
    Private {
        /// Its length.
        bytes: usize,
    },
    /// The batch as a whole is too heavy.
    #[error("a batch of {bytes} bytes is over {MAX_BATCH_BYTES}")]
    Batch {
        /// Its [weight](crate::Batch::weight).
        bytes: usize,
    },
}

/// Why a read gave no answer. Absence is no error. Both are failures of ours, and a retry may find the first healed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The engine can't read now.
    #[error("the store can't be read: {reason}")]
    Unavailable {
        /// What the engine was told, for the log.
        reason: String,
    },
    /// What was read can't be what was written.
    #[error("the store is damaged at {place}")]
    Damaged {
        /// The file or key.
        place: String,
    },
}

/// Why a commit was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The store stands elsewhere: nothing was written.
    #[error("the store stands at {current:?}")]
    Raced {
        /// Where it stands.
        current: Head,
    },
    /// The batch breaks a bound: nothing was written.
    #[error("the batch is refused: {0}")]
    TooLarge(#[source] Limit),
    /// The engine failed on the way: the commit may or may not stand when the store has been opened again. From here
    /// on the engine is poisoned.
    #[error("the commit's outcome isn't known: {reason}")]
    Unknown {
        /// What the engine was told, for the log.
        reason: String,
    },
    /// The engine takes no commits, since an earlier one failed or it was closed: nothing was written. It recovers by
    /// being opened again.
    #[error("the store takes no commits until it is opened again")]
    Poisoned,
}

/// Why a publication was not made. The former checkpoint stands, and the same publication may be tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The size is beyond the log: the caller's misuse.
    #[error("a checkpoint of {size} leaves is beyond the log of {head}")]
    Beyond {
        /// The publication's.
        size: u64,
        /// The log's.
        head: u64,
    },
    /// A larger checkpoint is public already: the caller's misuse.
    #[error("a checkpoint of {size} leaves would follow one of {published}")]
    Backwards {
        /// The publication's.
        size: u64,
        /// The public checkpoint's.
        published: u64,
    },
    /// A file's path is not that of a hash tile: the caller's misuse.
    #[error("{path:?} is no path of a hash tile")]
    Path {
        /// As given.
        path: String,
    },
    /// The engine failed on the way: our failure.
    #[error("the publication failed: {reason}")]
    Failed {
        /// What the engine was told, for the log.
        reason: String,
    },
}
