//! The three threads that write: one commits, one puts full bundles into their files, one applies rows to sled.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use countersign_store::{Batch, CommitError, Head};
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};

use crate::bundles::{BUNDLES_AT_ONCE, BundleFiles, Recent};
use crate::index::{Changes, Index, Trees};
use crate::journal::{Journal, frame};

/// Full bundles that may wait for their files before commits wait for them: 64 are 16,384 leaves, some 20 MiB at the
/// usual size, and about a tenth of a second of the fastest writing.
const MAX_WAITING_BUNDLES: u64 = 64;

/// When this much has gathered in memory, it is applied to sled; less is after [`APPLY_AFTER`].
pub(crate) const APPLY_BYTES: usize = 8 << 20;

/// How long rows gather: long enough that a row which changes with every commit costs next to nothing, short enough
/// that opening the store after a crash has little to do again.
const APPLY_AFTER: Duration = Duration::from_secs(1);

/// When this much has gathered since sled was last given something, commits wait for it.
const MAX_GATHERED_BYTES: usize = 4 * APPLY_BYTES;

/// The frame buffer is kept from commit to commit up to this size; a usual batch is far below it.
const KEPT_FRAME_BYTES: usize = 1 << 20;

/// What readers see. A commit holds it for as long as it takes to change memory: so each read is of one state.
pub(crate) struct View {
    pub(crate) head: Head,
    pub(crate) recent: Recent,
    pub(crate) index: Index,
}

/// What readers and the two threads share.
pub(crate) struct Shared {
    pub(crate) view: RwLock<View>,
    pub(crate) bundles: BundleFiles,
    pub(crate) standing: Standing,
    pub(crate) trees: Arc<Trees>,
    pub(crate) gathered: Gathered,
    /// The size of the public checkpoint; held while one is published.
    pub(crate) published: Mutex<u64>,
    poisoned: AtomicBool,
    /// Locked as long as any of this is in use.
    _lock: std::fs::File,
}

/// How far full bundles stand in their files.
pub(crate) struct Standing {
    state: Mutex<StandingState>,
    changed: Condvar,
}

struct StandingState {
    /// Bundles that are full.
    full: u64,
    /// Those of them that stand.
    standing: u64,
    /// Folders with new names in them.
    unsynced: BTreeSet<PathBuf>,
    /// The bundle thread is asked to end.
    ending: bool,
    /// The bundle thread has ended: nothing will stand that doesn't yet.
    ended: bool,
}

/// How much waits to be applied to sled.
pub(crate) struct Gathered {
    state: Mutex<GatheredState>,
    changed: Condvar,
}

#[derive(Default)]
struct GatheredState {
    bytes: usize,
    /// The thread is asked to end, and whether it is to apply what waits before.
    ending: Option<LastRows>,
    /// The thread has ended: nothing will be applied any more.
    ended: bool,
}

