//! The broker's store: the memory engine, which outlives the broker; and the ways in which a self-test makes it lie.

use std::{
    collections::BTreeMap,
    ops::Range,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use bytes::Bytes;
use countersign_proto::log::v1::{Kind, Record};
use countersign_store::{
    Batch, CommitError, Entry, Head, Key, Publication, PublishError, ReadError, Store,
    memory::{Breakdown, MemoryStore},
};
use parking_lot::Mutex;
use prost::Message as _;

/// How a self-test makes the store break its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mutation {
    /// A restart loses the last commit, though it was acknowledged.
    DropCommit,
    /// Once a grant was stopped, its row is read as it was before: a cache that nobody told of it. The first partner hears
    /// no events in such a run, since a source that has heard of the stop refuses by itself.
    StaleReads,
}

/// Where the broker keeps grants.
const GRANT_ROWS: &[u8] = b"b/grant/";

/// What stands behind the broker, over all of its lives.
pub(crate) struct Storage {
    current: Mutex<Arc<SimStore>>,
    mutation: Option<Mutation>,
}

/// The store of one life of the broker.
pub(crate) struct SimStore {
    memory: MemoryStore,
    mutation: Option<Mutation>,
    /// What a restart goes back to that loses the last commit.
    before_last: Mutex<Option<MemoryStore>>,
    /// Rows as they were before a stop.
    stale: Mutex<BTreeMap<Key, Entry>>,
}

impl Storage {
    pub(crate) fn new(mutation: Option<Mutation>) -> Self {
        Self { current: Mutex::new(Arc::new(SimStore::over(MemoryStore::new(), mutation))), mutation }
    }

    /// Whether this partner hears no events.
    pub(crate) fn is_deaf(&self, partner: usize) -> bool {
        self.mutation == Some(Mutation::StaleReads) && partner == 0
    }

    /// The store of the broker's present life.
    pub(crate) fn current(&self) -> Arc<SimStore> {
        Arc::clone(&self.current.lock())
    }

    /// Opens the store again, as it is durable.
    pub(crate) fn reopen(&self) -> Arc<SimStore> {
        let mut current = self.current.lock();
        let lost = current.before_last.lock().take();
        let found = lost.unwrap_or_else(|| current.memory.recovered());
        *current = Arc::new(SimStore::over(found, self.mutation));
        Arc::clone(&current)
    }
}

impl SimStore {
    fn over(memory: MemoryStore, mutation: Option<Mutation>) -> Self {
        Self { memory, mutation, before_last: Mutex::default(), stale: Mutex::default() }
    }

    /// Leaves the outcome of the next commit in doubt.
    pub(crate) fn break_next_commit(&self, breakdown: Breakdown) {
        self.memory.break_next_commit(breakdown);
    }

    /// The log's file at this path.
    pub(crate) fn public_file(&self, path: &str) -> Option<Bytes> {
        ready(self.memory.file(path)).expect("memory reads")
    }

    /// Records from this index on.
    pub(crate) fn records_from(&self, index: u64) -> Vec<Bytes> {
        ready(self.memory.leaves(index..u64::MAX)).expect("memory reads")
    }

    /// The size of the log.
    pub(crate) fn size(&self) -> u64 {
        self.memory.head().size
    }

    async fn freeze_what_stops(&self, batch: &Batch) -> Result<(), ReadError> {
        let stops = batch.leaves.iter().any(|leaf| {
            Record::decode(leaf.record.clone()).is_ok_and(|record| record.kind() == Kind::GrantWithdrawn)
        });
        if stops {
            for (key, _) in batch.puts.iter().filter(|(key, _)| key.starts_with(GRANT_ROWS)) {
                if let Some(entry) = self.memory.get(key).await? {
                    self.stale.lock().entry(key.clone()).or_insert(entry);
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Store for SimStore {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        let stale = self.stale.lock().get(key).cloned();
        if stale.is_some() {
            return Ok(stale);
        }
        self.memory.get(key).await
    }

    async fn scan(&self, range: Range<Key>, limit: usize) -> Result<Vec<(Key, Entry)>, ReadError> {
        self.memory.scan(range, limit).await
    }

    async fn request(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.memory.request(key).await
    }

    async fn leaves(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        self.memory.leaves(range).await
    }

    async fn private_parts(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        self.memory.private_parts(range).await
    }

    fn head(&self) -> Head {
        self.memory.head()
    }

    async fn commit(&self, head: Head, batch: Batch) -> Result<Head, CommitError> {
        match self.mutation {
            Some(Mutation::DropCommit) => *self.before_last.lock() = Some(self.memory.recovered()),
            Some(Mutation::StaleReads) => {
                self.freeze_what_stops(&batch)
                    .await
                    .map_err(|error| CommitError::Unknown { reason: error.to_string() })?;
            }
            None => {}
        }
        self.memory.commit(head, batch).await
    }

    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.memory.publish(publication).await
    }

    async fn file(&self, path: &str) -> Result<Option<Bytes>, ReadError> {
        self.memory.file(path).await
    }
}

/// What a future of the memory engine comes to: it never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("the memory engine holds nothing that one could wait for"),
    }
}
