//! Taking off the disk what does not live any more, while the store is in use.
//!
//! What is durable when, and what is found if the machine stops there:
//!
//! 1. A new segment, and a snapshot of everything before it, read back: more than there must be, and all of it consistent.
//! 2. Private bundles, each put whole in its old one's place.
//! 3. The removal of the older snapshots: from here on no rows are read from the segments that the last one covers.
//! 4. The removal of those segments, oldest first, as far as their leaves stand in bundles; the others, each put in its
//!    old one's place without its rows. Their heads and lengths are the same, so they still continue one another. Then the
//!    folder that all files come from, so that none is there under its first name again.
//! 5. sled, made anew beside the old one, from that snapshot and the journal since; and then the removal of the old one.
//!    Opening takes the old one as long as it is there.
//!
//! The last snapshot is the only one then, until the next one is made; so it is read back before the others go.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use countersign_store::layout::WIDTH;
use countersign_store::{Batch, Head, ReadError};
use tokio::sync::oneshot;

use crate::bundles::Part;
use crate::errors::{Damage, OpenError};
use crate::gathered::APPLY_BYTES;
use crate::index::{Changes, Index, Restore, Trees, caught, place};
use crate::journal::{frame, replay, strip};
use crate::snapshot::{Keeper, Kept, MakeError, Reader, SnapshotError};
use crate::writer::Shared;

/// What is to be left of a private part, if that is less than stands there; of the same length. It is given a way to ask
/// whether a row of some key stands.
pub type Left = dyn Fn(&[u8], &dyn Fn(&[u8]) -> Result<bool, ReadError>) -> Result<Option<Vec<u8>>, ReadError>
    + Send
    + Sync;

/// What is left of a private part, by the rows that stand; nothing if all of it is.
pub(crate) type LeftOf<'a> = dyn Fn(&[u8]) -> Result<Option<Vec<u8>>, ReadError> + 'a;

/// Rows that are put into the new index between two rests: some milliseconds' work, so that calls get the processor.
const ROWS_BETWEEN_RESTS: u64 = 64;

/// Keys of which it is remembered whether they stand: some megabytes.
const REMEMBERED_KEYS: usize = 1 << 16;

/// How long a rest is.
const REST: Duration = Duration::from_millis(1);

/// How often it is looked whether everybody has let go of the old index. Who asks it holds it for microseconds.
const LOOKS: u32 = 10_000;

/// How long it is waited between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// A scrub that somebody waits for.
pub(crate) struct Wanted {
    pub(crate) left: Arc<Left>,
    pub(crate) reply: oneshot::Sender<Result<Scrubbed, ScrubError>>,
}

/// What a scrub did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Private parts that were blanked in bundles.
    pub blanked: u64,
    /// Journal segments that were removed.
    pub removed: u64,
    /// Journal segments of which the leaves alone are left.
    pub stripped: u64,
}

/// Why a store was not scrubbed to the end. It is as before, and the same again goes on.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// The journal or its snapshot is damaged: the store takes no commits any more.
    #[error("{0}")]
    Store(OpenError),
    /// A bundle or a row can't be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// No new index can be made.
    #[error("the new index: {0}")]
    Index(#[from] sled::Error),
    /// The system refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The store is being closed.
    #[error("the store is being closed")]
    Ended,
}

