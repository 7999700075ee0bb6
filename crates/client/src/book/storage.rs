//! What a book needs of the place where it is kept.

use std::{io, path::PathBuf};

/// The largest entry: a grant with its terms, offer, certificates and changes, or a sealed answer of 32 fields of 4 KiB.
pub const MAX_ENTRY_BYTES: usize = 1 << 20;

/// An ordered list of entries that grows at its end. The entries mean nothing here.
///
/// All calls block; the longest is a sync of the disk. Calls come from several threads.
pub trait BookStorage: Send + Sync + 'static {
    /// All entries, oldest first. Called once, before any other.
    fn load(&self) -> Result<Vec<Vec<u8>>, BookError>;

    /// Appends an entry. With `sync`, it and all before it are durable before this returns; without, they may be lost
    /// with a crash, the newest first, until the next sync. After an error nothing more is taken: the outcome is not
    /// known, and the book has to be opened again.
    fn append(&self, entry: &[u8], sync: bool) -> Result<(), BookError>;

    /// Makes all that was appended durable.
    fn sync(&self) -> Result<(), BookError>;

    /// Puts these entries in the place of all others, all or nothing, and durably.
    fn rewrite(&self, entries: &[Vec<u8>]) -> Result<(), BookError>;

    /// The same, while others append. `last` is called when the entries are written, and gives those that were appended
    /// since; no other is appended from then until this returns. Made durable are `entries`, and `last`'s no more than an
    /// append without a sync.
    fn rewrite_beside(
        &self,
        entries: &[Vec<u8>],
        last: &mut dyn FnMut() -> Vec<Vec<u8>>,
    ) -> Result<(), BookError> {
        let mut all = entries.to_vec();
        all.extend(last());
        self.rewrite(&all)
    }

    /// How many bytes the entries take.
    fn size(&self) -> u64;

    /// Whether a call may wait for a device. One that says no is called on the runtime's own threads.
    fn blocks(&self) -> bool {
        true
    }
}

/// Does a book's work off the runtime's threads; and here, if its storage never blocks.
pub(crate) async fn off_thread<T: Send + 'static>(
    storage: &dyn BookStorage,
    work: impl FnOnce() -> Result<T, BookError> + Send + 'static,
) -> Result<T, BookError> {
    if !storage.blocks() {
        return work();
    }
    // Where it fails, the runtime is shutting down or the thread panicked: either way the outcome is not known.
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(BookError::Poisoned))
}

/// Why a book can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The file system says no.
    #[error("the book {}: {source}", path.display())]
    Io {
        /// Which book.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the book {} is open in another process", path.display())]
    InUse {
        /// Which book.
        path: PathBuf,
    },
    /// Others can read it, and it holds secrets.
    #[error("the book {}: others may read it (mode {mode:o}); set it to 600", path.display())]
    Loose {
        /// Which book.
        path: PathBuf,
        /// The permission bits.
        mode: u32,
    },
    /// The file is no book, or one of a later version.
    #[error("{} is not a book that this version reads", path.display())]
    NotABook {
        /// Which file.
        path: PathBuf,
    },
    /// A frame is damaged, and it is not the torn last one.
    #[error("the book {} is damaged at byte {offset}: {problem}", path.display())]
    Damaged {
        /// Which book.
        path: PathBuf,
        /// Where the frame begins.
        offset: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An entry does not read, or does not fit those before it.
    #[error("entry {number} of the book: {problem}")]
    Entry {
        /// Which one, from 0.
        number: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// An entry is longer than any.
    #[error("an entry of {bytes} bytes; {MAX_ENTRY_BYTES} are allowed")]
    TooLong {
        /// How long.
        bytes: usize,
    },
    /// An earlier write failed, so what stands on disk is not known.
    #[error("the book failed earlier and takes nothing more until it is opened again")]
    Poisoned,
}
