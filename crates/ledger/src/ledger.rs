//! The handle that callers hold.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use countersign_store::{ReadError, Store};
use countersign_tlog::{Hash, SignedCheckpoint, SignerKey, VerifierKey};

use crate::outcome::{Closed, Outcome, Receipt, SubmitError};
use crate::stream::{StreamItem, StreamKey};
use crate::unit::{Counter, Housekeeping, Unit};

/// Tells the time in Unix milliseconds.
pub type Now = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The log's one writer. Cloning shares it. When the last clone goes, what was submitted is still finished, if the
/// runtime lives that long.
#[derive(Clone)]
pub struct Ledger {}

/// Wakes when a stream grows; see [`Ledger::watch`].
pub struct Watch {}

impl Watch {
    /// Waits until the stream has grown since the last call, or since [`Ledger::watch`]. Growth in between isn't
    /// missed, and several at once wake once.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        todo!()
    }
}

/// Why a log can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {}

impl Ledger {
    /// Opens the log in `store`, whose origin and key `key` is, and makes the checkpoint that is published state its
    /// head. Starts the tasks that judge and publish, on the runtime of the caller.
    pub async fn open(_store: Arc<dyn Store>, _key: SignerKey, _now: Now) -> Result<Ledger, OpenError> {
        todo!()
    }

    /// Has a unit judged, and when it is committed waits until it is durable.
    ///
    /// Dropping the future doesn't take the unit back.
    pub async fn submit(&self, _unit: Unit) -> Result<Outcome, SubmitError> {
        todo!()
    }

    /// Writes rows that need no record, and waits until they are durable.
    pub async fn housekeep(&self, _housekeeping: Housekeeping) -> Result<(), SubmitError> {
        todo!()
    }

    /// Whether units are taken: false once the log was shut down or has failed.
    pub fn is_available(&self) -> bool {
        todo!()
    }

    /// The store, for reading.
    pub fn store(&self) -> &Arc<dyn Store> {
        todo!()
    }

    /// The key that the log's checkpoints are verified by; its name is the log's origin.
    pub fn verifier(&self) -> &VerifierKey {
        todo!()
    }

    /// The checkpoint that is public, at most a second or so behind the latest. Cheap.
    pub fn published(&self) -> Arc<SignedCheckpoint> {
        todo!()
    }

    /// The newest head: that of the latest commit. Cheap.
    pub fn latest(&self) -> Arc<SignedCheckpoint> {
        todo!()
    }

    /// The proof of any record at the latest head.
    pub async fn proof(&self, _index: u64) -> Result<Receipt, ProofError> {
        todo!()
    }

    /// The proof that the log of `to` leaves begins with the log of `from` leaves; any sizes up to the latest.
    pub async fn consistency(&self, _from: u64, _to: u64) -> Result<Vec<Hash>, ProofError> {
        todo!()
    }

    /// The items of a stream from an index of the log on, at most `limit` of them.
    pub async fn stream(
        &self,
        _stream: &StreamKey,
        _from_index: u64,
        _limit: usize,
    ) -> Result<Vec<StreamItem>, ReadError> {
        todo!()
    }

    /// How many records a stream has.
    pub async fn stream_length(&self, _stream: &StreamKey) -> Result<u64, ReadError> {
        todo!()
    }

    /// Tells of the growth of a stream from here on. To miss nothing: watch first, then read.
    pub fn watch(&self, _stream: &StreamKey) -> Watch {
        todo!()
    }

    /// A counter as it stands; zero if it was never raised.
    pub async fn count(&self, _counter: &[u8]) -> Result<Counter, ReadError> {
        todo!()
    }

    /// The records of `range`, clipped to the log. The caller bounds the range.
    pub async fn leaves(&self, _range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        todo!()
    }

    /// The private parts of `range`, clipped to the log. The caller bounds the range.
    pub async fn private_parts(&self, _range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        todo!()
    }

    /// The first index whose record is not older than this; the log's size if there is none.
    pub async fn index_at(&self, _time_ms: u64) -> Result<u64, ReadError> {
        todo!()
    }

    /// Takes nothing more, finishes what is queued, publishes the head, and ends all watches.
    pub async fn shutdown(&self) {
        todo!()
    }
}
