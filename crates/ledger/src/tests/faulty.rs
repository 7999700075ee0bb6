//! The memory engine with what goes wrong outside of it.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use countersign_store::memory::MemoryStore;
use countersign_store::{Batch, CommitError, Entry, Head, Key, Publication, PublishError, ReadError, Store};
use parking_lot::Mutex;

#[derive(Default)]
pub(super) struct Faulty {
    pub(super) inner: MemoryStore,
    pub(super) reads_fail: AtomicBool,
    pub(super) publications_fail: AtomicBool,
    /// What stands in the place of the checkpoint.
    pub(super) checkpoint: Mutex<Option<Bytes>>,
}

impl Faulty {
    fn readable(&self) -> Result<(), ReadError> {
        let fails = self.reads_fail.load(Ordering::SeqCst);
        if fails { Err(ReadError::Unavailable { reason: "a test asked for it".to_owned() }) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for Faulty {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        self.readable()?;
        self.inner.get(key).await
    }

    async fn scan(&self, range: Range<Key>, limit: usize) -> Result<Vec<(Key, Entry)>, ReadError> {
        self.readable()?;
        self.inner.scan(range, limit).await
    }

    async fn request(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.readable()?;
        self.inner.request(key).await
    }

    async fn leaves(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        self.readable()?;
        self.inner.leaves(range).await
    }

    async fn private_parts(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        self.readable()?;
        self.inner.private_parts(range).await
    }

    fn head(&self) -> Head {
        self.inner.head()
    }

    async fn commit(&self, head: Head, batch: Batch) -> Result<Head, CommitError> {
        self.inner.commit(head, batch).await
    }

    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        if self.publications_fail.load(Ordering::SeqCst) {
            return Err(PublishError::Failed { reason: "a test asked for it".to_owned() });
        }
        self.inner.publish(publication).await
    }

    async fn file(&self, path: &str) -> Result<Option<Bytes>, ReadError> {
        if path == "checkpoint"
            && let Some(checkpoint) = self.checkpoint.lock().clone()
        {
            return Ok(Some(checkpoint));
        }
        self.inner.file(path).await
    }
}
