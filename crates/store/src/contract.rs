//! The contract itself.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::batch::{Batch, Entry, Head, Key, Publication};
use crate::errors::{CommitError, PublishError, ReadError};

/// An ordered key-value store with a log in it.
///
/// **One writer.** Only the ledger calls [`commit`](Store::commit) and [`publish`](Store::publish). Everybody may
/// read, from any task, at any time, also when the engine is poisoned.
///
/// **Reads see acknowledged commits.** A read that starts after a commit returned sees that commit and all before it.
/// It may see a later one that is durable and not acknowledged yet, never a part of one: each call reads one state.
/// Two calls may read two states; who needs them to agree compares [versions](Entry::version) when it commits.
///
/// **Absence is `Ok(None)`**, or a shorter answer. An error means that the engine couldn't look.
///
/// **Dropping a future** of `commit` or `publish` doesn't stop what it began: the operation may still take effect,
/// whole, at any later time before the next one of its kind.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The row at `key`.
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError>;

    /// The first `limit` rows of `range`, in the order of their keys. A range that ends before it starts is empty.
    ///
    /// All of them are of one state. The caller bounds `limit`: an engine holds all of the answer in memory.
    async fn scan(&self, range: Range<Key>, limit: usize) -> Result<Vec<(Key, Entry)>, ReadError>;

    /// The request row at `key`, of the newest hour that has one.
    ///
    /// Rows of the newest hour ever committed and of the hour before are there; older ones are gone whole.
    async fn request(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError>;

    /// The records of the leaves in `range`, in order, clipped to the log: what lies beyond its size isn't answered.
    ///
    /// The caller bounds the range: an engine holds all of the answer in memory.
    async fn leaves(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError>;

    /// The private parts of the leaves in `range`, as [`leaves`](Store::leaves) gives the records.
    async fn private_parts(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError>;

    /// Where the store stands: the head of the latest commit that reads see.
    fn head(&self) -> Head;

    /// Does all of `batch`, if the store stands exactly at `head`, and returns the new head:
    /// [`Batch::after`]`(head)`.
    ///
    /// - *Durability*: when it returns `Ok`, the batch survives the loss of process and power.
    /// - *Atomicity*: all or nothing, for readers, for a crash at any point, and after it.
    /// - *Ordering*: commits form one sequence; each is judged against the state after the one before it. An empty
    ///   batch counts.
    /// - *Concurrency*: of two commits on one head exactly one succeeds, the other is
    ///   [raced](CommitError::Raced).
    /// - *Retry*: after `Raced`, `TooLarge` and `Poisoned` nothing was written. After
    ///   [`Unknown`](CommitError::Unknown) the engine takes no commits any more; open it again, and its head tells
    ///   whether the commit stands. A failed sync is never tried again: what the first one lost, a second one that
    ///   succeeds would hide.
    async fn commit(&self, head: Head, batch: Batch) -> Result<Head, CommitError>;

    /// Makes a checkpoint public, with the tiles and bundles that it rests on.
    ///
    /// - *Ordering*: the hash tiles of `publication`, every full entry bundle within its size, and the partial entry
    ///   bundle of that size, all stand and are durable before the checkpoint replaces the former one. Its size never
    ///   shrinks; the same size may be published again.
    /// - *Atomicity*: of the checkpoint. Readers see the former or this one, whole.
    /// - *Durability*: when it returns `Ok`, all of it survives the loss of process and power.
    /// - *Concurrency*: publications follow one another; commits and reads go on meanwhile.
    /// - *Retry*: after [`Failed`](PublishError::Failed) the former checkpoint stands or this one does, some tiles
    ///   may stand (they are the same for every size that has them), and the call may be repeated.
    ///
    /// Partial tiles and bundles may go once a full one at their place has been published.
    async fn publish(&self, publication: Publication) -> Result<(), PublishError>;

    /// A published file by its C2SP path: `checkpoint`, `tile/…`, `tile/entries/…`. Any other text, however it came
    /// here, is `Ok(None)`.
    ///
    /// A full entry bundle may be there before the checkpoint that covers it.
    async fn file(&self, path: &str) -> Result<Option<Bytes>, ReadError>;

    /// How long published files are, in the order of their paths; `None` where [`file`](Store::file) gives none.
    ///
    /// The caller bounds how many it asks for at once. An engine that can tell without reading them does.
    async fn file_lengths(&self, paths: Vec<String>) -> Result<Vec<Option<u64>>, ReadError> {
        let mut lengths = Vec::with_capacity(paths.len());
        for path in paths {
            lengths.push(self.file(&path).await?.map(|bytes| bytes.len() as u64));
        }
        Ok(lengths)
    }

    /// Why the engine takes no commits any more, for the log and the operator; `None` as long as it does.
    fn failure(&self) -> Option<String> {
        None
    }
}
