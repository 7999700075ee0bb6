//! The mark that the store was closed, and how its files were then.
//!
//! sled alone can't tell whether it is what we left: its flush is no `fsync`, it writes over its own freed segments
//! without a barrier, and a part that is missing may show only when a row in it is read. And a journal and a snapshot can
//! tell only by being read, which takes as long as there is of them. So what lies there is believed on one condition
//! alone: the store was closed, sled's files were synced, and all files of journal, snapshots and sled are of the same
//! lengths and times now. In all other cases snapshot and journal are read and checked, and every row of sled is held
//! against them.
//!
//! That a file has kept its length and its time says that nobody has written to it, not that the disk still has what was
//! written: sled's pages have checksums for whoever reads them, and snapshot and journal are read in the background after
//! they were believed. Whoever writes to a file and sets its time back is believed too, if the checksums are right.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Buf as _;
use countersign_store::Head;
use countersign_store::layout::WIDTH;

use crate::bundles::Lengths;
use crate::errors::OpenError;
use crate::files::Files;
use crate::placer::Placer;

const MAGIC: &[u8; 8] = b"CSGNMARK";
const VERSION: u32 = 2;

/// The folders whose files it is about, in the store's.
const MARKED: [&str; 3] = ["journal", "sled", "snapshots"];

/// What the mark says of a store that was closed, beside how its files were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    /// The head that the journal reaches.
    pub(crate) head: Head,
    /// Where what is read in the background had come to: at the snapshot (0), or at this segment.
    pub(crate) check_from: u64,
    /// The lengths of all bundles.
    pub(crate) lengths: Lengths,
}

/// Where the mark is, in the store's folder.
fn path(folder: &Path) -> PathBuf {
    folder.join("CLOSED")
}

/// What the mark says, if there is one and the files are those that it is about.
pub(crate) fn read(files: &dyn Files, folder: &Path) -> Result<Option<Closed>, OpenError> {
    let path = path(folder);
    let Some(found) = files.read(&path).map_err(OpenError::io(&path))? else { return Ok(None) };
    let closed = decode(&found);
    Ok(closed.filter(|closed| encode(closed, folder).is_ok_and(|now| now == found)))
}

/// Takes the mark away, durably: before anything of what it is about changes. From here on nobody may believe it any more.
pub(crate) fn take(files: &dyn Files, folder: &Path) -> Result<(), OpenError> {
    let path = path(folder);
    if files.exists(&path).map_err(OpenError::io(&path))? {
        files.remove(&path).map_err(OpenError::io(&path))?;
        files.sync_folder(folder).map_err(OpenError::io(folder))?;
    }
    Ok(())
}

/// Syncs sled's files and marks all, which nothing writes to any more. Snapshots and journal were synced as they were
/// written.
pub(crate) fn place(files: &dyn Files, placer: &Placer, folder: &Path, closed: &Closed) -> io::Result<()> {
    let sled = folder.join("sled");
    for (path, metadata) in walk(&sled)? {
        if metadata.is_file() {
            File::open(path)?.sync_all()?;
        } else {
            files.sync_folder(&path)?;
        }
    }
    files.sync_folder(&sled)?;
    placer.place(files, &path(folder), &encode(closed, folder)?)?;
    files.sync_folder(folder)
}

/// magic(8) ‖ version(4) ‖ size u64 ‖ epoch u64 ‖ sequence u64 ‖ where to check from u64
/// ‖ of each bundle up to that size, the growing one too: bytes of records u32 ‖ bytes of private parts u32
/// ‖ of each file: length of its path u64 ‖ path ‖ its length u64 ‖ its time u128 ‖ then CRC-32C of all that u32,
/// little-endian.
fn encode(closed: &Closed, folder: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    let Head { size, epoch, sequence } = closed.head;
    for number in [size, epoch, sequence, closed.check_from] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for length in closed.lengths.all().flatten() {
        bytes.extend_from_slice(&length.to_le_bytes());
    }
    for marked in MARKED {
        for (path, metadata) in walk(&folder.join(marked))?.iter().filter(|(_, metadata)| metadata.is_file())
        {
            // Below the store's own folder, which may be called by another name.
            let path = path.strip_prefix(folder).unwrap_or(path).as_os_str().as_encoded_bytes();
            bytes.extend_from_slice(&(path.len() as u64).to_le_bytes());
            bytes.extend_from_slice(path);
            bytes.extend_from_slice(&metadata.len().to_le_bytes());
            let time = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH);
            let time = time.map_err(|_| io::Error::other("a file is older than 1970"))?;
            bytes.extend_from_slice(&time.as_nanos().to_le_bytes());
        }
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    Ok(bytes)
}

/// What a mark says beside how the files were; `None` if it is none, or another version's.
fn decode(bytes: &[u8]) -> Option<Closed> {
    let (bytes, checksum) = bytes.split_last_chunk::<4>()?;
    if u32::from_le_bytes(*checksum) != crc32c::crc32c(bytes) {
        return None;
    }
    let mut rest = bytes.strip_prefix(MAGIC)?;
    if rest.try_get_u32_le().ok()? != VERSION {
        return None;
    }
    let (size, epoch) = (rest.try_get_u64_le().ok()?, rest.try_get_u64_le().ok()?);
    let (sequence, check_from) = (rest.try_get_u64_le().ok()?, rest.try_get_u64_le().ok()?);
    let mut lengths = Vec::new();
    for _ in 0..size.div_ceil(WIDTH) {
        lengths.push([rest.try_get_u32_le().ok()?, rest.try_get_u32_le().ok()?]);
    }
    let lengths = Lengths::resume(size, lengths);
    Some(Closed { head: Head { size, epoch, sequence }, check_from, lengths })
}

/// All that lies in a folder, in the order of the paths.
fn walk(folder: &Path) -> io::Result<Vec<(PathBuf, fs::Metadata)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            found.push((entry.path(), metadata));
        }
    }
    found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_mark_is_read_as_written_and_no_damaged_one_is() {
        let folder = TempDir::new().unwrap();
        for marked in MARKED {
            fs::create_dir(folder.path().join(marked)).unwrap();
            fs::write(folder.path().join(marked).join("a file"), marked).unwrap();
        }
        for size in [0, 1, 255, 256, 257, 1_000] {
            let mut lengths = Lengths::default();
            (0..size).for_each(|leaf| lengths.push(leaf % 7, leaf % 5));
            let head = Head { size: size as u64, epoch: 3, sequence: 4 };
            let closed = Closed { head, check_from: 5, lengths };
            let bytes = encode(&closed, folder.path()).unwrap();
            assert_eq!(decode(&bytes).as_ref(), Some(&closed));
            for at in 0..bytes.len() {
                assert_eq!(decode(&bytes[..at]), None, "cut at {at}");
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x10;
                assert_eq!(decode(&flipped), None, "flipped at {at}");
            }
        }
    }
}
