//! Opening a store: from what lies in the folder to what was acknowledged.
//!
//! The journal leads, from the older of two snapshots on, and all else is held against it: nothing may be ahead of it, and
//! what is behind is brought up. In this order, so that what is refused is left as it is: only when all of it fits anything
//! is written.
//!
//! It is read whole and every frame of it checked, and so is the newest snapshot; unless the store was closed and all files
//! of journal, snapshots and sled are as they were then ([`mark`]). Then they are believed to be what they were, and read
//! in the background while the store is in use. So opening takes as long as there is journal and snapshot after a kill, and
//! not after a clean end.
//!
//! It may end at any point and begin again: what it writes are bundles that are missing, rows that sled lacks, the last
//! segment anew, each of which ends in the same when it is done twice.

mod believed;
mod recovery;
mod state;

use std::path::Path;
use std::sync::Arc;

use countersign_store::Head;
use countersign_store::layout::{LogPath, WIDTH};

use crate::bundles::BundleFiles;
use crate::engine::Options;
use crate::errors::{Damage, OpenError};
use crate::files::{Files, lock};
use crate::journal::{self, Journal, Place, replay};
use crate::manifest::{self, Manifest};
use crate::mark;
use crate::placer::Placer;
use crate::publishing::checkpoint_size;
use crate::snapshot::{self, Keeper, SnapshotWork};
use crate::writer::{Shared, View};
use recovery::Recovery;
use state::State;

/// An open store, before its threads run.
pub(crate) struct Opened {
    pub(crate) shared: Shared,
    pub(crate) keeper: Keeper,
    /// Whether snapshot and journal were believed to be what they were when the store was closed.
    pub(crate) believed: bool,
}

/// Where things are.
struct Places<'a> {
    folder: &'a Path,
    journal: std::path::PathBuf,
    snapshots: std::path::PathBuf,
    sled: std::path::PathBuf,
}

/// Opens the store in `folder`, or makes a new one there; blocks.
pub(crate) fn open(folder: &Path, options: &Options, files: &Arc<dyn Files>) -> Result<Opened, OpenError> {
    let places = Places {
        folder,
        journal: folder.join("journal"),
        snapshots: folder.join("snapshots"),
        sled: folder.join("sled"),
    };
    let scratch = folder.join("scratch");
    let bundles = BundleFiles {
        files: Arc::clone(files),
        placer: Arc::new(Placer::new(scratch.clone())),
        log: folder.join("log"),
        private: folder.join("private"),
    };
    files.create_folder(folder).map_err(OpenError::io(folder))?;
    let lock_path = folder.join("LOCK");
    let lock = lock(&lock_path).map_err(OpenError::io(&lock_path))?;
    let lock = lock.ok_or_else(|| OpenError::Locked { folder: folder.to_owned() })?;
    // Whatever is on its way to a name is nobody's any more.
    files.remove(&scratch).map_err(OpenError::io(&scratch))?;
    for folder in [&places.journal, &places.snapshots, &scratch, &bundles.log, &bundles.private] {
        files.create_folder(folder).map_err(OpenError::io(folder))?;
    }
    // The names of those, and of the store's own folder, are to last as long as what is in them. So is the name that a
    // process may have given to a snapshot just before it ended.
    let folders = [Some(folder), folder.parent(), Some(&places.snapshots)];
    for folder in folders.into_iter().flatten().filter(|it| !it.as_os_str().is_empty()) {
        files.sync_folder(folder).map_err(OpenError::io(folder))?;
    }
    let manifest = identify(&places, &**files, &bundles.placer)?;

    let closed = mark::read(&**files, folder)?;
    let believed = closed.and_then(|closed| State::believe(&places, &**files, manifest.id, closed));
    let mut state = match believed {
        Some(state) => state,
        None => State::read(&places, &**files, manifest.id)?,
    };
    let published = published(&bundles, &state)?;
    let mut recovery = Recovery::start(&places, options, manifest.id, &mut state, bundles)?;
    recovery.run(&**files, &places, &state)?;
    let Recovery { index, recent, bundles, .. } = recovery;
    // Only now: a journal that is too short for what follows from it is left as it is.
    let (end, reached) = (state.end(), state.reached());
    let journal = Journal::resume(files, &bundles.placer, &places.journal, options.segment_bytes, end)?;
    state.clean(&**files, &places);
    let work =
        SnapshotWork::new(options.snapshot_bytes, state.newest_bytes(), state.closed(), state.believed());
    let keeper = Keeper {
        files: Arc::clone(files),
        placer: Arc::clone(&bundles.placer),
        journal: places.journal,
        folder: places.snapshots,
        id: manifest.id,
        kept: state.kept.clone(),
        first_segment: state.first_segment(),
    };
    let believed = state.check_from.is_some();
    let head = Head { epoch: manifest.epoch, ..reached };
    let view = View { head, recent, lengths: state.lengths, index };
    let shared = Shared::new(view, journal, bundles, published, work, lock);
    shared.complete_publication().map_err(OpenError::io(folder))?;
    Ok(Opened { shared, keeper, believed })
}

/// Reads the manifest, or makes a new store: first its journal, then, when all is durable, the manifest.
fn identify(at: &Places<'_>, files: &dyn Files, placer: &Placer) -> Result<Manifest, OpenError> {
    let path = at.folder.join("MANIFEST");
    if let Some(manifest) = manifest::read(files, &path)? {
        return Ok(manifest);
    }
    // A first segment without a frame is what an interrupted beginning leaves. A journal with frames has had its
    // manifest, and not to find it means that this isn't the folder that it was.
    let begun = replay::exists(files, &at.journal)? || !snapshot::list(files, &at.snapshots)?.is_empty();
    if begun {
        let empty = |number| (number == 1).then(Head::default);
        let segments = replay::contiguous(files, &at.journal, 1)?;
        let read = replay::read_all(files, &at.journal, segments, empty, |_| Ok(()))?;
        if read.last().is_some_and(|segment| segment.after.sequence > 0) {
            return Err(OpenError::Manifest { path });
        }
    }
    journal::create(files, placer, &at.journal).map_err(OpenError::io(&at.journal))?;
    manifest::create(files, placer, &path)
}

/// The size of the public checkpoint, which must not be beyond the journal.
fn published(bundles: &BundleFiles, state: &State) -> Result<u64, OpenError> {
    let (end, size) = (state.end(), state.reached().size);
    let path = bundles.log.join(LogPath::Checkpoint.to_string());
    let checkpoint = bundles.files.read(&path).map_err(OpenError::io(&path))?;
    let published = checkpoint.and_then(|checkpoint| checkpoint_size(&checkpoint)).unwrap_or(0);
    if published > size {
        return Err(short(end, size, published));
    }
    // The bundle that is growing in the journal would have to be full.
    let number = size / WIDTH;
    if bundles.exists(number).map_err(OpenError::io(&bundles.log))? {
        return Err(short(end, size, (number + 1) * WIDTH));
    }
    Ok(published)
}

/// Something is ahead of the journal: it has seen a commit that the journal has lost, and to go on would fork the log.
fn short(end: Place, journal: u64, beyond: u64) -> OpenError {
    end.is(Damage::Short { journal, beyond })
}