impl Shared {
    /// Scrubs; blocks. On the thread that makes snapshots, so that nobody else does.
    pub(crate) fn scrub(&self, keeper: &mut Keeper, left: &Left) -> Result<Scrubbed, ScrubError> {
        let mut scrubbed = Scrubbed::default();
        let (last, head) = self.roll()?;
        if last == 0 {
            return Ok(scrubbed);
        }
        while keeper.kept.last().is_none_or(|kept| kept.next_segment <= last) {
            self.snapshots.made(keeper.make(last, &self.snapshots.ending)?);
        }
        let kept = keeper.verify_last()?;
        // No more than two, should this be cut off and tried again. No segment goes by this.
        keeper.clean(0)?;

        let standing = Memo::default();
        let left = |part: &[u8]| left(part, &|key: &[u8]| standing.of(key, || self.stands(key)));
        self.blank_recent(head.size, &left)?;
        // What was on its way to its file when that was done.
        self.standing.drain();
        let bundles = self.sync_bundles()?;
        // One that can't be read keeps nothing else on the disk.
        let mut unread = None;
        for number in 0..bundles {
            self.check_ending()?;
            match self.bundles.blank(number, &left) {
                Ok(blanked) => scrubbed.blanked += blanked,
                Err(error) => {
                    unread.get_or_insert(error);
                }
            }
            sleep(REST);
        }

        keeper.keep_last()?;
        let (files, journal) = (Arc::clone(&keeper.files), keeper.journal.clone());
        for segment in keeper.first_segment..kept.next_segment {
            if reaches(keeper, segment, kept)?.size <= bundles * WIDTH {
                replay::remove(&*files, &journal, &[segment])?;
                keeper.first_segment = segment + 1;
                scrubbed.removed += 1;
            } else {
                strip(&*files, &keeper.placer, &journal, segment, &left)?;
                scrubbed.stripped += 1;
            }
        }
        files.sync_folder(&journal)?;
        keeper.placer.settle(&*files)?;
        self.renew_index(keeper, kept)?;
        unread.map_or(Ok(scrubbed), Err)
    }

    /// Blanks the private parts in memory, up to some size of the log: they go to their bundles as they are here.
    fn blank_recent(&self, size: u64, left: &LeftOf<'_>) -> Result<(), ReadError> {
        let (start, parts) = {
            let view = self.view.read();
            (view.recent.start(), view.recent.read(view.recent.start()..size, Part::Private))
        };
        for (index, part) in (start..).zip(parts) {
            if let Some(less) = left(&part)?.filter(|less| less.len() == part.len()) {
                self.view.write().recent.replace_private(index, less.into());
            }
        }
        Ok(())
    }

    /// Makes sled anew from a snapshot and the journal since, and puts it in the old one's place.
    fn renew_index(&self, keeper: &Keeper, kept: Kept) -> Result<(), ScrubError> {
        let old = self.view.read().index.trees();
        place::keep_only(old.folder())?;
        let made = old.beside().map_err(ScrubError::from).and_then(|trees| {
            let trees = Arc::new(trees);
            let made = self.bring_up(&trees, keeper, kept);
            made.inspect_err(|_| {
                // Nobody else has it.
                if let Ok(Err(error)) = Arc::try_unwrap(trees).map(Trees::end) {
                    tracing::warn!(%error, "an index that was not finished");
                }
            })
        });
        if made.is_err()
            && let Err(error) = place::keep_only(old.folder())
        {
            tracing::warn!(%error, "an index that was not finished stays");
        }
        drop(old);
        self.retire(made?)
    }

    /// Fills an empty index, brings it up, and puts it in the place of the one that is in use, which it returns.
    fn bring_up(&self, trees: &Arc<Trees>, keeper: &Keeper, kept: Kept) -> Result<Arc<Trees>, ScrubError> {
        self.fill(trees, keeper, kept)?;
        let index = Index::new(Arc::clone(trees));
        let mut behind = Behind { index, next: kept.next_segment, head: kept.head };
        while self.follow(&mut behind, keeper)? {}
        // From here on nothing is applied to the old one: rows gather in memory until the new one has what it has.
        let _applying = self.applying.lock();
        self.follow(&mut behind, keeper)?;
        Ok(self.view.write().index.replace(Arc::clone(trees)))
    }

    /// Removes an index that nobody is to ask any more, once all who began to have ended.
    fn retire(&self, mut old: Arc<Trees>) -> Result<(), ScrubError> {
        for _ in 0..LOOKS {
            match Arc::try_unwrap(old) {
                Ok(old) => {
                    old.end()?;
                    return Ok(place::keep_only(self.view.read().index.trees().folder())?);
                }
                Err(held) => old = held,
            }
            sleep(LOOK_PAUSE);
        }
        Err(io::Error::other("the index that was given up is still being read").into())
    }

