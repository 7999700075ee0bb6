//! The book: what a partner keeps durably for itself, and what makes it independent of the broker.
//!
//! Links with their pinned keys; per grant the terms, the number of the newest change and the uses; answered fetches; the
//! receipts that are owed; the event cursor; the log's newest head. Keys, terms and changes are synced before they count;
//! use counts may lag a crash by a second.

mod admission;
mod answers;
mod changes;
mod deletion;
mod entry;
mod envelopes;
mod file;
mod grants;
mod links;
mod memory;
mod previews;
mod state;
mod storage;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    id::{GrantName, LinkName, SubjectHandle},
    key::KeyId,
    time::Timestamp,
};
use parking_lot::{Mutex, MutexGuard};
use zeroize::Zeroizing;

#[doc(hidden)]
pub use self::file::read_frames;
pub(crate) use self::{
    admission::Unadmitted,
    answers::{Answer, answer_key},
    entry::Entry,
    envelopes::{envelope_bytes, envelope_of},
    links::Invitation,
    previews::{Comparing, MAX_PREVIEWS, NotShown, PREVIEW_WINDOW, Previewed, preview_key},
    state::State,
    storage::off_thread,
};
pub use self::{
    file::FileBook,
    grants::{GrantRow, Side, Standing},
    links::LinkRow,
    memory::MemoryBook,
    storage::{BookError, BookStorage, MAX_ENTRY_BYTES},
};
use crate::{checkpoint::HeadKeeper, error::LogForked};

/// How far the file grows beyond twice what lives in it before it is rewritten: under full load some twenty seconds, and
/// for most books never.
const COMPACT_BEYOND_BYTES: u64 = 64 << 20;

/// A partner's book. Cloning shares it.
#[derive(Clone)]
pub struct Book(Arc<Inner>);

struct Inner {
    storage: Box<dyn BookStorage>,
    /// Held over a synced entry, from its check to its effect, so that these have one order. Taken before `state`.
    durable: Mutex<()>,
    state: Mutex<State>,
    /// The size after the last rewrite.
    compacted: Mutex<u64>,
}

impl Book {
    /// Reads a book, drops what lies further back than a retry, and rewrites the file if that made it smaller.
    pub fn open(storage: impl BookStorage, now: Timestamp) -> Result<Self, BookError> {
        let entries = storage.load()?;
        let mut state = State::read(&entries)?;
        state.prune(now, Duration::ZERO);
        let snapshot = state.snapshot();
        if snapshot.len() < entries.len() {
            storage.rewrite(&snapshot)?;
        }
        let compacted = Mutex::new(storage.size());
        Ok(Self(Arc::new(Inner {
            storage: Box::new(storage),
            durable: Mutex::default(),
            state: Mutex::new(state),
            compacted,
        })))
    }

    /// An empty book in memory.
    pub fn in_memory() -> Self {
        Self::open(MemoryBook::new(), Timestamp::default())
            .expect("an empty list of entries reads, and memory takes it")
    }

    /// All links, by their name.
    pub fn links(&self) -> Vec<LinkRow> {
        self.0.state.lock().links.values().cloned().collect()
    }

    /// A link that stands.
    pub fn link(&self, name: &LinkName) -> Option<LinkRow> {
        self.0.state.lock().links.get(&name.digest()).cloned()
    }

    /// The link of a subject.
    pub fn link_of(&self, subject: &SubjectHandle) -> Option<LinkRow> {
        self.0.state.lock().link_of(subject).cloned()
    }

    /// A grant.
    pub fn grant(&self, name: &GrantName) -> Option<GrantRow> {
        self.grant_by(name.digest())
    }

    /// All grants of a subject, standing or not: what the partner's own app shows.
    pub fn grants_of(&self, subject: &SubjectHandle) -> Vec<GrantRow> {
        let state = self.0.state.lock();
        state.grants.values().filter(|row| row.subject() == subject).cloned().collect()
    }

    /// All grants.
    pub fn grants(&self) -> Vec<GrantRow> {
        self.0.state.lock().grants.values().cloned().collect()
    }

    /// The grants under which this side has to delete what it received, as their customers ordered, and has not said so.
    pub fn erasures_due(&self) -> Vec<GrantRow> {
        let state = self.0.state.lock();
        state.to_delete.iter().filter_map(|grant| state.grants.get(grant).cloned()).collect()
    }

    /// The grants under which this side has deleted, and whose attestation the log does not have by a proof.
    pub(crate) fn erasures_to_attest(&self) -> Vec<GrantRow> {
        let state = self.0.state.lock();
        state.to_attest.iter().filter_map(|grant| state.grants.get(grant).cloned()).collect()
    }

    /// The grant that the log knows by this tag.
    pub(crate) fn grant_tagged(&self, tag: &[u8]) -> Option<GrantRow> {
        let state = self.0.state.lock();
        state.grants.get(state.by_tag.get(tag)?).cloned()
    }

