//! The threads that write: one commits, one puts full bundles into their files, one applies rows to sled, one makes
//! snapshots.
//!
//! What they do when something fails: what a commit, a bundle or the index can't do *poisons* the store, since the next
//! thing would rest on it; so does a journal that is found to be damaged while a snapshot is made, or while it is read since
//! opening believed it, since the store could not be opened again. A snapshot that can't be written, and what can't be cleaned up, is tried again when the next
//! segment is full: until then the journal is longer, nothing else. A publication that fails is tried again by whoever
//! asked for it.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use countersign_store::layout::WIDTH;
use countersign_store::{Batch, CommitError, Head, ReadError};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};

use crate::bundles::{BUNDLES_AT_ONCE, BundleFiles, Lengths, RecentLeaves};
use crate::gathered::{Gathered, LastRows};
use crate::index::{Changes, Index, Recent};
use crate::journal::{Journal, frame};
use crate::scrub::{ScrubError, Wanted};
use crate::snapshot::{Due, Keeper, MakeError, SnapshotWork};
use crate::standing::Standing;

/// The frame buffer is kept from commit to commit up to this size; a usual batch is far below it.
const KEPT_FRAME_BYTES: usize = 1 << 20;

/// How long the thread that applies rows rests at a time, while nobody waits for it.
const REST: Duration = Duration::from_millis(1);

/// How often it rests in one layer at most: its rests add a third of a second to a layer of any size.
const MAX_RESTS: usize = 300;

/// The fewest rows between two rests: about a millisecond's work.
const MIN_STRIDE_ROWS: usize = 32;

/// What readers see. A commit holds it for as long as it takes to change memory: so each read is of one state.
pub(crate) struct View {
    pub(crate) head: Head,
    pub(crate) recent: RecentLeaves,
    /// The lengths of all bundles.
    pub(crate) lengths: Lengths,
    pub(crate) index: Index,
}

/// What readers and the threads share.
pub(crate) struct Shared {
    pub(crate) view: RwLock<View>,
    pub(crate) bundles: BundleFiles,
    pub(crate) standing: Standing,
    /// Held for a commit, until readers see it; and to close a segment.
    journal: Mutex<Journal>,
    /// Held while a layer is applied: with it the trees are as the last layer left them.
    pub(crate) applying: Mutex<()>,
    pub(crate) gathered: Gathered,
    /// The size of the public checkpoint; held while one is published.
    pub(crate) published: Mutex<u64>,
    pub(crate) snapshots: SnapshotWork,
    /// Why no commit is taken any more.
    poisoned: OnceLock<String>,
    /// Locked as long as any of this is in use.
    _lock: std::fs::File,
}

/// One commit on its way to the thread that writes.
pub(crate) struct Job {
    pub(crate) head: Head,
    pub(crate) batch: Batch,
    pub(crate) reply: oneshot::Sender<Result<Head, CommitError>>,
}

impl Shared {
    pub(crate) fn new(
        view: View,
        journal: Journal,
        bundles: BundleFiles,
        published: u64,
        snapshots: SnapshotWork,
        lock: std::fs::File,
    ) -> Shared {
        let full = view.recent.full();
        // The process before may have ended after it gave these their names and before it synced those.
        let unsynced = bundles.folders(published / WIDTH..full);
        Shared {
            view: RwLock::new(view),
            bundles,
            standing: Standing::new(full, unsynced),
            journal: Mutex::new(journal),
            applying: Mutex::new(()),
            gathered: Gathered::default(),
            published: Mutex::new(published),
            snapshots,
            poisoned: OnceLock::new(),
            _lock: lock,
        }
    }

    /// From here on no commit is taken. Readers go on with the state of the last acknowledged one.
    pub(crate) fn poison(&self, cause: &dyn std::fmt::Display) {
        let cause = cause.to_string();
        if self.poisoned.set(cause.clone()).is_ok() {
            tracing::error!(%cause, "the store takes no commits until it is opened again");
        }
    }

    /// Why no commit is taken any more.
    pub(crate) fn poisoned(&self) -> Option<&str> {
        self.poisoned.get().map(String::as_str)
    }

    /// Makes durable the names of all bundles that stand, and returns how many they are.
    pub(crate) fn sync_bundles(&self) -> io::Result<u64> {
        // A publication that has taken such names and not synced them yet is waited for.
        let _published = self.published.lock();
        let (standing, folders) = self.standing.take_unsynced();
        let synced = folders.iter().try_for_each(|folder| self.bundles.files.sync_folder(folder));
        if synced.is_err() {
            self.standing.put_back_unsynced(folders);
        }
        synced.map(|()| standing)
    }

