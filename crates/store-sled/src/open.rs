//! Opening a store: from what lies in the folder to what was acknowledged.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use countersign_store::layout::{LogPath, WIDTH};
use countersign_store::{Batch, Head, Leaf};

use crate::bundles::{BUNDLES_AT_ONCE, BundleFiles, Recent};
use crate::engine::Options;
use crate::errors::{Damage, OpenError};
use crate::files::{Files, Placer, lock};
use crate::index::{Changes, Index, Trees};
use crate::journal::replay::replay;
use crate::journal::{self, Journal, Place, frame};
use crate::manifest;
use crate::publishing::checkpoint_size;
use crate::writer::{APPLY_BYTES, Shared, View};

/// Opens the store in `folder`, or makes a new one there; blocks.
pub(crate) fn open(
    folder: &Path,
    options: &Options,
    files: &Arc<dyn Files>,
) -> Result<(Shared, Journal), OpenError> {
    let journal_folder = folder.join("journal");
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
    for folder in [&journal_folder, &scratch, &bundles.log, &bundles.private] {
        files.create_folder(folder).map_err(OpenError::io(folder))?;
    }
    // The names of those, and of the store's own folder, are to last as long as what is in them.
    for folder in
        [Some(folder), folder.parent()].into_iter().flatten().filter(|it| !it.as_os_str().is_empty())
    {
        files.sync_folder(folder).map_err(OpenError::io(folder))?;
    }
    let epoch = epoch(folder, &journal_folder, &**files, &bundles.placer)?;

    let mut recovery = Recovery::start(folder, options, bundles)?;
    let (reached, end) = replay(&**files, &journal_folder, |before, after, body, place| {
        recovery.step(before, after, body, place)
    })?;
    let published = recovery.check(reached, end)?;
    recovery.apply()?;
    let Recovery { trees, index, recent, bundles, .. } = recovery;
    // Only now: a journal that is too short for what follows from it is left as it is.
    let journal = Journal::resume(files, &bundles.placer, &journal_folder, options.segment_bytes, end)?;
    let view = View { head: Head { epoch, ..reached }, recent, index };
    Ok((Shared::new(view, trees, bundles, published, lock), journal))
}

/// Reads the manifest, or makes a new store: first its journal, then, when all is durable, the manifest.
fn epoch(folder: &Path, journal_folder: &Path, files: &dyn Files, placer: &Placer) -> Result<u64, OpenError> {
    let path = folder.join("MANIFEST");
    if let Some(epoch) = manifest::read(files, &path)? {
        return Ok(epoch);
    }
    if journal::replay::exists(files, journal_folder)? {
        // A first segment without a frame is what an interrupted beginning leaves. A journal with frames has had its
        // manifest, and not to find it means that this isn't the folder that it was.
        let (reached, _) = replay(files, journal_folder, |_, _, _, _| Ok(()))?;
        if reached.sequence > 0 {
            return Err(OpenError::Manifest { path });
        }
    }
    journal::create(files, placer, journal_folder).map_err(OpenError::io(journal_folder))?;
    manifest::create(files, placer, &path)
}

/// What is rebuilt while the journal is read.
struct Recovery {
    trees: Arc<Trees>,
    index: Index,
    applied: u64,
    bundles: BundleFiles,
    standing: u64,
    recent: Recent,
}

impl Recovery {
    fn start(folder: &Path, options: &Options, bundles: BundleFiles) -> Result<Recovery, OpenError> {
        let trees = Arc::new(Trees::open(&folder.join("sled"), options.cache_bytes)?);
        let applied = trees.applied().map_err(|error| OpenError::index(&error))?;
        let standing = bundles.standing().map_err(OpenError::io(&bundles.log))?;
        let index = Index::new(Arc::clone(&trees));
        Ok(Recovery { trees, index, applied, bundles, standing, recent: Recent::after(standing) })
    }

    /// Does again what the index or the bundles lack of one frame.
    fn step(&mut self, before: Head, after: Head, body: Bytes, place: Place) -> Result<(), OpenError> {
        let in_index = after.sequence <= self.applied;
        let in_bundles = after.size <= self.standing * WIDTH;
        if in_index && in_bundles {
            return Ok(());
        }
        let batch = frame::batch(body).ok_or_else(|| place.is(Damage::Content))?;
        if batch.after(before).size != after.size {
            return Err(place.is(Damage::Content));
        }
        let Batch { puts, deletes, leaves, requests } = batch;
        if !in_index {
            self.index.add(after.sequence, Changes { puts, deletes, requests });
            if self.index.gathered_bytes() >= APPLY_BYTES {
                self.apply()?;
            }
        }
        if !in_bundles {
            self.collect(before.size, leaves)?;
        }
        Ok(())
    }

    /// Applies what has gathered. At the end too: its values share the memory of whole segments.
    fn apply(&mut self) -> Result<(), OpenError> {
        if let Some(layer) = self.index.begin_applying() {
            self.trees.apply(&layer).map_err(|error| OpenError::index(&error))?;
            self.index.applied();
        }
        Ok(())
    }

    fn collect(&mut self, first: u64, leaves: Vec<Leaf>) -> Result<(), OpenError> {
        let known = self.standing * WIDTH;
        for (_, leaf) in (first..).zip(leaves).filter(|(index, _)| *index >= known) {
            // A copy: what shares the segment's memory would keep all of it.
            self.recent.push(Leaf {
                record: Bytes::copy_from_slice(&leaf.record),
                private: Bytes::copy_from_slice(&leaf.private),
            });
        }
        let mut unsynced = BTreeSet::new();
        loop {
            let bundles = self.recent.first_full(BUNDLES_AT_ONCE);
            if bundles.is_empty() {
                break;
            }
            let written = self.bundles.write_all(&bundles, &mut unsynced);
            written.map_err(OpenError::io(&self.bundles.log))?;
            self.recent.forget_first(bundles.len());
        }
        for folder in unsynced {
            self.bundles.files.sync_folder(&folder).map_err(OpenError::io(&folder))?;
        }
        Ok(())
    }

    /// Holds the journal's end against all that follows from it: whatever is ahead of the journal has seen a commit
    /// that the journal has lost, and to go on would fork the log. Returns the size of the public checkpoint.
    fn check(&self, reached: Head, end: Place) -> Result<u64, OpenError> {
        let short = |journal, beyond| Err(end.is(Damage::Short { journal, beyond }));
        if self.applied > reached.sequence {
            return short(reached.sequence, self.applied);
        }
        if self.standing * WIDTH > reached.size {
            return short(reached.size, self.standing * WIDTH);
        }
        let checkpoint =
            self.bundles.log_file(LogPath::Checkpoint).map_err(|error| OpenError::index(&error))?;
        let published = checkpoint.and_then(|checkpoint| checkpoint_size(&checkpoint)).unwrap_or(0);
        if published > reached.size {
            return short(reached.size, published);
        }
        Ok(published)
    }
}
