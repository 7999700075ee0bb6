//! The two threads that write: one commits, the other puts full bundles into their files.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_store::{Batch, CommitError, Head};
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};

use crate::bundles::{BundleFiles, Recent};
use crate::index::{Index, RetiredHours};
use crate::journal::{Journal, frame};

/// Full bundles that may wait for their files before commits wait for them: 64 are 16,384 leaves, some 20 MiB at the
/// usual size, and about a tenth of a second of the fastest writing.
const MAX_WAITING_BUNDLES: u64 = 64;

/// The frame buffer is kept from commit to commit up to this size; a usual batch is far below it.
const KEPT_FRAME_BYTES: usize = 1 << 20;

/// What readers see. Held for writing only while a batch is applied: so each read is of one state.
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

/// One commit on its way to the thread that writes.
pub(crate) struct Job {
    pub(crate) head: Head,
    pub(crate) batch: Batch,
    pub(crate) reply: oneshot::Sender<Result<Head, CommitError>>,
}

impl Shared {
    pub(crate) fn new(view: View, bundles: BundleFiles, published: u64, lock: std::fs::File) -> Shared {
        let full = view.recent.full();
        let state =
            StandingState { full, standing: full, unsynced: BTreeSet::new(), ending: false, ended: false };
        Shared {
            view: RwLock::new(view),
            bundles,
            standing: Standing { state: Mutex::new(state), changed: Condvar::new() },
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

    fn unknown(&self, cause: &dyn std::fmt::Display) -> CommitError {
        self.poison(cause);
        CommitError::Unknown { reason: cause.to_string() }
    }

    fn commit(
        &self,
        journal: &mut Journal,
        frame: &mut Vec<u8>,
        head: Head,
        batch: Batch,
    ) -> Result<(Head, RetiredHours), CommitError> {
        // Before the head is looked at: after an unknown commit, the head that readers see may not be the store's.
        let room = self.standing.wait_for_room();
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
        journal.append(after.sequence, frame).map_err(|error| self.unknown(&error))?;

        let mut view = self.view.write();
        let retired = view.index.apply(after.sequence, &batch).map_err(|error| self.unknown(&error))?;
        for leaf in batch.leaves {
            view.recent.push(leaf);
        }
        view.head = after;
        let full = view.recent.full();
        drop(view);
        self.standing.has_full(full);
        Ok((after, retired))
    }
}

/// Runs the thread that commits, until nobody can send it a job any more.
pub(crate) fn run_commits(shared: &Shared, mut journal: Journal, mut jobs: mpsc::Receiver<Job>) {
    let mut frame = Vec::new();
    while let Some(Job { head, batch, reply }) = jobs.blocking_recv() {
        let outcome = shared.commit(&mut journal, &mut frame, head, batch);
        frame.shrink_to(KEPT_FRAME_BYTES);
        let (answer, retired) = match outcome {
            Ok((after, retired)) => (Ok(after), Some(retired)),
            Err(error) => (Err(error), None),
        };
        // A caller that went away doesn't undo its commit.
        drop(reply.send(answer));
        if let Some(Err(error)) = retired.map(RetiredHours::free) {
            shared.poison(&error);
        }
    }
}

/// Runs the thread that puts full bundles into their files, until it is asked to end or fails.
pub(crate) fn run_bundles(shared: &Shared) {
    /// However this thread ends, those who wait for it learn of it.
    struct Ended<'a>(&'a Standing);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            self.0.state.lock().ended = true;
            self.0.changed.notify_all();
        }
    }
    let _ended = Ended(&shared.standing);

    while shared.standing.wait_for_work() {
        let next = shared.view.read().recent.next_full();
        let (number, leaves) =
            next.expect("a bundle is announced when it is full, and only this thread forgets it");
        let mut unsynced = BTreeSet::new();
        if let Err(error) = shared.bundles.write(number, &leaves, &mut unsynced) {
            return shared.poison(&error);
        }
        shared.view.write().recent.forget_first();
        shared.standing.stands(number + 1, unsynced);
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

    fn stands(&self, standing: u64, mut unsynced: BTreeSet<PathBuf>) {
        let mut state = self.state.lock();
        state.standing = standing;
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
}

/// Starts both threads.
pub(crate) fn start(
    shared: &Arc<Shared>,
    journal: Journal,
    jobs: mpsc::Receiver<Job>,
) -> std::io::Result<[std::thread::JoinHandle<()>; 2]> {
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(run)
    };
    let (commits, bundles) = (Arc::clone(shared), Arc::clone(shared));
    Ok([
        spawn("store-commits", Box::new(move || run_commits(&commits, journal, jobs)))?,
        spawn("store-bundles", Box::new(move || run_bundles(&bundles)))?,
    ])
}