    /// Fills an empty index from a snapshot.
    fn fill(&self, trees: &Trees, keeper: &Keeper, kept: Kept) -> Result<(), ScrubError> {
        let mut reader = Reader::open(&*keeper.files, &keeper.folder, kept.next_segment, keeper.id)?;
        caught(|| {
            let mut restore = Restore::begin(trees, reader.header().newest_hour);
            let mut rows = 0_u64;
            while let Some(item) = reader.next()? {
                restore.item(&item)?;
                rows += 1;
                if rows.is_multiple_of(ROWS_BETWEEN_RESTS) {
                    self.check_ending()?;
                    sleep(REST);
                }
            }
            restore.end(kept.head.sequence)?;
            Ok(())
        })
    }

    /// Brings an index up to what the journal has by now; says whether that was much, so that there is more already.
    fn follow(&self, behind: &mut Behind, keeper: &Keeper) -> Result<bool, ScrubError> {
        let (last, _) = self.roll()?;
        let mut many = false;
        for segment in behind.next..=last {
            self.check_ending()?;
            let mut failed = None;
            let add = |commit: replay::Commit| {
                let batch = frame::batch(commit.body).ok_or_else(|| commit.place.is(Damage::Content))?;
                let Batch { puts, deletes, requests, .. } = batch;
                behind.index.add(commit.after.sequence, Changes { puts, deletes, requests });
                if behind.index.gathered_bytes() >= APPLY_BYTES {
                    many = true;
                    failed = failed.take().or(behind.index.apply_gathered().err());
                }
                Ok(())
            };
            let (files, journal, before) = (&*keeper.files, &keeper.journal, Some(behind.head));
            let read = replay::read_segment(files, journal, segment, before, false, add);
            let read = read.and_then(replay::Segment::needed_whole)?;
            failed.map_or(Ok(()), Err)?;
            // Its values share the memory of the segment.
            behind.index.apply_gathered()?;
            (behind.head, behind.next) = (read.after, segment + 1);
        }
        Ok(many)
    }

    fn check_ending(&self) -> Result<(), ScrubError> {
        if self.snapshots.ending.load(Ordering::Relaxed) { Err(ScrubError::Ended) } else { Ok(()) }
    }
}

/// An index that is being brought up.
struct Behind {
    index: Index,
    /// The first segment that it lacks.
    next: u64,
    /// The head before that segment.
    head: Head,
}

/// Which keys stand, by those that were asked for lately: the parts of one person lie near each other. One that stood when it
/// was asked for, and was removed since, is the next scrub's.
#[derive(Default)]
struct Memo(RefCell<HashMap<Vec<u8>, bool>>);

impl Memo {
    fn of(&self, key: &[u8], ask: impl FnOnce() -> Result<bool, ReadError>) -> Result<bool, ReadError> {
        if let Some(stands) = self.0.borrow().get(key) {
            return Ok(*stands);
        }
        let stands = ask()?;
        let mut known = self.0.borrow_mut();
        if known.len() >= REMEMBERED_KEYS {
            known.clear();
        }
        known.insert(key.to_vec(), stands);
        Ok(stands)
    }
}

/// The head that a closed segment reaches.
fn reaches(keeper: &Keeper, segment: u64, kept: Kept) -> Result<Head, ScrubError> {
    if segment + 1 == kept.next_segment {
        return Ok(kept.head);
    }
    let read = replay::read_segment(&*keeper.files, &keeper.journal, segment, None, false, |_| Ok(()));
    Ok(read?.after)
}

impl From<MakeError> for ScrubError {
    fn from(error: MakeError) -> ScrubError {
        match error {
            MakeError::Io(error) => ScrubError::Io(error),
            MakeError::Damaged(error) => error.into(),
            MakeError::Base(error) => error.into(),
            MakeError::Ended => ScrubError::Ended,
        }
    }
}

impl From<OpenError> for ScrubError {
    fn from(error: OpenError) -> ScrubError {
        match error {
            OpenError::Io { source, .. } => ScrubError::Io(source),
            error => ScrubError::Store(error),
        }
    }
}

impl From<SnapshotError> for ScrubError {
    fn from(error: SnapshotError) -> ScrubError {
        match error {
            SnapshotError::Io { source, .. } => ScrubError::Io(source),
            error => ScrubError::Store(error.into()),
        }
    }
}
