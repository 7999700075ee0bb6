//! How far full bundles stand in their files, for the threads that wait for it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use parking_lot::{Condvar, Mutex};

/// Full bundles that may wait for their files before commits wait for them: 64 are 16,384 leaves, some 20 MiB at the
/// usual size, and about a tenth of a second of the fastest writing.
const MAX_WAITING_BUNDLES: u64 = 64;

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

impl Standing {
    /// So many bundles are full and stand; the names in these folders aren't synced.
    pub(crate) fn new(standing: u64, unsynced: BTreeSet<PathBuf>) -> Standing {
        let state = StandingState { full: standing, standing, unsynced, ending: false, ended: false };
        Standing { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(crate) fn has_full(&self, full: u64) {
        let mut state = self.state.lock();
        if state.full != full {
            state.full = full;
            self.changed.notify_all();
        }
    }

    pub(crate) fn stand(&self, more: u64, mut unsynced: BTreeSet<PathBuf>) {
        let mut state = self.state.lock();
        state.standing += more;
        state.unsynced.append(&mut unsynced);
        self.changed.notify_all();
    }

    /// `true` when a bundle waits for its file, `false` when the thread is to end.
    pub(crate) fn wait_for_work(&self) -> bool {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.standing == state.full && !state.ending);
        !state.ending
    }

    /// `true` when a commit may add bundles, `false` when none will ever stand again.
    pub(crate) fn wait_for_room(&self) -> bool {
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

    /// How many bundles stand, and the folders that have to be synced for their names to be durable.
    pub(crate) fn take_unsynced(&self) -> (u64, BTreeSet<PathBuf>) {
        let mut state = self.state.lock();
        (state.standing, std::mem::take(&mut state.unsynced))
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

    pub(crate) fn end_for_good(&self) {
        self.state.lock().ended = true;
        self.changed.notify_all();
    }
}