    /// Closes the segment that is open, if there is a frame in it. Returns the last closed segment, 0 if there is none, and
    /// the head that it reaches.
    pub(crate) fn roll(&self) -> io::Result<(u64, Head)> {
        let mut journal = self.journal.lock();
        if let Some(cause) = self.poisoned() {
            return Err(io::Error::other(cause.to_owned()));
        }
        let head = self.view.read().head;
        let rolled = journal.roll(head.sequence + 1).inspect_err(|error| self.poison(error))?;
        if let Some((segment, bytes)) = rolled {
            self.snapshots.closed(segment, bytes);
        }
        Ok((journal.segment() - 1, head))
    }

    /// Whether a row stands.
    pub(crate) fn stands(&self, key: &[u8]) -> Result<bool, ReadError> {
        let recent = self.view.read().index.recent(key);
        match recent {
            Recent::Row(_) => Ok(true),
            Recent::Deleted => Ok(false),
            Recent::Elsewhere(asked) => Ok(asked.get(key)?.is_some()),
        }
    }

    fn commit(&self, frame: &mut Vec<u8>, head: Head, batch: Batch) -> Result<Head, CommitError> {
        let room = self.standing.wait_for_room() && self.gathered.wait_for_room();
        let mut journal = self.journal.lock();
        // Before the head is looked at: after an unknown commit, the head that readers see may not be the store's.
        if self.poisoned().is_some() || !room {
            return Err(CommitError::Poisoned);
        }
        let current = self.view.read().head;
        if head != current {
            return Err(CommitError::Raced { current });
        }
        let after = batch.after(head);
        frame::encode(after, &batch, frame);
        // The point of no return: from the sync in here on the commit survives, and recovery finds it.
        match journal.append(after.sequence, frame) {
            Ok(None) => {}
            Ok(Some((segment, bytes))) => self.snapshots.closed(segment, bytes),
            Err(error) => {
                self.poison(&error);
                return Err(CommitError::Unknown { reason: error.to_string() });
            }
        }
        let Batch { puts, deletes, leaves, requests } = batch;
        let mut view = self.view.write();
        view.index.add(after.sequence, Changes { puts, deletes, requests });
        for leaf in leaves {
            view.lengths.push(leaf.record.len(), leaf.private.len());
            view.recent.push(leaf);
        }
        view.head = after;
        // Still under the lock, so that what is told here comes in the order in which it became true.
        self.standing.has_full(view.recent.full());
        self.gathered.has(view.index.gathered_bytes());
        Ok(after)
    }
}

/// Runs the thread that commits, until nobody can send it a job any more.
fn run_commits(shared: &Shared, mut jobs: mpsc::Receiver<Job>) {
    let mut frame = Vec::new();
    while let Some(Job { head, batch, reply }) = jobs.blocking_recv() {
        let outcome = shared.commit(&mut frame, head, batch);
        // A caller that went away doesn't undo its commit.
        drop(reply.send(outcome));
        if frame.capacity() > KEPT_FRAME_BYTES {
            frame = Vec::new();
        }
    }
}

/// Runs the thread that applies rows to sled, until it is asked to end or fails.
fn run_applying(shared: &Shared) {
    let _ended = OnEnd(|| shared.gathered.end_for_good());
    while shared.gathered.wait_for_work() {
        let _applying = shared.applying.lock();
        let mut view = shared.view.write();
        let (layer, trees) = (view.index.begin_applying(), view.index.trees());
        shared.gathered.has(0);
        drop(view);
        let Some(layer) = layer else { continue };
        let mut stride = Stride::over(layer.len());
        let rest = || {
            if stride.is_due() && shared.gathered.is_calm() {
                std::thread::sleep(REST);
            }
        };
        if let Err(error) = trees.apply(&layer, rest) {
            // Reads go on to find these rows in memory.
            return shared.poison(&format!("the index: {error}"));
        }
        shared.view.write().index.applied();
    }
}

/// When to rest while many rows are applied: applied in one go they would keep a processor for tens of milliseconds each
/// second, and the calls of that time wait.
struct Stride {
    rows: usize,
    done: usize,
}

impl Stride {
    fn over(rows: usize) -> Self {
        Self { rows: (rows / MAX_RESTS).max(MIN_STRIDE_ROWS), done: 0 }
    }

