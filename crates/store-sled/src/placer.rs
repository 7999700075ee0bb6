//! Whole files under their names, or not at all.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::files::{AppendFile, Files};

/// Puts whole files in their places: nobody ever sees half of one under its name.
pub(crate) struct Placer {
    /// On the same file system as every place, or a rename would be a copy.
    scratch: PathBuf,
    next: AtomicU64,
}

impl Placer {
    pub(crate) fn new(scratch: PathBuf) -> Placer {
        Placer { scratch, next: AtomicU64::new(0) }
    }

    /// Makes it durable that files have left for their places: a power cut could bring one back under the name that it was
    /// written under, with what has been taken off the disk since.
    pub(crate) fn settle(&self, files: &dyn Files) -> io::Result<()> {
        files.sync_folder(&self.scratch)
    }

    /// Begins a file that has no name yet.
    pub(crate) fn draft(&self, files: &dyn Files) -> io::Result<Draft> {
        let path = self.scratch.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        Ok(Draft { file: files.create(&path)?, path })
    }

    /// Writes a file, syncs it, and renames it to its place, making the folders on the way. The name is durable once
    /// those folders are synced.
    pub(crate) fn place(&self, files: &dyn Files, place: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut draft = self.draft(files)?;
        if let Err(error) = draft.file.write(bytes) {
            draft.discard(files);
            return Err(error);
        }
        draft.place(files, place)
    }
}

/// A file on its way to a name.
pub(crate) struct Draft {
    pub(crate) file: Box<dyn AppendFile>,
    path: PathBuf,
}

impl Draft {
    /// Syncs it and gives it its name, or gives its room back.
    pub(crate) fn place(mut self, files: &dyn Files, place: &Path) -> io::Result<()> {
        let placed = self.file.sync().and_then(|()| self.name(files, place));
        if placed.is_err() {
            self.discard(files);
        }
        placed
    }

    fn name(&self, files: &dyn Files, place: &Path) -> io::Result<()> {
        match files.rename(&self.path, place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = place.parent().expect("a place is below the store's folder");
                files.create_folder(folder)?;
                files.rename(&self.path, place)
            }
            renamed => renamed,
        }
    }

    /// Gives its room back. One that stays for an error goes when the store is opened next.
    pub(crate) fn discard(self, files: &dyn Files) {
        drop(self.file);
        if let Err(error) = files.remove(&self.path) {
            tracing::warn!(file = %self.path.display(), %error, "a discarded file stays");
        }
    }
}
