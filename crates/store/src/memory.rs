//! The engine of tests and demos: all in memory, and gone with it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::batch::{Batch, Entry, Head, Key, Leaf, Publication, REQUEST_HOURS};
use crate::contract::Store;
use crate::errors::{CommitError, PublishError, ReadError};
use crate::layout::{LogPath, WIDTH, bundle};

/// A store in memory. It holds the whole contract but durability; [`recovered`](MemoryStore::recovered) stands for
/// opening it again.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

/// Why a store that broke takes no commits.
const BREAKDOWN: &str = "a test asked for it";

/// How a commit fails when a test asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakdown {
    /// Nothing was written.
    Lost,
    /// All was written, and only the answer lost: readers of the recovered store see it.
    Persisted,
}

#[derive(Clone, Debug, Default)]
struct State {
    head: Head,
    rows: BTreeMap<Key, Entry>,
    leaves: Vec<Leaf>,
    /// Hour → key → value; never more than [`REQUEST_HOURS`] hours.
    requests: BTreeMap<u64, HashMap<Key, Bytes>>,
    /// Hash tiles, partial bundles and the checkpoint. Full bundles are made when they are asked for.
    files: BTreeMap<LogPath, Bytes>,
    published: u64,
    breakdown: Option<Breakdown>,
    /// What a persisted breakdown wrote: the state that a reopened store finds.
    after_breakdown: Option<Box<State>>,
    poisoned: bool,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Makes the next commit that passes its checks fail with [`CommitError::Unknown`], and poisons the store.
    pub fn break_next_commit(&self, breakdown: Breakdown) {
        self.state.lock().breakdown = Some(breakdown);
    }

    /// What opening the store again would give: the same state, not poisoned.
    pub fn recovered(&self) -> MemoryStore {
        let state = self.state.lock();
        let mut found = state.after_breakdown.as_deref().unwrap_or(&state).clone();
        found.poisoned = false;
        found.breakdown = None;
        MemoryStore { state: Mutex::new(found) }
    }

    fn clipped(&self, range: Range<u64>, part: impl Fn(&Leaf) -> &Bytes) -> Vec<Bytes> {
        let state = self.state.lock();
        let end = range.end.min(state.head.size);
        let start = range.start.min(end);
        // Both are at most the number of leaves in memory.
        state.leaves[start as usize..end as usize].iter().map(|leaf| part(leaf).clone()).collect()
    }
}

impl State {
    fn apply(&mut self, batch: Batch) {
        self.head = batch.after(self.head);
        for key in &batch.deletes {
            self.rows.remove(key);
        }
        for (key, value) in batch.puts {
            self.rows.insert(key, Entry { value, version: self.head.sequence });
        }
        self.leaves.extend(batch.leaves);
        for row in batch.requests {
            self.requests.entry(row.hour).or_default().insert(row.key, row.value);
        }
        if let Some((&newest, _)) = self.requests.last_key_value() {
            self.requests.retain(|hour, _| hour.saturating_add(REQUEST_HOURS) > newest);
        }
    }

    fn full_bundle(&self, number: u64) -> Option<Bytes> {
        let end = number.checked_add(1)?.checked_mul(WIDTH)?;
        // At most the published size, which is at most the number of leaves in memory.
        let leaves = (end <= self.published).then(|| &self.leaves[(end - WIDTH) as usize..end as usize])?;
        Some(bundle(leaves.iter().map(|leaf| &leaf.record)).into())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        Ok(self.state.lock().rows.get(key).cloned())
    }

