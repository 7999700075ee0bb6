//! What the ledger's tasks and its callers share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use countersign_store::{ReadError, Store};
use countersign_tlog::{Hash, SignedCheckpoint, SignerKey, Tree};
use parking_lot::Mutex;

use crate::hub::Hub;
use crate::rows::{self, KnownRequest};
use crate::stream::StreamKey;
use crate::tail::Tail;
use crate::unit::Counter;

/// What the ledger's tasks and its callers share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) key: SignerKey,
    /// Locked for arithmetic alone, never over an await.
    pub(crate) tree: Mutex<Tree>,
    /// The head of `tree`. Changes only while `tree` is locked, so whoever holds that lock has both of one size.
    pub(crate) latest: ArcSwap<SignedCheckpoint>,
    pub(crate) published: ArcSwap<SignedCheckpoint>,
    /// Why the last try to make a head public failed; nothing since one went through.
    pub(crate) publishing_failure: Mutex<Option<String>>,
    pub(crate) hub: Arc<Hub>,
}

impl Shared {
    /// Appends leaves that are durable, and signs the head.
    pub(crate) fn grow(&self, leaves: &[Hash]) -> Arc<SignedCheckpoint> {
        let mut tree = self.tree.lock();
        if leaves.is_empty() {
            return self.latest.load_full();
        }
        for leaf in leaves {
            tree.append(*leaf);
        }
        let latest = Arc::new(sign(&self.key, &tree));
        self.latest.store(Arc::clone(&latest));
        latest
    }

    /// Leaves that no published checkpoint covers.
    pub(crate) fn unpublished(&self) -> u64 {
        let tree = self.tree.lock();
        tree.size() - tree.published()
    }

    /// A counter as it is stored.
    pub(crate) async fn counter(&self, counter: &[u8]) -> Result<Counter, ReadError> {
        let key = rows::counter_key(counter);
        let Some(entry) = self.store.get(&key).await? else { return Ok(Counter::default()) };
        rows::decode_counter(&entry.value).ok_or_else(|| damaged(&key))
    }

    /// A request as it is stored.
    pub(crate) async fn request(&self, key: &[u8]) -> Result<Option<KnownRequest>, ReadError> {
        let Some(row) = self.store.request(key).await? else { return Ok(None) };
        KnownRequest::decode(row).map(Some).ok_or_else(|| damaged(key))
    }

    /// The tail of a stream as it is stored.
    pub(crate) async fn tail(&self, stream: &StreamKey) -> Result<Tail, ReadError> {
        let key = rows::tail_key(stream);
        let Some(entry) = self.store.get(&key).await? else { return Ok(Tail::default()) };
        Tail::decode(&entry.value).ok_or_else(|| damaged(&key))
    }
}

/// Signs the head of a tree whose leaves are durable.
pub(crate) fn sign(key: &SignerKey, tree: &Tree) -> SignedCheckpoint {
    SignedCheckpoint::sign(key, tree.size(), tree.root()).expect("the tree of size zero has the empty root")
}

/// A row that can't be what was written.
pub(crate) fn damaged(key: &[u8]) -> ReadError {
    ReadError::Damaged { place: format!("the row {:?}", String::from_utf8_lossy(key)) }
}
