//! Where a checker reads a log from.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use countersign_tlog::LogPath;

/// The files of one log. Reads block.
pub trait LogSource {
    /// One file. Absence is `None`.
    fn read(&mut self, path: LogPath) -> Result<Option<Bytes>, SourceError>;

    /// The widths of the partial files that stand beside a full one, from when it was not full yet. A source that can't
    /// list them has none.
    fn partial_widths(&mut self, full: LogPath) -> Result<Vec<u16>, SourceError> {
        let _ = full;
        Ok(Vec::new())
    }

    /// Files that will be read next, in this order.
    fn expect(&mut self, paths: &[LogPath]) {
        let _ = paths;
    }
}

/// Why a file can't be read. A file that is not there is no error.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file system says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The server can't be reached, or breaks off.
    #[error("{address}: {detail}")]
    Unreachable {
        /// What was asked for.
        address: String,
        /// What the network says.
        detail: String,
    },
    /// The server does not hand it out.
    #[error(
        "{address}: the server answers {status}; entries are for auditors, so check the key and its name"
    )]
    Denied {
        /// What was asked for.
        address: String,
        /// The HTTP status.
        status: u16,
    },
    /// The address can't be used.
    #[error("the address `{address}`: {problem}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A log's folder in the C2SP layout: `checkpoint`, `tile/…`, `tile/entries/…`.
#[derive(Debug)]
pub struct FolderLog {
    folder: PathBuf,
}

impl FolderLog {
    /// Reads from this folder.
    pub fn open(folder: &Path) -> Result<Self, SourceError> {
        match std::fs::metadata(folder) {
            Ok(found) if found.is_dir() => Ok(Self { folder: folder.to_owned() }),
            Ok(_) => Err(SourceError::Io {
                path: folder.to_owned(),
                source: io::Error::new(io::ErrorKind::NotADirectory, "is not a folder"),
            }),
            Err(source) => Err(SourceError::Io { path: folder.to_owned(), source }),
        }
    }
}

impl LogSource for FolderLog {
    fn read(&mut self, path: LogPath) -> Result<Option<Bytes>, SourceError> {
        let path = self.folder.join(path.to_string());
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(source) => Err(SourceError::Io { path, source }),
        }
    }

    fn partial_widths(&mut self, full: LogPath) -> Result<Vec<u16>, SourceError> {
        let path = self.folder.join(format!("{full}.p"));
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(source) => return Err(SourceError::Io { path, source }),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut widths: Vec<u16> = names.filter_map(|name| name.parse().ok()).collect();
        widths.sort_unstable();
        Ok(widths)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
