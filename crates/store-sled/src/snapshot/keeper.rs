//! Making snapshots in the background, and cleaning up the journal behind them.
//!
//! A new snapshot is the one before it with the journal segments since: sled has no part in it, so that a fault of
//! sled's can't become the truth. The old one is read and the new one written as streams; only the rows that those
//! segments change are in memory.
//!
//! What is durable when, and what is found if the machine stops there:
//!
//! 1. The new snapshot, in scratch: nothing of it counts, and opening empties scratch.
//! 2. Its name, once the folder is synced: three snapshots stand, and opening uses the newest.
//! 3. The removal of all but two, and the folder synced again: before this no segment goes. Otherwise an older snapshot
//!    could come back without the segments that follow it, and opening would miss those.
//! 4. The removal of segments that the older of the two covers, and whose leaves stand in bundles whose names are
//!    synced. Any of them may come back; opening ignores what lies before a gap, and removes it.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign_store::Head;
use countersign_store::layout::WIDTH;
use parking_lot::{Condvar, Mutex};

use super::checking::{Believed, CHECKED_BYTES_A_SECOND};
use super::{Header, Item, Reader, SnapshotError, Writer, path, verify};
use crate::bundles::Lengths;
use crate::errors::{Damage, OpenError};
use crate::files::Files;
use crate::index::is_stale;
use crate::journal::{frame, replay};
use crate::manifest::StoreId;
use crate::placer::Placer;
use crate::scrub::Wanted;
use crate::stretch::{Base, Stretch};

/// How many snapshots stand: the one before the newest is there for the day when the newest is damaged.
pub(crate) const SNAPSHOTS_KEPT: usize = 2;

/// When changes take this much memory, a snapshot ends at the segment in hand, and the next one goes on. Segments that
/// waited for long, since snapshots failed, are taken up in such parts.
const MAX_STRETCH_BYTES: usize = 192 << 20;

/// A snapshot that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) next_segment: u64,
    pub(crate) head: Head,
    /// The length of its file.
    pub(crate) bytes: u64,
}

/// Makes snapshots and cleans up.
pub(crate) struct Keeper {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) placer: Arc<Placer>,
    pub(crate) journal: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) id: StoreId,
    /// The oldest first.
    pub(crate) kept: Vec<Kept>,
    /// The oldest journal segment that is there.
    pub(crate) first_segment: u64,
}

/// Why there is no new snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    /// The system refuses; another time it may not.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The journal, or the last snapshot before its beginning, is damaged: the store couldn't be opened again.
    #[error("{0}")]
    Damaged(OpenError),
    /// The store is going.
    #[error("the store is going")]
    Ended,
    /// The snapshot that this one was to be based on can't be read.
    #[error("{0}")]
    Base(#[from] SnapshotError),
}

impl From<OpenError> for MakeError {
    fn from(error: OpenError) -> MakeError {
        match error {
            OpenError::Io { source, .. } => MakeError::Io(source),
            damaged => MakeError::Damaged(damaged),
        }
    }
}

impl Keeper {
    /// Makes a snapshot of the state at the end of a closed segment.
    pub(crate) fn make(&mut self, last_closed: u64, ending: &AtomicBool) -> Result<Kept, MakeError> {
        loop {
            let base = self.kept.last().copied();
            let error = match self.make_from(base, last_closed, ending) {
                Ok(made) => {
                    // It is there from now on, whether its name is durable or not: a scrub must find it.
                    self.kept.push(made);
                    self.files.sync_folder(&self.folder)?;
                    return Ok(made);
                }
                Err(MakeError::Base(SnapshotError::Io { source, .. })) => return Err(source.into()),
                Err(MakeError::Base(error)) => error,
                Err(error) => return Err(error),
            };
            tracing::error!(%error, "a snapshot is of no use");
            if self.kept.len() > 1 {
                self.remove_last()?;
                continue;
            }
            // The only one goes when all of it was made again, from a journal that still has its beginning. Whether it is the
            // disk that is wrong, or what was read of it, another opening may find out.
            if self.first_segment > 1 {
                return Err(MakeError::Damaged(error.into()));
            }
            let made = self.make_from(None, last_closed, ending)?;
            // As above: known from now on, whatever becomes of its name.
            let useless = std::mem::replace(&mut self.kept, vec![made]);
            self.files.sync_folder(&self.folder)?;
            for useless in useless.iter().filter(|it| it.next_segment != made.next_segment) {
                self.files.remove(&path(&self.folder, useless.next_segment))?;
            }
            return Ok(made);
        }
    }

    /// Removes the last snapshot, which is of no use.
    fn remove_last(&mut self) -> io::Result<()> {
        let Some(useless) = self.kept.last() else { return Ok(()) };
        self.files.remove(&path(&self.folder, useless.next_segment))?;
        self.kept.pop();
        Ok(())
    }