    /// Stops a grant on this side, without any broker: from here on this side neither serves it nor fetches under it. The
    /// customer's own stop, which the log shows, goes through the customer's app. Blocks until it is durable.
    ///
    /// Of a grant in whose place a newer revision stands, that one is stopped: which one it was comes back. One that this
    /// book has not heard of is stopped as well, whenever it comes; nothing comes back if too many of these wait.
    pub fn stop_locally(&self, grant: &GrantName, now: Timestamp) -> Result<Option<GrantName>, BookError> {
        // From the look at the revisions on: one that came in between would be served.
        let durable = self.0.durable.lock();
        let newest = self.newest_revision(grant);
        if newest.as_ref().is_some_and(|row| row.stopped_here().is_some()) {
            return Ok(newest.map(|row| row.name().clone()));
        }
        let meant = newest.map_or(grant.clone(), |row| row.name().clone());
        let entry = Entry::StoppedHere { grant: *meant.digest().as_bytes(), at_ms: now.as_millis() };
        Ok(self.enter_in_turn(entry, &durable)?.ok().map(|()| meant))
    }

    /// The grants of a subject that have not ended, by this book alone: what is paused, suspended or held is among them, and
    /// so is one whose successor has not come.
    pub fn standing_of(&self, subject: &SubjectHandle, now: Timestamp) -> Vec<GrantRow> {
        let state = self.0.state.lock();
        let succeeded = |row: &GrantRow| match row.standing() {
            Standing::Superseded { by } => state.grants.contains_key(&by),
            Standing::Active | Standing::Paused | Standing::Stopped { .. } => false,
        };
        let of_subject = state.grants.values().filter(|row| row.subject() == subject);
        of_subject.filter(|row| !row.is_over(now) && !succeeded(row)).cloned().collect()
    }

    /// The newest revision of a grant: itself, unless it was narrowed or renewed and its successor stands in the book.
    pub fn newest_revision(&self, grant: &GrantName) -> Option<GrantRow> {
        let state = self.0.state.lock();
        let successor = |row: &&GrantRow| match row.standing() {
            Standing::Superseded { by } => state.grants.get(&by),
            Standing::Active | Standing::Paused | Standing::Stopped { .. } => None,
        };
        std::iter::successors(state.grants.get(&grant.digest()), successor).last().cloned()
    }

    /// The first log index of which no event was handled yet.
    pub fn cursor(&self) -> u64 {
        self.0.state.lock().cursor
    }

    /// How many receipts are owed to this side.
    pub fn receipts_owed(&self) -> usize {
        self.0.state.lock().owed.len()
    }

    /// Makes durable what was entered without a sync, and rewrites the file when most of it is past. `elapsed` is the time
    /// of the run, which never jumps. Blocks.
    pub fn tidy(&self, now: Timestamp, elapsed: Duration) -> Result<(), BookError> {
        self.0.storage.sync()?;
        let mut compacted = self.0.compacted.lock();
        if self.0.storage.size() < *compacted * 2 + COMPACT_BEYOND_BYTES {
            self.0.state.lock().prune(now, elapsed);
            return Ok(());
        }
        // What is durable waits for the rewrite, off the runtime's threads; what may lag goes on, and is carried over. The
        // state is locked only while it is listed, and while the new file is put in the old one's place.
        let _durable = self.0.durable.lock();
        let snapshot = {
            let mut state = self.0.state.lock();
            state.prune(now, elapsed);
            state.since_rewrite = Some(Vec::new());
            state.snapshot()
        };
        let mut held = None;
        let done = self.0.storage.rewrite_beside(&snapshot, &mut || {
            let state = held.insert(self.0.state.lock());
            state.since_rewrite.take().unwrap_or_default()
        });
        drop(held);
        self.0.state.lock().since_rewrite = None;
        done?;
        *compacted = self.0.storage.size();
        Ok(())
    }

    /// Enters what has to be durable before it counts. Blocks until it is.
    pub(crate) fn enter(&self, entry: Entry) -> Result<Result<(), Unadmitted>, BookError> {
        let durable = self.0.durable.lock();
        self.enter_in_turn(entry, &durable)
    }

    fn enter_in_turn(
        &self,
        entry: Entry,
        _durable: &MutexGuard<'_, ()>,
    ) -> Result<Result<(), Unadmitted>, BookError> {
        if let Err(unadmitted) = self.0.state.lock().admits(&entry) {
            return Ok(Err(unadmitted));
        }
        self.0.storage.append(&entry.encode(), true)?;
        apply(&mut self.0.state.lock(), entry)?;
        Ok(Ok(()))
    }

    /// The same, off the runtime's threads.
    pub(crate) async fn enter_durably(&self, entry: Entry) -> Result<Result<(), Unadmitted>, BookError> {
        self.off_thread(move |book| book.enter(entry)).await
    }

