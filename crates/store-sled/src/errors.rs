//! Why a store wasn't opened.

use std::io;
use std::path::PathBuf;

use crate::snapshot::SnapshotError;

/// Why a store wasn't opened. Nothing on disk was changed but what an interrupted process left half done.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the store open, or this one has it open twice.
    #[error("{} is open already", folder.display())]
    Locked {
        /// The store's folder.
        folder: PathBuf,
    },
    /// The folder has a journal and no manifest, or a manifest that isn't one.
    #[error("{} is no manifest of this store", path.display())]
    Manifest {
        /// Where it should be.
        path: PathBuf,
    },
    /// A file was written by a version of this engine that this one doesn't know.
    #[error("{} has version {found}, and this program knows {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The journal isn't what was written. A torn last frame is none of this: it was never acknowledged.
    #[error("the journal is damaged in segment {segment} at byte {offset}: {what}")]
    Corrupt {
        /// The segment's number; its file is named by it, in twelve digits.
        segment: u64,
        /// Where in the segment's file what doesn't fit begins.
        offset: u64,
        /// What doesn't fit.
        what: Damage,
    },
    /// Leaves are gone: a bundle is missing or torn, and the journal doesn't reach back to it. It has to be put back from
    /// a copy of the log.
    #[error("leaf {index} and those after it are gone: {} is missing or torn, and the journal begins after them", path.display())]
    Leaves {
        /// The first leaf of that bundle.
        index: u64,
        /// The bundle's file.
        path: PathBuf,
    },
    /// No snapshot can be read, and the journal doesn't reach back to its beginning.
    #[error("no snapshot can be read, and the journal begins later: {reason}")]
    Snapshot {
        /// What is wrong with the last one that was tried.
        reason: String,
    },
    /// sled refuses. The index can be deleted and follows from the journal again.
    #[error("the index can't be opened: {reason}")]
    Index {
        /// What sled said.
        reason: String,
    },
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What doesn't fit in a damaged journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The segment's file is missing.
    #[error("the segment is missing")]
    Missing,
    /// The segment was stripped to its leaves, since a snapshot covered it, and that snapshot can't be read any more.
    #[error("its rows were scrubbed, and the snapshot that has them is missing or damaged")]
    Stripped,
    /// The segment's header isn't one, or is another segment's.
    #[error("the segment's header is wrong")]
    Header,
    /// A frame's length or checksum is wrong.
    #[error("a frame's checksum is wrong")]
    Checksum,
    /// A frame's checksum is right and its content can't be read: it was written so.
    #[error("a frame's content can't be read")]
    Content,
    /// A frame doesn't continue the one before it.
    #[error("a frame reaches sequence {found} where {expected} was due")]
    Order {
        /// The sequence after the frame before it.
        expected: u64,
        /// The frame's.
        found: u64,
    },
    /// The journal ends before what follows from it: acknowledged commits are missing.
    #[error("the journal ends at {journal}, and {beyond} is known")]
    Short {
        /// The journal's last sequence, or size.
        journal: u64,
        /// The sequence that the index reached, or the size that bundles or the checkpoint reached.
        beyond: u64,
    },
}

impl From<SnapshotError> for OpenError {
    fn from(error: SnapshotError) -> OpenError {
        match error {
            SnapshotError::Version { path, found } => {
                OpenError::Version { path, found, known: crate::snapshot::VERSION }
            }
            SnapshotError::Io { path, source } => OpenError::Io { path, source },
            damaged @ SnapshotError::Damaged { .. } => OpenError::Snapshot { reason: damaged.to_string() },
        }
    }
}

impl OpenError {
    /// Names the file in an error of the system.
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(io::Error) -> OpenError + use<> {
        let path = path.to_owned();
        |source| OpenError::Io { path, source }
    }
}
