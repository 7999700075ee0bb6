//! The folder of an export: files that are for their owner alone, written page by page.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::ExportError;
use crate::files;

/// How many bytes are gathered before they are written: some hundred records with their proofs.
const MAX_GATHERED_BYTES: usize = 1 << 20;

/// A folder in the making. What is added reaches the disk with [`Folder::flush`], or before.
pub(super) struct Folder {
    path: PathBuf,
    gathered: Vec<(String, Vec<u8>)>,
    bytes: usize,
}

/// A JSON array, one element a line.
pub(super) struct List {
    name: &'static str,
    count: usize,
}

impl Folder {
    /// Makes the folder, which must not be there or be empty: an export is never mixed with another.
    pub(super) fn create(path: &Path) -> Result<Self, ExportError> {
        let failed = |source| ExportError::Io { path: path.to_owned(), source };
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(failed)?;
        if std::fs::read_dir(path).map_err(failed)?.next().is_some() {
            return Err(ExportError::NotEmpty { path: path.to_owned() });
        }
        for part in ["proofs", "consents", "catalogues"] {
            builder.create(path.join(part)).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), gathered: Vec::new(), bytes: 0 })
    }

    /// Adds to a file, which begins with what is added first.
    pub(super) async fn add(&mut self, name: String, bytes: Vec<u8>) -> Result<(), ExportError> {
        self.bytes += bytes.len();
        self.gathered.push((name, bytes));
        if self.bytes > MAX_GATHERED_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Adds a file that is one JSON document.
    pub(super) async fn document(&mut self, name: String, json: &Value) -> Result<(), ExportError> {
        self.add(name, format!("{json:#}\n").into_bytes()).await
    }

    /// Begins a list.
    pub(super) fn list(name: &'static str) -> List {
        List { name, count: 0 }
    }

    /// Writes and syncs what was added so far, off the runtime's threads.
    pub(super) async fn flush(&mut self) -> Result<(), ExportError> {
        let (path, gathered) = (self.path.clone(), std::mem::take(&mut self.gathered));
        self.bytes = 0;
        let written = tokio::task::spawn_blocking(move || {
            gathered.into_iter().try_for_each(|(name, bytes)| {
                let path = path.join(name);
                append(&path, &bytes).map_err(|source| ExportError::Io { path, source })
            })
        });
        written.await.unwrap_or_else(|stopped| {
            Err(ExportError::Io { path: self.path.clone(), source: io::Error::other(stopped) })
        })
    }
}

impl List {
    /// Adds an element.
    pub(super) async fn add(&mut self, folder: &mut Folder, element: &Value) -> Result<(), ExportError> {
        let before = if self.count == 0 { "[\n" } else { ",\n" };
        self.count += 1;
        folder.add(self.name.to_owned(), format!("{before}{element}").into_bytes()).await
    }

    /// Ends it, and says how many elements it has.
    pub(super) async fn end(self, folder: &mut Folder) -> Result<usize, ExportError> {
        let end = if self.count == 0 { "[]\n" } else { "\n]\n" };
        folder.add(self.name.to_owned(), end.into()).await?;
        Ok(self.count)
    }
}

fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = match files::create_private(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().append(true).open(path)?
        }
        made => made?,
    };
    file.write_all(bytes)?;
    file.sync_data()?;
    files::sync_parent(path)
}