    /// Does what blocks off the runtime's threads; and here, if this book's storage never does.
    pub(crate) async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, BookError> + Send + 'static,
    ) -> Result<T, BookError> {
        let book = self.clone();
        off_thread(self.0.storage.as_ref(), move || work(&book)).await
    }

    /// Enters what may lag a crash by a second.
    pub(crate) fn note(&self, entry: Entry) -> Result<(), BookError> {
        let mut state = self.0.state.lock();
        self.append_lagging(&mut state, entry)
    }

    fn append_lagging(&self, state: &mut State, entry: Entry) -> Result<(), BookError> {
        self.write_lagging(state, entry.encode())?;
        apply(state, entry)
    }

    fn write_lagging(&self, state: &mut State, bytes: Vec<u8>) -> Result<(), BookError> {
        self.0.storage.append(&bytes, false)?;
        if let Some(since) = &mut state.since_rewrite {
            since.push(bytes);
        }
        Ok(())
    }

    /// Spends a use and enters the answer to a fetch, if `check` still holds. An answer under the same request id that
    /// came first wins.
    pub(crate) fn note_answer<E>(
        &self,
        answer: Answer,
        check: impl FnOnce(&State, &GrantRow) -> Result<(), E>,
    ) -> Result<Result<Arc<Answer>, E>, BookError> {
        let mut state = self.0.state.lock();
        if let Some(first) = state.answers.get(&answer.key) {
            return Ok(Ok(Arc::clone(first)));
        }
        let row =
            state.grants.get(&answer.grant).expect("a grant stays in the book, and the caller read it there");
        if let Err(error) = check(&state, row) {
            return Ok(Err(error));
        }
        self.write_lagging(&mut state, answer.to_entry().encode())?;
        state.provided(answer).map(Ok).map_err(|problem| BookError::Entry { number: usize::MAX, problem })
    }

    /// Enters the answer to a preview, unless its link gave way meanwhile, or has had too many lately. An answer under the
    /// same request id that came first wins.
    pub(crate) fn note_preview(&self, one: Previewed) -> Result<Result<Previewed, NotShown>, BookError> {
        let mut state = self.0.state.lock();
        if state.links.get(&one.link).is_none_or(|link| link.replaced.is_some()) {
            return Ok(Err(NotShown::Replaced));
        }
        if let Some(first) = state.previews.find(one.link, one.key) {
            return Ok(Ok(first.clone()));
        }
        let lately = state.previews.since(one.link, one.at.minus(PREVIEW_WINDOW));
        if lately >= MAX_PREVIEWS {
            return Ok(Err(NotShown::TooMany { lately }));
        }
        self.append_lagging(&mut state, one.to_entry())?;
        Ok(Ok(one))
    }

    /// What a transfer of a grant is compared by: the newest preview of the row that it came of, and its key. Once: from
    /// here on the key is gone.
    pub(crate) fn take_comparison(&self, row: &GrantRow) -> Result<Option<Comparing>, BookError> {
        let (mut state, terms) = (self.0.state.lock(), row.terms());
        let Some((preview, key)) = state.previews.comparison(row.link(), (terms.request, terms.offer)) else {
            return Ok(None);
        };
        let comparing = (preview, Zeroizing::new(*key));
        let (link, preview) = (*row.link().as_bytes(), *preview.as_bytes());
        self.append_lagging(&mut state, Entry::Compared { link, preview })?;
        Ok(Some(comparing))
    }

    /// Whether what this book would write anew adds up to what it says, over and over: for tests, of every book that they
    /// fill.
    #[doc(hidden)]
    pub fn reads_back(&self) -> Result<(), BookError> {
        self.0.state.lock().reads_back()
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.0.state.lock())
    }

    pub(crate) fn grant_by(&self, terms: Digest) -> Option<GrantRow> {
        self.0.state.lock().grants.get(&terms).cloned()
    }

    pub(crate) fn knows_own_key(&self, key: &KeyId) -> bool {
        self.0.state.lock().own_keys.contains(key.as_str())
    }
}

impl HeadKeeper for Book {
    fn newest(&self) -> Option<Bytes> {
        self.0.state.lock().checkpoint.clone()
    }

    fn keep_newest(&self, checkpoint: &Bytes) -> Result<(), BookError> {
        self.note(Entry::Checkpoint(checkpoint.to_vec()))
    }

    fn fork(&self) -> Option<LogForked> {
        self.0.state.lock().fork.clone()
    }

    fn keep_fork(&self, fork: &LogForked) -> Result<(), BookError> {
        let (ours, theirs) = (fork.ours.to_vec(), fork.theirs.to_vec());
        self.enter(Entry::Forked { ours, theirs }).map(drop)
    }
}

/// An entry was admitted and is made of verified parts, so a failure here is a bug; still no reason to take a process down.
fn apply(state: &mut State, entry: Entry) -> Result<(), BookError> {
    state.apply(entry).map_err(|problem| BookError::Entry { number: usize::MAX, problem })
}

#[cfg(test)]
impl Drop for Inner {
    /// Every book that a test of this crate fills is one that opens again.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.state.get_mut().reads_back().expect("what would be written anew is this book");
        }
    }
}

#[cfg(test)]
mod tests;
