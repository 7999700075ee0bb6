//! Taking off the disk what does not live any more.
//!
//! What is durable when, and what is found if the machine stops there:
//!
//! 1. A new segment, and a snapshot of everything before it: more than there must be, and all of it consistent.
//! 2. Private bundles, each put whole in its old one's place.
//! 3. The removal of the older snapshots: from here on no rows are read from the segments that the last one covers.
//! 4. The removal of those segments, oldest first, as far as their leaves stand in bundles; the others, each put in its
//!    old one's place without its rows. Their heads and lengths are the same, so they still continue one another.
//! 5. sled's folder, which is made anew when the store is opened: with it half removed, too.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::{fs, io};

use countersign_store::layout::WIDTH;
use countersign_store::{Head, ReadError};
use tokio::task::spawn_blocking;

use crate::engine::{Options, SledStore};
use crate::errors::OpenError;
use crate::files::{Files, RealFiles};
use crate::index::Recent;
use crate::journal::{replay, strip};
use crate::named::Named;
use crate::open::{Opened, open};
use crate::snapshot::{Kept, MakeError};
use crate::writer::Shared;

/// What is to be left of a private part, if that is less than stands there; of the same length. It is given a way to ask
/// whether a row of some key stands.
pub type Left = dyn Fn(&[u8], &dyn Fn(&[u8]) -> Result<bool, ReadError>) -> Result<Option<Vec<u8>>, ReadError>
    + Send
    + Sync;

/// What is left of a private part, by the rows that stand; nothing if all of it is.
pub(crate) type LeftOf<'a> = dyn Fn(&[u8]) -> Result<Option<Vec<u8>>, ReadError> + 'a;

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

/// Why a store was not scrubbed to the end. It opens as before, and the same again goes on.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// The store does not open, or its journal is damaged.
    #[error("{0}")]
    Store(OpenError),
    /// A bundle or a row can't be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The system refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Scrubs the store in `folder`, which nobody has open: what does not live any more is in none of its files afterwards.
pub async fn scrub(
    folder: impl Into<PathBuf>,
    options: Options,
    left: Arc<Left>,
) -> Result<Scrubbed, ScrubError> {
    scrub_on(Arc::new(RealFiles), folder.into(), options, left).await
}

/// The same on another file layer.
pub(crate) async fn scrub_on(
    files: Arc<dyn Files>,
    folder: PathBuf,
    options: Options,
    left: Arc<Left>,
) -> Result<Scrubbed, ScrubError> {
    let (place, how) = (folder.clone(), options.clone());
    let named: Arc<dyn Files> = Arc::new(Named(Arc::clone(&files)));
    let work = spawn_blocking(move || scrub_closed(&named, &place, &how, &*left));
    let stopped = |error: tokio::task::JoinError| ScrubError::Io(io::Error::other(error));
    let scrubbed = work.await.map_err(stopped)??;
    // Makes sled anew, and marks it as closed, so that the next opening is a quick one.
    let store = SledStore::open_on(files, folder, options).await.map_err(ScrubError::Store)?;
    store.close().await?;
    Ok(scrubbed)
}

fn scrub_closed(
    files: &Arc<dyn Files>,
    folder: &std::path::Path,
    options: &Options,
    left: &Left,
) -> Result<Scrubbed, ScrubError> {
    let Opened { shared, mut journal, mut keeper } =
        open(folder, options, files).map_err(ScrubError::Store)?;
    let head = shared.view.read().head;
    let mut scrubbed = Scrubbed::default();
    if head.sequence > 0 {
        let last = journal.roll(head.sequence + 1)?;
        drop(journal);
        let ending = AtomicBool::new(false);
        while keeper.kept.last().is_none_or(|kept| kept.next_segment <= last) {
            keeper.make(last, &ending)?;
        }
        let stands = |key: &[u8]| stands(&shared, key);
        let left = |part: &[u8]| left(part, &stands);
        for number in 0..head.size / WIDTH {
            scrubbed.blanked += shared.bundles.blank(number, &left)?;
        }
        keeper.keep_last()?;
        let kept = keeper.kept[keeper.kept.len() - 1];
        for segment in keeper.first_segment..kept.next_segment {
            if reaches(&keeper, segment, kept)?.size <= head.size / WIDTH * WIDTH {
                replay::remove(&**files, &keeper.journal, &[segment])?;
                scrubbed.removed += 1;
            } else {
                strip(&**files, &keeper.placer, &keeper.journal, segment, &left)?;
                scrubbed.stripped += 1;
            }
        }
        files.sync_folder(&keeper.journal)?;
    }
    // sled's own handles go with the last of what was opened, and its lock with them.
    drop((shared, keeper));
    fs::remove_dir_all(folder.join("sled"))?;
    files.sync_folder(folder)?;
    Ok(scrubbed)
}

/// The head that a closed segment reaches.
fn reaches(keeper: &crate::snapshot::Keeper, segment: u64, kept: Kept) -> Result<Head, ScrubError> {
    if segment + 1 == kept.next_segment {
        return Ok(kept.head);
    }
    let read = replay::read_segment(&*keeper.files, &keeper.journal, segment, None, false, |_| Ok(()));
    read.map(|segment| segment.after).map_err(ScrubError::Store)
}

/// Whether a row stands. All that the journal has is in the index by now.
fn stands(shared: &Shared, key: &[u8]) -> Result<bool, ReadError> {
    let recent = shared.view.read().index.recent(key);
    match recent {
        Recent::Row(_) => Ok(true),
        Recent::Deleted => Ok(false),
        Recent::Elsewhere(since) => Ok(shared.trees.get(key, since)?.is_some()),
    }
}

impl From<MakeError> for ScrubError {
    fn from(error: MakeError) -> ScrubError {
        match error {
            MakeError::Io(error) => ScrubError::Io(error),
            MakeError::Damaged(error) => ScrubError::Store(error),
            MakeError::Base(error) => ScrubError::Store(error.into()),
            MakeError::Ended => ScrubError::Io(io::ErrorKind::Interrupted.into()),
        }
    }
}
