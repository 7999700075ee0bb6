#![doc = "The embedded storage engine of Countersign: a journal in front of sled."]
//!
//! [`SledStore`] carries the contract of [`countersign_store::Store`] in one folder:
//!
//! ```text
//! MANIFEST                 magic, version, the store's id, epoch; written last, when the folder is whole
//! LOCK                     locked while a process has the store open
//! journal/000000000001.seg every commit, framed and checksummed, from the older snapshot on
//! snapshots/….snap         the live state at the end of a segment, named by the segment after it; two of them
//! log/                     checkpoint, tile/…, tile/entries/…: the C2SP layout, what an auditor copies
//! private/entries/…        private parts, numbered like the entry bundles
//! sled/1/                  rows and request rows, for reading; follows from snapshot and journal
//! CLOSED                   how the files of journal, snapshots and sled were when the store was closed; there only while it is
//! scratch/                 files on their way to a name; emptied when the store is opened
//! ```
//!
//! **Journal, snapshots and bundles are the store.** A commit is one frame, and its commit point is the one `fdatasync`
//! after it. Then the batch is added to what lies in memory, where reads find it first, and the commit returns. A
//! snapshot is made of the one before it and the journal since, never of sled.
//!
//! **sled is an index.** A thread of its own gives it the rows of about a second at once, and then the sequence that they
//! reach; no commit and no read waits for that, and nothing ever waits for sled to be durable. It is believed after it was
//! closed and found unchanged; else every row of it is held against snapshot and journal when the store is opened, and
//! mended, and where sled can't even be read it is made anew. So no fault of sled's, of the disk's or of an operator's who
//! puts an old copy in its place can lose anything.
//!
//! **Opening** reads and checks the newest snapshot and every frame of the journal that is kept, unless the store was closed
//! and no file of journal, snapshots and sled has another length or time since. Then it reads their beginnings and the last
//! segment, and all the rest in the background once the store is in use.
//!
//! **Leaves** stay in memory until 256 of them stand in a full bundle; a thread of its own writes those, so a commit
//! waits for one sync and no more. Partial bundles are written at publication. A journal segment goes when both snapshots
//! cover it and its leaves stand in bundles whose names are synced.
//!
//! # What is durable when
//!
//! | step | if the machine stops after it |
//! |---|---|
//! | frame written | torn or whole; whole counts, torn is cut off: nobody was told |
//! | frame synced | the commit stands |
//! | new segment written, synced, named | a file in scratch, or an empty last segment |
//! | its folder synced | frames may follow in it; before this none is written |
//! | bundle written, synced, named | the leaves are in the journal too, and stay there until the next step |
//! | its folders synced (at publication, or before segments go) | segments may go |
//! | tiles and partial bundle named, folders synced | the former checkpoint stands; nobody reads them yet |
//! | checkpoint named | the former one stands, or this one, and all that it rests on is durable |
//! | snapshot written, synced, named, folder synced | the older two stand, or the newer |
//! | oldest snapshot removed, folder synced | only then segments go: else it could come back without what follows it |
//! | segments removed, oldest first | some may come back; what lies before a gap is ignored and removed |
//! | `CLOSED` named | journal, snapshots and sled are believed if their files are the same; its removal is synced before any changes |
//!
//! # What was deleted
//!
//! A row that was deleted, or written anew, is still in the journal's segments and in snapshots until two more snapshots are
//! made, and in sled's files for as long as sled pleases. [`SledStore::scrub`] takes all of it off the disk at once, while
//! the store is in use: it makes a snapshot of what lives, lets go of the ones before it and of the journal that it covers,
//! takes all but the leaves out of what must stay of that, blanks the private parts that nobody may open any more, and makes
//! sled anew. It stops at nothing that the store couldn't be opened after.
//!
//! # What happens when something fails
//!
//! Any failed write or sync of journal or bundles **poisons** the engine: the commit in hand is
//! [`Unknown`](countersign_store::CommitError::Unknown), later ones are
//! [`Poisoned`](countersign_store::CommitError::Poisoned), reads go on, and
//! [`failure`](countersign_store::Store::failure) names operation, file and what the system said. Nothing is ever retried
//! on the same file; opening the store again finds out. So does an error of sled's, since later reads would rest on it,
//! and a journal that is found damaged while a snapshot is made, or while it is read after opening believed it. A snapshot that can't be written and a segment that can't
//! be removed are warned of and tried again with the next segment; a failed publication is the caller's to repeat.
//!
//! A disk that loses a frame after it reported the sync done is noticed when anything that follows from the journal is
//! ahead of it: sled, a bundle, the checkpoint. Then, and with a wrong checksum anywhere but in the last frame, opening
//! is refused with segment and offset, and nothing is changed. What was damaged while the store was closed, by a disk that
//! changes no time, is found so in the last segment; further back it is found in the background, minutes later: then the
//! store is poisoned with segment and offset, and is not opened again.
//!
//! # Reads
//!
//! Rows are read on the caller's own thread. Most are in memory or in sled's cache; of one that is in neither, sled reads
//! up to ten pieces from the page cache, which takes about four times as long as to hand a read to another thread and back
//! (`examples/scale.rs` measures both). To hand over every read for the sake of the rare one would cost more than it saves,
//! so that is left to reads of bundles and tiles, which are whole files. No commit waits for a read of one row.
//!
//! All file operations of journal, snapshots, bundles and manifest go through [`files::Files`], so that tests can make
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
mod mark;
mod named;
mod open;
mod placer;
mod publishing;
mod scrub;
mod snapshot;
mod standing;
mod stretch;
#[cfg(test)]
mod tests;
mod writer;

pub use engine::{Options, SledStore};
pub use errors::OpenError;
pub use scrub::{Left, ScrubError, Scrubbed};
