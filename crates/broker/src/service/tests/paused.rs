//! The memory engine, with readers that a test can keep waiting: for what comes between a look and the commit after it.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use countersign_store::{
    Batch, CommitError, Entry, Head, Key, Publication, PublishError, ReadError, Store, memory::MemoryStore,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Paused {
    inner: MemoryStore,
    held: Mutex<Option<Hold>>,
    held_row: Mutex<Option<(Vec<u8>, Arc<Gate>)>>,
}

struct Hold {
    prefix: Vec<u8>,
    /// Scans that pass before the one that waits.
    passing: usize,
    gate: Arc<Gate>,
}

/// Where a reader waits.
#[derive(Default)]
pub(super) struct Gate {
    /// Told when the reader has read.
    pub(super) has_read: Notify,
    /// Lets it go.
    pub(super) go: Notify,
}

impl Paused {
    /// Keeps one reader of these keys waiting with what it has read: the one after so many others.
    pub(super) fn hold(&self, prefix: &[u8], passing: usize) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        *self.held.lock() = Some(Hold { prefix: prefix.to_vec(), passing, gate: Arc::clone(&gate) });
        gate
    }

    /// Keeps the next reader of this row waiting with what it has read.
    pub(super) fn hold_row(&self, key: &[u8]) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        *self.held_row.lock() = Some((key.to_vec(), Arc::clone(&gate)));
        gate
    }

    fn waits(&self, range: &Range<Key>) -> Option<Arc<Gate>> {
        let mut next = self.held.lock();
        let hold = next.as_mut().filter(|hold| range.start.starts_with(&hold.prefix))?;
        match hold.passing.checked_sub(1) {
            Some(left) => {
                hold.passing = left;
                None
            }
            None => next.take().map(|hold| hold.gate),
        }
    }
}

#[async_trait]
impl Store for Paused {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        let waits = self.held_row.lock().take_if(|(held, _)| held == key).map(|(_, gate)| gate);
        let read = self.inner.get(key).await;
        if let Some(gate) = waits {
            gate.has_read.notify_one();
            gate.go.notified().await;
        }
        read
    }

    async fn scan(&self, range: Range<Key>, limit: usize) -> Result<Vec<(Key, Entry)>, ReadError> {
        let waits = self.waits(&range);
        let read = self.inner.scan(range, limit).await;
        if let Some(gate) = waits {
            gate.has_read.notify_one();
            gate.go.notified().await;
        }
        read
    }

    async fn request(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.inner.request(key).await
    }

    async fn leaves(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        self.inner.leaves(range).await
    }

    async fn private_parts(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        self.inner.private_parts(range).await
    }

    fn head(&self) -> Head {
        self.inner.head()
    }

    async fn commit(&self, head: Head, batch: Batch) -> Result<Head, CommitError> {
        self.inner.commit(head, batch).await
    }

    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.inner.publish(publication).await
    }

    async fn file(&self, path: &str) -> Result<Option<Bytes>, ReadError> {
        self.inner.file(path).await
    }
}