    fn is_due(&mut self) -> bool {
        self.done += 1;
        self.done.is_multiple_of(self.rows)
    }
}

/// Runs the thread that puts full bundles into their files, until it is asked to end or fails.
fn run_bundles(shared: &Shared) {
    let _ended = OnEnd(|| shared.standing.end_for_good());
    while shared.standing.wait_for_work() {
        let bundles = shared.view.read().recent.first_full(BUNDLES_AT_ONCE);
        let mut unsynced = BTreeSet::new();
        if let Err(error) = shared.bundles.write_all(&bundles, &mut unsynced) {
            return shared.poison(&error);
        }
        // Out of memory only now, when a reader that misses them there finds them in their files.
        shared.view.write().recent.forget_first(bundles.len());
        shared.standing.stand(bundles.len() as u64, unsynced);
    }
}

/// Runs the thread that makes snapshots and cleans up behind them, and reads what opening believed, until it is asked to end
/// or the journal is damaged.
fn run_snapshots(shared: &Shared, mut keeper: Keeper) {
    let _ended = OnEnd(|| shared.snapshots.end_for_good());
    while let Some(due) = shared.snapshots.wait() {
        let made = match due {
            Due::Snapshot(last_closed) => {
                let made = keeper.make(last_closed, &shared.snapshots.ending).map(Some);
                if let Err(MakeError::Io(_)) = made {
                    shared.snapshots.failed(last_closed);
                }
                made
            }
            Due::Check(what) => {
                let checked = keeper.check(what, &shared.snapshots);
                match checked {
                    Ok(_) if shared.snapshots.checked() => {
                        tracing::info!("snapshot and journal are what they were when the store was closed");
                    }
                    Err(MakeError::Io(_)) => shared.snapshots.unreadable(),
                    _ => {}
                }
                checked
            }
            Due::Scrub(Wanted { left, reply }) => {
                let scrubbed = shared.scrub(&mut keeper, &*left);
                if let Err(ScrubError::Store(error)) = &scrubbed {
                    shared.poison(error);
                }
                drop(reply.send(scrubbed));
                continue;
            }
        };
        let cleaned = match made {
            Ok(None) => Ok(()),
            Ok(Some(made)) => {
                shared.snapshots.made(made);
                // Leaves of the segments that are to go may be on their way.
                shared.standing.drain();
                shared.sync_bundles().and_then(|bundles| keeper.clean(bundles))
            }
            Err(MakeError::Ended) => return,
            Err(error @ (MakeError::Damaged(_) | MakeError::Base(_))) => return shared.poison(&error),
            Err(MakeError::Io(error)) => Err(error),
        };
        if let Err(error) = cleaned {
            tracing::warn!(%error, "no snapshot, or one not read or not cleaned up behind; it is tried again with the next segment");
        }
    }
}

/// However a thread ends, by a panic too, those who wait for it learn of it.
struct OnEnd<F: Fn()>(F);

impl<F: Fn()> Drop for OnEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The threads of an open store.
pub(crate) struct Threads {
    commits: JoinHandle<()>,
    others: [JoinHandle<()>; 3],
}

impl Threads {
    /// Starts them.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        keeper: Keeper,
        jobs: mpsc::Receiver<Job>,
    ) -> io::Result<Threads> {
        let spawn = |name: &str, run: Box<dyn FnOnce(&Shared) + Send>| {
            let shared = Arc::clone(shared);
            std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared))
        };
        Ok(Threads {
            commits: spawn("store-commits", Box::new(move |shared| run_commits(shared, jobs)))?,
            others: [
                spawn("store-bundles", Box::new(run_bundles))?,
                spawn("store-index", Box::new(run_applying))?,
                spawn("store-snapshots", Box::new(move |shared| run_snapshots(shared, keeper)))?,
            ],
        })
    }

    /// Waits for the commit in hand and ends the threads. Nobody must be able to send jobs any more.
    pub(crate) fn end(self, shared: &Shared, rows: LastRows) {
        shared.snapshots.end();
        // A thread that panicked has told those who waited for it.
        if rows == LastRows::Applied {
            // After the thread that commits no bundle gets full and no row is added.
            drop(self.commits.join());
            shared.standing.drain();
            shared.standing.end();
            shared.gathered.end(rows);
        } else {
            // The commit in hand may be waiting for one of the others, which lets it go when it ends.
            shared.standing.end();
            shared.gathered.end(rows);
            drop(self.commits.join());
        }
        for thread in self.others {
            drop(thread.join());
        }
    }
}
