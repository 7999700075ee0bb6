#![doc = "The embedded storage engine of Countersign: a journal in front of sled."]
//!
//! [`SledStore`] carries the contract of [`countersign_store::Store`] in one folder:
//!
//! ```text
//! MANIFEST                 magic, version, epoch; written last, when the folder is whole
//! LOCK                     locked while a process has the store open
//! journal/000000000001.seg every commit, framed and checksummed; the only copy that counts
//! sled/                    rows and request rows, for reading; follows from the journal
//! log/                     checkpoint, tile/…, tile/entries/…: the C2SP layout, what an auditor copies
//! private/entries/…        private parts, numbered like the entry bundles
//! scratch/                 files on their way to a name; emptied when the store is opened
//! ```
//!
//! **The journal is the store.** A commit is one frame, and its commit point is the one `fdatasync` after it. Then the
//! batch is added to what lies in memory, where reads find it first, and the commit returns. sled is an index: a
//! thread of its own gives it the rows of about a second at once, and then the sequence that they reach; no commit and
//! no read waits for that. Opening replays what sled lacks; all of it, if it is gone.
//!
//! **Leaves** stay in memory until 256 of them stand in a full bundle; a thread of its own writes those, so a commit
//! waits for one sync and no more. Partial bundles are written at publication.
//!
//! **Any failed write or sync of journal or bundles poisons the engine.** The commit in hand is
//! [`Unknown`](countersign_store::CommitError::Unknown), later ones are
//! [`Poisoned`](countersign_store::CommitError::Poisoned), reads go on. Nothing is ever retried on the same file;
//! opening the store again finds out.
//!
//! All file operations of the journal, the bundles and the manifest go through [`files::Files`], so that tests can make
//! any of them fail. sled has its own.

mod bundles;
#[doc(hidden)]
pub mod doors;
mod engine;
mod errors;
pub mod files;
mod gathered;
mod index;
mod journal;
mod manifest;
mod named;
mod open;
mod placer;
mod publishing;
mod snapshot;
mod standing;
mod stretch;
#[cfg(test)]
mod tests;
mod writer;

pub use engine::{Options, SledStore};
pub use errors::OpenError;