/// What happens to rows that wait to be applied when the store goes. The journal has them in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastRows {
    Applied,
    Left,
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
        trees: Arc<Trees>,
        bundles: BundleFiles,
        published: u64,
        lock: std::fs::File,
    ) -> Shared {
        let full = view.recent.full();
        let state =
            StandingState { full, standing: full, unsynced: BTreeSet::new(), ending: false, ended: false };
        Shared {
            view: RwLock::new(view),
            bundles,
            standing: Standing { state: Mutex::new(state), changed: Condvar::new() },
            trees,
            gathered: Gathered { state: Mutex::default(), changed: Condvar::new() },
            published: Mutex::new(published),
            poisoned: AtomicBool::new(false),
            _lock: lock,
        }
    }

    /// From here on no commit is taken. Readers go on with the state of the last acknowledged one.
    pub(crate) fn poison(&self, cause: &dyn std::fmt::Display) {
        if !self.poisoned.swap(true, Ordering::SeqCst) {
            tracing::error!(%cause, "the store takes no commits until it is opened again");
        }
    }

    fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst)
    }

    fn commit(
        &self,
        journal: &mut Journal,
        frame: &mut Vec<u8>,
        head: Head,
        batch: Batch,
    ) -> Result<Head, CommitError> {
        let room = self.standing.wait_for_room() && self.gathered.wait_for_room();
        // Before the head is looked at: after an unknown commit, the head that readers see may not be the store's.
        if self.is_poisoned() || !room {
            return Err(CommitError::Poisoned);
        }
        let current = self.view.read().head;
        if head != current {
            return Err(CommitError::Raced { current });
        }
        let after = batch.after(head);
        frame::encode(after, &batch, frame);
        // The point of no return: from the sync in here on the commit survives, and recovery finds it.
        if let Err(error) = journal.append(after.sequence, frame) {
            self.poison(&error);
            return Err(CommitError::Unknown { reason: error.to_string() });
        }
        let Batch { puts, deletes, leaves, requests } = batch;
        let mut view = self.view.write();
        view.index.add(after.sequence, Changes { puts, deletes, requests });
        for leaf in leaves {
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
fn run_commits(shared: &Shared, mut journal: Journal, mut jobs: mpsc::Receiver<Job>) {
    let mut frame = Vec::new();
    while let Some(Job { head, batch, reply }) = jobs.blocking_recv() {
        let outcome = shared.commit(&mut journal, &mut frame, head, batch);
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
        let mut view = shared.view.write();
        let layer = view.index.begin_applying();
        shared.gathered.has(0);
        drop(view);
        let Some(layer) = layer else { continue };
        if let Err(error) = shared.trees.apply(&layer) {
            // Reads go on to find these rows in memory.
            return shared.poison(&error);
        }
        shared.view.write().index.applied();
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

/// However a thread ends, by a panic too, those who wait for it learn of it.
struct OnEnd<F: Fn()>(F);

impl<F: Fn()> Drop for OnEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Standing {
    fn has_full(&self, full: u64) {
        let mut state = self.state.lock();
        if state.full != full {
            state.full = full;
            self.changed.notify_all();
        }
    }

    fn stand(&self, more: u64, mut unsynced: BTreeSet<PathBuf>) {
        let mut state = self.state.lock();
        state.standing += more;
        state.unsynced.append(&mut unsynced);
        self.changed.notify_all();
    }

    /// `true` when a bundle waits for its file, `false` when the thread is to end.
    fn wait_for_work(&self) -> bool {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.standing == state.full && !state.ending);
        !state.ending
    }

    /// `true` when a commit may add bundles, `false` when none will ever stand again.
    fn wait_for_room(&self) -> bool {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| {
            state.full - state.standing >= MAX_WAITING_BUNDLES && !state.ended
        });
        !state.ended
    }

    /// `true` when the first `count` bundles stand, `false` when they never will.
    pub(crate) fn wait_for(&self, count: u64) -> bool {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.standing < count && !state.ended);
        state.standing >= count
    }

    /// Waits until all bundles stand that are full now; gives up when they never will.
    pub(crate) fn drain(&self) {
        let full = self.state.lock().full;
        self.wait_for(full);
    }

    /// Takes the folders with new names in them, to sync them.
    pub(crate) fn take_unsynced(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut self.state.lock().unsynced)
    }

    /// Gives back folders that weren't synced after all.
    pub(crate) fn put_back_unsynced(&self, mut folders: BTreeSet<PathBuf>) {
        self.state.lock().unsynced.append(&mut folders);
    }

    /// Asks the bundle thread to end after the bundle in hand.
    pub(crate) fn end(&self) {
        self.state.lock().ending = true;
        self.changed.notify_all();
    }

    fn end_for_good(&self) {
        self.state.lock().ended = true;
        self.changed.notify_all();
    }
}

impl Gathered {
    fn has(&self, bytes: usize) {
        let mut state = self.state.lock();
        let told = state.bytes > 0 && state.bytes < APPLY_BYTES && (1..APPLY_BYTES).contains(&bytes);
        state.bytes = bytes;
        // Most commits only add a little to what gathers already, and wake nobody.
        if !told {
            self.changed.notify_all();
        }
    }

    /// `true` when there are rows to apply, `false` when the thread is to end.
    fn wait_for_work(&self) -> bool {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.bytes == 0 && state.ending.is_none());
        let gathers = |state: &mut GatheredState| state.bytes < APPLY_BYTES && state.ending.is_none();
        self.changed.wait_while_for(&mut state, gathers, APPLY_AFTER);
        match state.ending {
            None => true,
            Some(LastRows::Applied) => state.bytes > 0,
            Some(LastRows::Left) => false,
        }
    }

    /// `true` when a commit may add rows, `false` when none will ever be applied again.
    fn wait_for_room(&self) -> bool {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.bytes >= MAX_GATHERED_BYTES && !state.ended);
        !state.ended
    }

    /// Asks the thread to end.
    pub(crate) fn end(&self, rows: LastRows) {
        self.state.lock().ending = Some(rows);
        self.changed.notify_all();
    }

    fn end_for_good(&self) {
        self.state.lock().ended = true;
        self.changed.notify_all();
    }
}

/// The threads of an open store.
pub(crate) struct Threads {
    pub(crate) commits: JoinHandle<()>,
    pub(crate) others: [JoinHandle<()>; 2],
}

impl Threads {
    /// Starts them.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        journal: Journal,
        jobs: mpsc::Receiver<Job>,
    ) -> std::io::Result<Threads> {
        let spawn = |name: &str, run: Box<dyn FnOnce(&Shared) + Send>| {
            let shared = Arc::clone(shared);
            std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared))
        };
        Ok(Threads {
            commits: spawn("store-commits", Box::new(move |shared| run_commits(shared, journal, jobs)))?,
            others: [
                spawn("store-bundles", Box::new(run_bundles))?,
                spawn("store-index", Box::new(run_applying))?,
            ],
        })
    }

    /// Waits for the commit in hand and ends the threads. Nobody must be able to send jobs any more.
    pub(crate) fn end(self, shared: &Shared, rows: LastRows) {
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
