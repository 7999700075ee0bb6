//! Bringing up what follows from snapshot and journal: sled, the bundles, and the leaves in memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use countersign_store::layout::WIDTH;
use countersign_store::{Batch, Leaf};

use super::state::State;
use super::{Places, short};
use crate::bundles::{BUNDLES_AT_ONCE, BundleFiles, Part, RecentLeaves};
use crate::engine::Options;
use crate::errors::{Damage, OpenError};
use crate::files::Files;
use crate::gathered::APPLY_BYTES;
use crate::index::{Changes, Index, Restore, Trees, caught, place};
use crate::journal::frame;
use crate::journal::replay::{self, Commit, Segment};
use crate::manifest::StoreId;
use crate::mark;
use crate::snapshot::{Reader, SnapshotError};
use crate::stretch::{Base, Stretch};

/// The index is held against snapshot and journal in parts for which the journal's changes take no more memory than this.
/// For each the journal is read again, some tenths of a second for each GiB: some 700,000 changed rows are one part.
const MAX_PART_BYTES: usize = 192 << 20;

/// What is brought up.
pub(super) struct Recovery {
    pub(super) index: Index,
    /// The sequence that the trees have reached.
    applied: u64,
    pub(super) bundles: BundleFiles,
    standing: u64,
    pub(super) recent: RecentLeaves,
}

impl Recovery {
    pub(super) fn start(
        places: &Places<'_>,
        options: &Options,
        id: StoreId,
        state: &mut State,
        bundles: BundleFiles,
    ) -> Result<Recovery, OpenError> {
        let files = &*bundles.files;
        let mut standing = standing(&bundles, state)?;
        // Before sled is opened: from here on it changes.
        mark::take(files, places.folder)?;
        let folder = place::current(&places.sled).map_err(OpenError::io(&places.sled))?;
        let believed =
            if state.check_from.is_some() { believe_index(&folder, options, id, state) } else { None };
        let (trees, applied) = if let Some(opened) = believed {
            opened
        } else {
            if state.check_from.is_some() {
                // The index has to follow from what was only believed.
                *state = State::read(places, files, id)?;
                standing = self::standing(&bundles, state)?;
            }
            open_index(places, &folder, options, id, state, files)?
        };
        let index = Index::new(Arc::new(trees));
        Ok(Recovery { index, applied, bundles, standing, recent: RecentLeaves::after(standing) })
    }

    /// Does again what the journal has beyond the index and the bundles.
    pub(super) fn run(
        &mut self,
        files: &dyn Files,
        places: &Places<'_>,
        state: &State,
    ) -> Result<(), OpenError> {
        let leaves = self.standing * WIDTH;
        for segment in &state.segments {
            if segment.after.sequence <= self.applied && segment.after.size <= leaves {
                continue;
            }
            let last = segment.number == state.end().segment;
            let step = |commit| self.step(commit);
            replay::read_segment(files, &places.journal, segment.number, Some(segment.before), last, step)?;
        }
        self.apply()
    }