    async fn scan(&self, range: Range<Key>, limit: usize) -> Result<Vec<(Key, Entry)>, ReadError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let state = self.state.lock();
        Ok(state.rows.range(range).take(limit).map(|(key, entry)| (key.clone(), entry.clone())).collect())
    }

    async fn request(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(self.state.lock().requests.values().rev().find_map(|hour| hour.get(key).cloned()))
    }

    async fn leaves(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        Ok(self.clipped(range, |leaf| &leaf.record))
    }

    async fn private_parts(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        Ok(self.clipped(range, |leaf| &leaf.private))
    }

    fn head(&self) -> Head {
        self.state.lock().head
    }

    fn failure(&self) -> Option<String> {
        self.state.lock().poisoned.then(|| BREAKDOWN.to_owned())
    }

    async fn commit(&self, head: Head, batch: Batch) -> Result<Head, CommitError> {
        batch.check().map_err(CommitError::TooLarge)?;
        let mut state = self.state.lock();
        if state.poisoned {
            return Err(CommitError::Poisoned);
        }
        if head != state.head {
            return Err(CommitError::Raced { current: state.head });
        }
        if let Some(breakdown) = state.breakdown.take() {
            state.poisoned = true;
            if breakdown == Breakdown::Persisted {
                let mut after = state.clone();
                after.apply(batch);
                state.after_breakdown = Some(Box::new(after));
            }
            return Err(CommitError::Unknown { reason: BREAKDOWN.to_owned() });
        }
        state.apply(batch);
        Ok(state.head)
    }

    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let mut state = self.state.lock();
        let paths = publication.check(state.head.size, state.published)?;
        state.published = publication.size;
        if let Some(partial) = LogPath::last_partial(publication.size) {
            let start = (publication.size - publication.size % WIDTH) as usize; // leaves that are in memory
            let last = state.leaves[start..publication.size as usize].iter().map(|leaf| &leaf.record);
            let last = bundle(last);
            state.files.insert(partial, last.into());
        }
        for (path, (_, bytes)) in paths.into_iter().zip(publication.files) {
            state.files.insert(path, bytes);
        }
        state.files.insert(LogPath::Checkpoint, publication.checkpoint);
        let full = publication.size / WIDTH;
        let superseded: Vec<LogPath> = state
            .files
            .keys()
            .filter(|path| match path {
                LogPath::Checkpoint => false,
                LogPath::Tile { .. } => !path.is_full() && state.files.contains_key(&path.full()),
                LogPath::Entries { number, .. } => *number < full,
            })
            .copied()
            .collect();
        for path in superseded {
            state.files.remove(&path);
        }
        Ok(())
    }

    async fn file(&self, path: &str) -> Result<Option<Bytes>, ReadError> {
        let state = self.state.lock();
        Ok(LogPath::parse(path).and_then(|path| match path {
            LogPath::Entries { number, partial: None } => state.full_bundle(number),
            path => state.files.get(&path).cloned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(breakdown: Breakdown, stands: bool) {
        let store = MemoryStore::new();
        let batch = || Batch { puts: vec![(vec![1], Bytes::new())], ..Batch::default() };
        let head = store.commit(store.head(), batch()).await.unwrap();
        store.break_next_commit(breakdown);
        assert!(matches!(store.commit(head, batch()).await, Err(CommitError::Unknown { .. })));
        assert_eq!(store.commit(head, batch()).await, Err(CommitError::Poisoned));
        assert!(store.failure().is_some());
        assert_eq!(store.head(), head, "reads go on, at the last commit that was acknowledged");
        let recovered = store.recovered();
        assert_eq!(recovered.failure(), None);
        assert_eq!(recovered.head(), if stands { batch().after(head) } else { head });
        assert!(recovered.commit(recovered.head(), batch()).await.is_ok());
    }

    #[tokio::test]
    async fn a_broken_commit_poisons_until_the_store_is_opened_again() {
        check(Breakdown::Lost, false).await;
        check(Breakdown::Persisted, true).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn holds_the_contract() {
        use std::sync::Arc;

        struct Memory(Arc<MemoryStore>);

        #[async_trait]
        impl crate::conformance::Engine for Memory {
            fn store(&self) -> Arc<dyn Store> {
                self.0.clone()
            }

            async fn reopen(&mut self) -> bool {
                false
            }
        }

        crate::conformance::run(async || Memory(Arc::new(MemoryStore::new()))).await;
    }
}
