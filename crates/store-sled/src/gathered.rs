//! How much waits to be applied to sled, for the threads that wait for it.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// When this much has gathered in memory, it is applied to sled; less is after [`APPLY_AFTER`].
pub(crate) const APPLY_BYTES: usize = 8 << 20;

/// How long rows gather: long enough that a row which changes with every commit costs next to nothing, short enough
/// that opening the store after a crash has little to do again.
const APPLY_AFTER: Duration = Duration::from_secs(1);

/// When this much has gathered since sled was last given something, commits wait for it.
const MAX_GATHERED_BYTES: usize = 4 * APPLY_BYTES;

/// How much waits to be applied to sled.
#[derive(Default)]
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

impl Gathered {
    pub(crate) fn has(&self, bytes: usize) {
        let mut state = self.state.lock();
        let told = state.bytes > 0 && state.bytes < APPLY_BYTES && (1..APPLY_BYTES).contains(&bytes);
        state.bytes = bytes;
        // Most commits only add a little to what gathers already, and wake nobody.
        if !told {
            self.changed.notify_all();
        }
    }

    /// `true` when there are rows to apply, `false` when the thread is to end.
    pub(crate) fn wait_for_work(&self) -> bool {
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

    /// Whether nobody waits for rows to be applied, nor will soon.
    pub(crate) fn is_calm(&self) -> bool {
        let state = self.state.lock();
        state.bytes < APPLY_BYTES && state.ending.is_none()
    }

    /// `true` when a commit may add rows, `false` when none will ever be applied again.
    pub(crate) fn wait_for_room(&self) -> bool {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.bytes >= MAX_GATHERED_BYTES && !state.ended);
        !state.ended
    }

    /// Asks the thread to end.
    pub(crate) fn end(&self, rows: LastRows) {
        self.state.lock().ending = Some(rows);
        self.changed.notify_all();
    }

    pub(crate) fn end_for_good(&self) {
        self.state.lock().ended = true;
        self.changed.notify_all();
    }
}