    /// Puts a snapshot in its place. Its name is durable once the folder is synced.
    fn make_from(
        &self,
        base: Option<Kept>,
        last_closed: u64,
        ending: &AtomicBool,
    ) -> Result<Kept, MakeError> {
        let reader = match base {
            Some(base) => Some(Reader::open(&*self.files, &self.folder, base.next_segment, self.id)?),
            None => None,
        };
        let mut lengths = reader.as_ref().map_or_else(Lengths::default, |reader| reader.lengths().clone());
        let mut head = base.map_or_else(Head::default, |base| base.head);
        let mut segment = base.map_or(1, |base| base.next_segment);
        let mut changes = Stretch::default();
        while segment <= last_closed && changes.bytes() < MAX_STRETCH_BYTES {
            check_ending(ending)?;
            let add = |commit: replay::Commit| {
                let batch = frame::batch(commit.body);
                let batch = batch.ok_or_else(|| commit.place.is(Damage::Content))?;
                for leaf in &batch.leaves {
                    lengths.push(leaf.record.len(), leaf.private.len());
                }
                changes.add(commit.after.sequence, batch);
                Ok(())
            };
            let read = replay::read_segment(&*self.files, &self.journal, segment, Some(head), false, add);
            head = read.and_then(replay::Segment::needed_whole)?.after;
            segment += 1;
        }
        let base_hour = reader.as_ref().map_or(0, |reader| reader.header().newest_hour);
        let newest_hour = changes.newest_hour().unwrap_or(0).max(base_hour);
        let header = Header { id: self.id, head, next_segment: segment, newest_hour };
        let mut writer = Writer::begin(&*self.files, &self.placer, &header)?;
        let write = || -> Result<(), MakeError> {
            writer.lengths(&lengths)?;
            changes.over(&mut Base::new(reader), |item| {
                check_ending(ending)?;
                match &item {
                    Item::Request { hour, .. } if is_stale(*hour, Some(newest_hour)) => Ok(()),
                    item => Ok(writer.item(item)?),
                }
            })
        };
        if let Err(error) = write() {
            writer.discard(&*self.files);
            return Err(error);
        }
        let path = path(&self.folder, segment);
        writer.place(&*self.files, &path)?;
        // By its length alone it is known when the next one is due.
        let bytes = self.files.length(&path).ok().flatten().unwrap_or(0);
        Ok(Kept { next_segment: segment, head, bytes })
    }

