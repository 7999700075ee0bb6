//! Publication: first everything that a checkpoint rests on, then the checkpoint.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use countersign_store::layout::{LogPath, WIDTH, bundle};
use countersign_store::{Publication, PublishError, ReadError};

use crate::bundles::{BundleFiles, Part, add_folders};
use crate::writer::Shared;

impl Shared {
    /// Makes a publication; blocks.
    pub(crate) fn publish(&self, publication: &Publication) -> Result<(), PublishError> {
        let mut published = self.published.lock();
        let tiles = publication.check(self.view.read().head.size, *published)?;
        let full = publication.size / WIDTH;
        if !self.standing.wait_for(full) {
            return Err(PublishError::Failed { reason: "bundles can't be written any more".to_owned() });
        }
        let (_, mut folders) = self.standing.take_unsynced();
        if let Err(error) = self.place_all(publication, &tiles, &mut folders) {
            self.standing.put_back_unsynced(folders);
            return Err(error);
        }
        remove_superseded(&self.bundles, &tiles, *published / WIDTH..full);
        *published = publication.size;
        Ok(())
    }

    /// Makes again the partial bundle of the public checkpoint, if it isn't there as long as it must be; blocks.
    pub(crate) fn complete_publication(&self) -> io::Result<()> {
        let published = *self.published.lock();
        let BundleFiles { files, placer, log, .. } = &self.bundles;
        let Some(partial) = LogPath::last_partial(published) else { return Ok(()) };
        let place = log.join(partial.to_string());
        // Once the full one stands, the partial one may be gone.
        if files.exists(&log.join(partial.full().to_string()))? {
            return Ok(());
        }
        let records = self.read(published - published % WIDTH..published, Part::Record);
        let bytes = bundle(&records.map_err(io::Error::other)?);
        if files.length(&place)? == Some(bytes.len() as u64) {
            return Ok(());
        }
        tracing::warn!(%partial, "a published bundle is missing or torn, it is made again");
        placer.place(&**files, &place, &bytes)?;
        let mut folders = BTreeSet::new();
        add_folders(&mut folders, &place, log);
        folders.iter().try_for_each(|folder| files.sync_folder(folder))
    }

    /// The leaves of `range` within the log; blocks on files.
    pub(crate) fn read(&self, range: std::ops::Range<u64>, part: Part) -> Result<Vec<Bytes>, ReadError> {
        let (stored, recent) = self.read_recent(range, part);
        let Some(stored) = stored else { return Ok(recent) };
        let mut found = self.bundles.read(&stored, part)?;
        found.extend(recent);
        Ok(found)
    }

    /// The leaves of `range` that are in memory, and the part of the range that is to be read from files, if any is.
    ///
    /// In this order: a bundle that leaves memory after this looked stands in its file, and never goes.
    pub(crate) fn read_recent(
        &self,
        range: std::ops::Range<u64>,
        part: Part,
    ) -> (Option<std::ops::Range<u64>>, Vec<Bytes>) {
        let view = self.view.read();
        let range = range.start..range.end.min(view.head.size);
        if range.is_empty() {
            return (None, Vec::new());
        }
        let stored = range.start..range.end.min(view.recent.start());
        ((!stored.is_empty()).then_some(stored), view.recent.read(range, part))
    }

    fn place_all(
        &self,
        publication: &Publication,
        tiles: &[LogPath],
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<(), PublishError> {
        let BundleFiles { files, placer, log, .. } = &self.bundles;
        let place = |path: LogPath, bytes: &[u8], folders: &mut BTreeSet<PathBuf>| {
            let place = log.join(path.to_string());
            placer.place(&**files, &place, bytes).map_err(|error| failed(&error))?;
            add_folders(folders, &place, log);
            Ok(())
        };
        if let Some(partial) = LogPath::last_partial(publication.size) {
            let start = publication.size - publication.size % WIDTH;
            let records = self.read(start..publication.size, Part::Record).map_err(|error| failed(&error))?;
            place(partial, &bundle(&records), folders)?;
        }
        for (path, (_, bytes)) in tiles.iter().zip(&publication.files) {
            place(*path, bytes, folders)?;
        }
        for folder in folders.iter() {
            files.sync_folder(folder).map_err(|error| failed(&error))?;
        }
        // From here the checkpoint is public, and everything that it rests on is durable.
        place(LogPath::Checkpoint, &publication.checkpoint, folders)?;
        files.sync_folder(log).map_err(|error| failed(&error))
    }
}

/// Removes the partials whose full tile or bundle has just been published. One that stays for an error costs its room
/// and nothing else.
fn remove_superseded(bundles: &BundleFiles, tiles: &[LogPath], entries: std::ops::Range<u64>) {
    let entries = entries.map(|number| LogPath::Entries { number, partial: None });
    for full in tiles.iter().copied().filter(|tile| tile.is_full()).chain(entries) {
        let folder = bundles.log.join(format!("{full}.p"));
        if let Err(error) = bundles.files.remove(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "superseded partials stay");
        }
    }
}

/// The size that a checkpoint states on its second line (C2SP tlog-checkpoint). `None` if it has no signature, or not
/// the whole of one: a torn checkpoint says nothing, since its size may have lost digits.
pub(crate) fn checkpoint_size(checkpoint: &[u8]) -> Option<u64> {
    let signatures = checkpoint.windows(2).position(|two| two == b"\n\n")? + 2;
    if signatures + 1 >= checkpoint.len() || !checkpoint.ends_with(b"\n") {
        return None;
    }
    let size = checkpoint.split(|&byte| byte == b'\n').nth(1)?;
    std::str::from_utf8(size).ok()?.parse().ok()
}

fn failed(error: &dyn std::error::Error) -> PublishError {
    PublishError::Failed { reason: error.to_string() }
}
