//! Snapshots: the live state at the end of a journal segment, in one file.
//!
//! ```text
//! snapshot = header ‖ blocks ‖ end
//! header   = magic(8) ‖ version u32 ‖ store id(16) ‖ size u64 ‖ epoch u64 ‖ sequence u64 ‖ next segment u64
//!            ‖ newest hour u64, or 0 ‖ CRC-32C of those u32
//! block    = length u32 ‖ packed length u32 ‖ CRC-32C u32 of (number of the block u64 ‖ both lengths ‖ packed) ‖ packed
//! end      = a block of length 0, whose bytes are the number of items u64
//! items    = bundle lengths: one of each bundle of the log up to here, the growing one too
//!            (0 ‖ bytes of records u32 ‖ bytes of private parts u32),
//!            rows by their keys       (1 ‖ key length u16 ‖ value length u16 ‖ version u64 ‖ key ‖ value),
//!            request rows by hour and key (2 ‖ hour u64 ‖ key length u16 ‖ value length u16 ‖ key ‖ value)
//! ```
//!
//! All numbers are little-endian; blocks are packed with LZ4, and hold whole items. A snapshot is named by the first
//! segment that it doesn't cover. It is written to a scratch file, synced, renamed, and its folder synced: what has a
//! name is whole, unless the disk is not what it was, and then a checksum says so.

mod checking;
mod keeper;
mod read;
mod write;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use countersign_store::Head;

use crate::errors::OpenError;
use crate::files::Files;
use crate::manifest::StoreId;

pub(crate) use checking::{Believed, in_turn};
pub(crate) use keeper::{Due, Keeper, Kept, MakeError, SNAPSHOTS_KEPT, SnapshotWork};
pub(crate) use read::{Reader, SnapshotError, verify};
pub(crate) use write::Writer;

const MAGIC: &[u8; 8] = b"CSGNSNAP";
pub(crate) const VERSION: u32 = 1;
const HEADER_BYTES: usize = 72;

/// Bytes that are packed together: enough for LZ4 to find what rows have in common, little to hold.
const BLOCK_BYTES: usize = 256 << 10;

/// The most that a block holds: the last item may begin anywhere in it.
const MAX_BLOCK_BYTES: usize = BLOCK_BYTES + 2 * (u16::MAX as usize) + 32;

/// What a snapshot is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: StoreId,
    pub(crate) head: Head,
    /// The first segment that isn't in it.
    pub(crate) next_segment: u64,
    /// The newest hour that had request rows; 0 if none had.
    pub(crate) newest_hour: u64,
}

/// A part of the live state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Row { key: Bytes, version: u64, value: Bytes },
    Request { hour: u64, key: Bytes, value: Bytes },
}

/// Where the snapshot stands whose first missing segment this is.
pub(crate) fn path(folder: &Path, next_segment: u64) -> PathBuf {
    folder.join(format!("{next_segment:012}.snap"))
}

/// The snapshots that are there, by the first segment that each doesn't cover, newest first.
pub(crate) fn list(files: &dyn Files, folder: &Path) -> Result<Vec<u64>, OpenError> {
    let names = files.list(folder).map_err(OpenError::io(folder))?;
    let number = |name: &String| {
        let digits = name.strip_suffix(".snap")?;
        (digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse().ok())?
    };
    let mut found: Vec<u64> = names.iter().filter_map(number).collect();
    found.sort_unstable_by(|one, other| other.cmp(one));
    Ok(found)
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.id.0);
        let Head { size, epoch, sequence } = self.head;
        for number in [size, epoch, sequence, self.next_segment, self.newest_hour] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let number = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("within the header"));
        let id = StoreId(*bytes[12..].first_chunk().expect("within the header"));
        let head = Head { size: number(28), epoch: number(36), sequence: number(44) };
        let header = Header { id, head, next_segment: number(52), newest_hour: number(60) };
        (header.encode() == bytes).then_some(header)
    }
}