    fn step(&mut self, Commit { before, after, body, place }: Commit) -> Result<(), OpenError> {
        let in_index = after.sequence <= self.applied;
        let in_bundles = after.size <= self.standing * WIDTH;
        if in_index && in_bundles {
            return Ok(());
        }
        let batch = frame::batch(body).ok_or_else(|| place.is(Damage::Content))?;
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
        self.index.apply_gathered().map_err(|error| refused(&error))
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
}

/// How many bundles stand.
fn standing(bundles: &BundleFiles, state: &State) -> Result<u64, OpenError> {
    let standing = bundles.standing(&state.lengths).map_err(OpenError::io(&bundles.log))?;
    // The growing bundle's leaves are in no file at all, so the journal must always reach back to where it begins.
    if standing * WIDTH < state.first_leaf() {
        return Err(missing_leaves(bundles, standing));
    }
    Ok(standing)
}

/// Opens a sled that was closed and is as it was then, and returns the sequence that it reached. `None` if it isn't what
/// fits to the journal.
fn believe_index(folder: &Path, options: &Options, id: StoreId, state: &State) -> Option<(Trees, u64)> {
    let trees = Trees::open(folder, options.cache_bytes, id).ok()?;
    // What the journal no longer has, sled must have.
    let fits = state.whole_from()..=state.reached().sequence;
    match trees.applied() {
        Ok(Some(applied)) if fits.contains(&applied) => Some((trees, applied)),
        _ => {
            let_go(trees);
            None
        }
    }
}

/// Lets go of trees that are not to be used: what is broken may break once more when it goes.
fn let_go(trees: Trees) {
    let dropped = caught(|| {
        drop(trees);
        Ok::<_, sled::Error>(())
    });
    drop(dropped);
}

/// Opens sled, whatever it holds, and mends it by snapshot and journal. If it can't be opened or read for that, it is begun
/// anew. Returns the sequence from which on the journal has to be applied to it.
fn open_index(
    places: &Places<'_>,
    folder: &Path,
    options: &Options,
    id: StoreId,
    state: &State,
    files: &dyn Files,
) -> Result<(Trees, u64), OpenError> {
    let opened = Trees::open(folder, options.cache_bytes, id)
        .and_then(|trees| trees.applied().map(|applied| (trees, applied)));
    match opened {
        Ok((trees, Some(applied))) => {
            let (end, reached) = (state.end(), state.reached().sequence);
            if applied > reached {
                return Err(short(end, reached, applied));
            }
            match restore(places, id, state, files, &trees, MAX_PART_BYTES) {
                Ok((applied, 0)) => return Ok((trees, applied)),
                Ok((applied, mended)) => {
                    tracing::info!(mended, "the index lacked what is in snapshot and journal");
                    return Ok((trees, applied));
                }
                Err(RestoreError::Index(error)) => {
                    tracing::warn!(%error, "the index is damaged");
                    let_go(trees);
                }
                Err(RestoreError::Source(error)) => return Err(error),
            }
        }
        Ok((_, None)) => tracing::warn!("the index is another store's"),
        Err(error) => tracing::warn!(%error, "the index can't be opened"),
    }
    tracing::warn!("the index is made anew from snapshot and journal");
    fs::remove_dir_all(folder).map_err(OpenError::io(folder))?;
    let trees = Trees::open(folder, options.cache_bytes, id).map_err(|error| refused(&error))?;
    match restore(places, id, state, files, &trees, MAX_PART_BYTES) {
        Ok((applied, _)) => Ok((trees, applied)),
        Err(RestoreError::Index(error)) => Err(refused(&error)),
        Err(RestoreError::Source(error)) => Err(error),
    }
}

enum RestoreError {
    /// sled is at fault.
    Index(sled::Error),
    /// What it is to be restored from is.
    Source(OpenError),
}

impl From<sled::Error> for RestoreError {
    fn from(error: sled::Error) -> RestoreError {
        RestoreError::Index(error)
    }
}

impl From<SnapshotError> for RestoreError {
    fn from(error: SnapshotError) -> RestoreError {
        RestoreError::Source(error.into())
    }
}

/// Makes sled hold the state that the journal reaches. Returns the sequence there, and how many rows were mended.
fn restore(
    places: &Places<'_>,
    id: StoreId,
    state: &State,
    files: &dyn Files,
    trees: &Trees,
    part_bytes: usize,
) -> Result<(u64, u64), RestoreError> {
    let (mut next, mut newest_hour, mut reader) = (1, 0, None);
    if let Some(base) = state.base {
        reader = Some(Reader::open(files, &places.snapshots, base.next_segment, id)?);
        (next, newest_hour) = (base.next_segment, base.newest_hour);
    }
    let (mut base, mut from, mut restoring) = (Base::new(reader), None, None);
    loop {
        let mut stretch = Stretch::part(from.take());
        for segment in state.segments.iter().filter(|segment| segment.number >= next) {
            let last = segment.number == state.end().segment;
            let add = |commit: Commit| {
                let batch = frame::batch(commit.body).ok_or_else(|| commit.place.is(Damage::Content))?;
                stretch.add(commit.after.sequence, batch);
                // What is given up here is of the next part.
                stretch.shrink_to(part_bytes);
                Ok(())
            };
            let read =
                replay::read_segment(files, &places.journal, segment.number, Some(segment.before), last, add);
            read.and_then(Segment::needed_whole).map_err(RestoreError::Source)?;
        }
        newest_hour = stretch.newest_hour().unwrap_or(0).max(newest_hour);
        from = stretch.until();
        caught(|| {
            let restore = restoring.get_or_insert_with(|| Restore::begin(trees, newest_hour));
            stretch.over(&mut base, |item| Ok::<_, RestoreError>(restore.item(&item)?))
        })?;
        if from.is_none() {
            break;
        }
    }
    let sequence = state.reached().sequence;
    let restore = restoring.expect("there is a last part");
    caught(|| Ok((sequence, restore.end(sequence)?)))
}

fn missing_leaves(bundles: &BundleFiles, number: u64) -> OpenError {
    let half = |part| bundles.path(number, part);
    let there = |part| bundles.files.exists(&half(part)).unwrap_or(false);
    // If both are there, one of them is torn; to tell which is the operator's look at two files.
    let part = if there(Part::Record) && !there(Part::Private) { Part::Private } else { Part::Record };
    OpenError::Leaves { index: number * WIDTH, path: half(part) }
}

fn refused(error: &sled::Error) -> OpenError {
    OpenError::Index { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::RealFiles;
    use crate::manifest;
    use crate::tests::{commit, content, options};

    /// An index that has everything is found to have it, in however small parts the journal's changes are looked at.
    #[tokio::test]
    async fn nothing_is_mended_in_an_index_that_lacks_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let options = Options { snapshot_bytes: 60_000, ..options() };
        let store = crate::SledStore::open(folder.path(), options.clone()).await.unwrap();
        for step in 0..100 {
            commit(&store, step, 29).await;
            store.settle();
        }
        let head = content(&store).await.head;
        store.close().await.unwrap();
        drop(store);
        let sled = folder.path().join("sled");
        let places = Places {
            folder: folder.path(),
            journal: folder.path().join("journal"),
            snapshots: folder.path().join("snapshots"),
            sled: sled.clone(),
        };
        let id = manifest::read(&RealFiles, &folder.path().join("MANIFEST")).unwrap().unwrap().id;
        let state = State::read(&places, &RealFiles, id).unwrap();
        let next = state.base.expect("a snapshot").next_segment;
        assert!(state.segments.iter().filter(|segment| segment.number >= next).count() > 2);
        let open = || Trees::open(&place::current(&sled).unwrap(), options.cache_bytes, id).unwrap();
        let trees = open();
        for part_bytes in [usize::MAX, 4_000, 1] {
            let restored = restore(&places, id, &state, &RealFiles, &trees, part_bytes);
            assert!(matches!(restored, Ok((at, 0)) if at == head.sequence), "{part_bytes}");
        }
        trees.end().unwrap();
        // One that has nothing is filled, and then lacks nothing.
        fs::remove_dir_all(&sled).unwrap();
        let trees = open();
        for filled in [true, false] {
            let restored = restore(&places, id, &state, &RealFiles, &trees, 4_000);
            assert!(matches!(restored, Ok((at, mended)) if at == head.sequence && (mended > 0) == filled));
        }
    }
}