    /// Reads all of the last snapshot: whether it is what was written. If it isn't, and another one stands, it goes.
    pub(crate) fn verify_last(&mut self) -> Result<Kept, MakeError> {
        let last = *self.kept.last().ok_or(MakeError::Ended)?;
        match verify(&*self.files, &self.folder, last.next_segment, self.id, |_| Ok::<_, SnapshotError>(())) {
            Ok(_) => Ok(last),
            Err(error) if self.kept.len() > 1 => {
                self.remove_last()?;
                Err(MakeError::Io(io::Error::other(error)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes all snapshots but the last.
    pub(crate) fn keep_last(&mut self) -> io::Result<()> {
        while self.kept.len() > 1 {
            self.files.remove(&path(&self.folder, self.kept[0].next_segment))?;
            self.kept.remove(0);
        }
        self.files.sync_folder(&self.folder)
    }

    /// Removes all snapshots but the last two, and the segments that both cover, as far as their leaves stand in
    /// `bundles` full bundles whose names are synced.
    pub(crate) fn clean(&mut self, bundles: u64) -> io::Result<()> {
        while self.kept.len() > SNAPSHOTS_KEPT {
            self.files.remove(&path(&self.folder, self.kept[0].next_segment))?;
            self.kept.remove(0);
        }
        self.files.sync_folder(&self.folder)?;
        let [older, _] = self.kept[..] else { return Ok(()) };
        if older.head.size > bundles * WIDTH {
            return Ok(());
        }
        while self.first_segment < older.next_segment {
            replay::remove(&*self.files, &self.journal, &[self.first_segment])?;
            self.first_segment += 1;
        }
        Ok(())
    }
}

fn check_ending(ending: &AtomicBool) -> Result<(), MakeError> {
    if ending.load(Ordering::Relaxed) { Err(MakeError::Ended) } else { Ok(()) }
}

/// What the thread that makes snapshots is to do.
pub(crate) enum Due {
    /// A snapshot up to this closed segment.
    Snapshot(u64),
    /// A scrub that somebody waits for.
    Scrub(Wanted),
    /// A look at something that opening believed.
    Check(Believed),
}

/// What the thread that makes snapshots waits for.
pub(crate) struct SnapshotWork {
    state: Mutex<WorkState>,
    changed: Condvar,
    /// Closed segments that no snapshot covers make one due when they have this much, and as much as the newest snapshot.
    due_bytes: u64,
    pub(crate) ending: AtomicBool,
}

#[derive(Default)]
struct WorkState {
    /// Closed segments that the newest snapshot doesn't cover, with their lengths.
    closed: VecDeque<(u64, u64)>,
    /// The length of the newest snapshot. All of it is written anew each time: like this no more is written to snapshots
    /// than to the journal, however much lives.
    newest_bytes: u64,
    /// The segment up to which a snapshot was tried and failed: the next try waits for a further one.
    failed: u64,
    /// Scrubs that are waited for.
    scrubs: VecDeque<Wanted>,
    /// What opening believed and nobody has read since.
    believed: VecDeque<Believed>,
    /// What was believed could not be read: the next try waits for a further segment.
    unreadable: bool,
    /// The thread waits for work.
    idle: bool,
    /// The thread has ended.
    ended: bool,
}

impl WorkState {
    fn due(&self, due_bytes: u64) -> Option<u64> {
        let bytes: u64 = self.closed.iter().map(|(_, bytes)| bytes).sum();
        let last = self.closed.back().map(|(segment, _)| *segment)?;
        (bytes >= due_bytes.max(self.newest_bytes) && last > self.failed).then_some(last)
    }

    fn check(&self) -> Option<Believed> {
        self.believed.front().copied().filter(|_| !self.unreadable)
    }
}

impl SnapshotWork {
    pub(crate) fn new(
        due_bytes: u64,
        newest_bytes: u64,
        closed: VecDeque<(u64, u64)>,
        believed: VecDeque<Believed>,
    ) -> SnapshotWork {
        let state = Mutex::new(WorkState { closed, newest_bytes, believed, ..WorkState::default() });
        SnapshotWork { state, changed: Condvar::new(), due_bytes, ending: AtomicBool::new(false) }
    }

    /// A segment was closed.
    pub(crate) fn closed(&self, segment: u64, bytes: u64) {
        let mut state = self.state.lock();
        if !state.ended {
            state.closed.push_back((segment, bytes));
            state.unreadable = false;
        }
        self.changed.notify_all();
    }

    /// Asks for a scrub.
    pub(crate) fn scrub(&self, wanted: Wanted) {
        let mut state = self.state.lock();
        // Whoever waits learns that it is not to be when this is dropped.
        if !state.ended {
            state.scrubs.push_back(wanted);
        }
        self.changed.notify_all();
    }

    /// What is due; `None` when the thread is to end.
    pub(crate) fn wait(&self) -> Option<Due> {
        let mut state = self.state.lock();
        while !self.ending.load(Ordering::Relaxed) {
            let scrub = state.scrubs.pop_front().map(Due::Scrub);
            let due = scrub.or_else(|| state.due(self.due_bytes).map(Due::Snapshot));
            let due = due.or_else(|| state.check().map(Due::Check));
            state.idle = due.is_none();
            if due.is_some() {
                return due;
            }
            self.changed.notify_all();
            self.changed.wait(&mut state);
        }
        None
    }

    /// Waits until all snapshots that are due are made, or have failed, and what was believed is read.
    #[cfg(test)]
    pub(crate) fn settle(&self) {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| !state.idle || state.due(self.due_bytes).is_some());
    }

    /// Rests after so much was read of what was believed; no longer than until something is waited for.
    pub(crate) fn rest_after(&self, bytes: u64) -> Result<(), MakeError> {
        let rest = Duration::from_secs_f64(bytes as f64 / CHECKED_BYTES_A_SECOND as f64);
        let mut state = self.state.lock();
        let nothing_else = |state: &mut WorkState| {
            !self.ending.load(Ordering::Relaxed)
                && state.scrubs.is_empty()
                && state.due(self.due_bytes).is_none()
        };
        self.changed.wait_while_for(&mut state, nothing_else, rest);
        check_ending(&self.ending)
    }

    /// What was to be read is what it was. Says whether that was all of it.
    pub(crate) fn checked(&self) -> bool {
        let mut state = self.state.lock();
        state.believed.pop_front();
        state.believed.is_empty()
    }

    /// What was to be read can't be.
    pub(crate) fn unreadable(&self) {
        self.state.lock().unreadable = true;
    }

    /// What is to be read next, by its [number](Believed::number); 0 if nothing is.
    pub(crate) fn check_from(&self) -> u64 {
        self.state.lock().believed.front().map_or(0, |believed| believed.number())
    }

    pub(crate) fn made(&self, made: Kept) {
        let mut state = self.state.lock();
        let next_segment = made.next_segment;
        state.newest_bytes = made.bytes;
        state.closed.retain(|(segment, _)| *segment >= next_segment);
        state.failed = 0;
    }

    pub(crate) fn failed(&self, segment: u64) {
        self.state.lock().failed = segment;
    }

    /// The thread has ended: nothing is made any more.
    pub(crate) fn end_for_good(&self) {
        let mut state = self.state.lock();
        (state.idle, state.ended) = (true, true);
        state.closed.clear();
        state.scrubs.clear();
        self.changed.notify_all();
    }

    /// Asks the thread to end.
    pub(crate) fn end(&self) {
        let _state = self.state.lock();
        self.ending.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }
}
