//! The customer's book: whom the customer is linked with and under which identity, what was signed, and the log's head.

mod grants;
mod links;
mod previews;
mod state;

use std::sync::Arc;

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    id::{GrantName, LinkName, PartnerName, SubjectHandle},
    key::PublicKey,
};
use countersign_proto::statement::v1::Envelope;
use parking_lot::Mutex;

pub(crate) use self::grants::Salts;
use self::state::State;
pub use self::{
    grants::{GrantRow, Standing},
    links::LinkRow,
    previews::PreviewRow,
};
use super::entry::Entry;
use crate::{
    book::{BookError, BookStorage, MemoryBook, off_thread},
    checkpoint::HeadKeeper,
    error::LogForked,
};

/// How far the file grows beyond twice what lives in it before it is rewritten: a few thousand checkpoints.
const COMPACT_BEYOND_BYTES: u64 = 1 << 20;

/// A customer's book. Cloning shares it.
#[derive(Clone)]
pub struct CustomerBook(Arc<Inner>);

struct Inner {
    storage: Box<dyn BookStorage>,
    state: Mutex<State>,
}

impl CustomerBook {
    /// Reads a book, and rewrites the file if most of it is past.
    pub fn open(storage: impl BookStorage) -> Result<Self, BookError> {
        let entries = storage.load()?;
        let mut state = State::default();
        for (number, bytes) in entries.iter().enumerate() {
            let misfit = |problem: String| BookError::Entry { number, problem };
            state.apply(Entry::decode(bytes).map_err(misfit)?).map_err(misfit)?;
        }
        let snapshot = state.snapshot();
        if snapshot.len() < entries.len() {
            storage.rewrite(&snapshot)?;
        }
        state.compacted = storage.size();
        Ok(Self(Arc::new(Inner { storage: Box::new(storage), state: Mutex::new(state) })))
    }

    /// An empty book in memory.
    pub fn in_memory() -> Self {
        Self::open(MemoryBook::new()).expect("an empty list of entries reads, and memory takes it")
    }

    /// All links, oldest first.
    pub fn links(&self) -> Vec<LinkRow> {
        let mut links: Vec<LinkRow> = self.0.state.lock().links.values().cloned().collect();
        links.sort_by_key(|link| link.order);
        links
    }

    /// A link.
    pub fn link(&self, name: &LinkName) -> Option<LinkRow> {
        self.0.state.lock().links.get(&name.digest()).cloned()
    }

    /// The newest link with a partner that stands.
    pub fn link_with(&self, partner: &PartnerName) -> Option<LinkRow> {
        let state = self.0.state.lock();
        let standing = state.links.values().filter(|link| link.stands() && link.partner == *partner);
        standing.max_by_key(|link| link.order).cloned()
    }

    /// The link with this handle.
    pub fn link_of(&self, subject: &SubjectHandle) -> Option<LinkRow> {
        self.0.state.lock().links.values().find(|link| link.subject == *subject).cloned()
    }

    /// The identity that is pinned for a partner, by whatever link.
    pub fn identity_of(&self, partner: &PartnerName) -> Option<PublicKey> {
        let state = self.0.state.lock();
        state.links.values().find(|link| link.partner == *partner).map(|link| link.identity.clone())
    }

    /// All previews of which the marks are kept, oldest first.
    pub fn previews(&self) -> Vec<PreviewRow> {
        self.0.state.lock().previews.iter().cloned().collect()
    }

    /// A preview.
    pub(crate) fn preview(&self, preview: Digest) -> Option<PreviewRow> {
        self.0.state.lock().previews.iter().rev().find(|row| row.preview == preview).cloned()
    }

    /// All grants that the customer signed, oldest first.
    pub fn grants(&self) -> Vec<GrantRow> {
        self.0.state.lock().grants.values().cloned().collect()
    }

    /// A grant.
    pub fn grant(&self, name: &GrantName) -> Option<GrantRow> {
        self.0.state.lock().grant(name.digest()).cloned()
    }

    /// The newest revision of a grant: itself, unless it was narrowed, or renewed with a proof.
    pub fn newest_revision(&self, name: &GrantName) -> Option<GrantRow> {
        let state = self.0.state.lock();
        let successor = |row: &&GrantRow| match row.standing {
            Standing::Superseded { by } => state.grant(by),
            Standing::Active | Standing::Paused | Standing::Stopped { .. } => None,
        };
        std::iter::successors(state.grant(name.digest()), successor).last().cloned()
    }

    /// What the person calls an authenticator, if it was added with this book.
    pub fn authenticator_label(&self, authenticator: Digest) -> Option<String> {
        self.0.state.lock().labels.get(&authenticator).map(|(_, label)| label.clone())
    }

    /// What the person calls the authenticators that were added with this book.
    pub(crate) fn authenticator_labels(&self) -> Vec<(Digest, String)> {
        let state = self.0.state.lock();
        state.labels.iter().map(|(id, (_, label))| (*id, label.clone())).collect()
    }

    /// The newest of the customer's own changes that was seen.
    pub(crate) fn identity(&self) -> Option<(u64, Digest)> {
        self.0.state.lock().identity
    }

    /// A change of one's own that was signed and not answered, with the copy that goes with it.
    pub(crate) fn pending_identity(&self) -> Option<(Envelope, Vec<u8>)> {
        self.0.state.lock().pending_identity.clone()
    }

    /// The index of the record by which the account was closed, once it is proven.
    pub fn closed(&self) -> Option<u64> {
        self.0.state.lock().closed
    }

    /// The index of the record by which the root secret was reported stolen, once it is proven.
    pub fn reported_stolen(&self) -> Option<u64> {
        self.0.state.lock().stolen
    }

    /// Whether a closing of the account was ever signed and sent.
    pub(crate) fn closure_sent(&self) -> bool {
        self.0.state.lock().closure.is_some()
    }

    /// Enters what has to be durable before it counts, off the runtime's threads.
    pub(crate) async fn enter(&self, entry: Entry) -> Result<(), BookError> {
        let book = self.clone();
        off_thread(self.0.storage.as_ref(), move || book.append(entry, true)).await
    }

    #[cfg(test)]
    pub(super) fn compact(&self) -> Result<(), BookError> {
        self.0.storage.rewrite(&self.0.state.lock().snapshot())
    }

    fn append(&self, entry: Entry, sync: bool) -> Result<(), BookError> {
        // Held over the write, so that file and memory have one order. Entries of a customer are rare.
        let mut state = self.0.state.lock();
        self.0.storage.append(&entry.encode(), sync)?;
        // Made of verified parts, so a failure here is a bug; still no reason to take a process down.
        state.apply(entry).map_err(|problem| BookError::Entry { number: usize::MAX, problem })?;
        if self.0.storage.size() > state.compacted * 2 + COMPACT_BEYOND_BYTES {
            self.0.storage.rewrite(&state.snapshot())?;
            state.compacted = self.0.storage.size();
        }
        Ok(())
    }
}

impl HeadKeeper for CustomerBook {
    fn newest(&self) -> Option<Bytes> {
        self.0.state.lock().checkpoint.clone()
    }

    fn keep_newest(&self, checkpoint: &Bytes) -> Result<(), BookError> {
        self.append(Entry::Checkpoint(checkpoint.to_vec()), false)
    }

    fn fork(&self) -> Option<LogForked> {
        self.0.state.lock().fork.clone()
    }

    fn keep_fork(&self, fork: &LogForked) -> Result<(), BookError> {
        let (ours, theirs) = (fork.ours.to_vec(), fork.theirs.to_vec());
        self.append(Entry::Forked { ours, theirs }, true)
    }
}
