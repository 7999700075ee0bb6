//! The mark that sled was closed, and how its files were then.
//!
//! sled alone can't tell whether it is what we left: its flush is no `fsync`, it writes over its own freed segments
//! without a barrier, and a part that is missing may show only when a row in it is read. So what it holds is believed on
//! one condition alone: it was closed, its files were synced, and they are of the same lengths and times now. In all
//! other cases every row is held against snapshot and journal, which takes seconds where this takes none.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::errors::OpenError;
use crate::files::Files;
use crate::placer::Placer;

const MAGIC: &[u8; 8] = b"CSGNMARK";
const VERSION: u32 = 1;

/// Where the mark is, in the store's folder.
pub(crate) fn path(folder: &Path) -> PathBuf {
    folder.join("CLOSED")
}

/// Takes the mark away, durably, and tells whether sled's files are those that it is about.
pub(crate) fn take(files: &dyn Files, folder: &Path, sled: &Path) -> Result<bool, OpenError> {
    let path = path(folder);
    let Some(found) = files.read(&path).map_err(OpenError::io(&path))? else { return Ok(false) };
    // Before sled is opened: from here on it changes, and nobody may believe the mark any more.
    files.remove(&path).map_err(OpenError::io(&path))?;
    files.sync_folder(folder).map_err(OpenError::io(folder))?;
    Ok(encode(sled).is_ok_and(|now| now == found))
}

/// Syncs sled's files, which nothing writes to any more, and marks them.
pub(crate) fn place(files: &dyn Files, placer: &Placer, folder: &Path, sled: &Path) -> io::Result<()> {
    for (path, metadata) in walk(sled)? {
        if metadata.is_file() {
            File::open(path)?.sync_all()?;
        } else {
            files.sync_folder(&path)?;
        }
    }
    files.sync_folder(sled)?;
    placer.place(files, &path(folder), &encode(sled)?)?;
    files.sync_folder(folder)
}

/// magic(8) ‖ version(4) ‖ of each file: length of its path u64 ‖ path ‖ its length u64 ‖ its time u128 ‖ then CRC-32C of
/// all that u32, little-endian.
fn encode(sled: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    for (path, metadata) in walk(sled)?.iter().filter(|(_, metadata)| metadata.is_file()) {
        // Below sled's own folder: the store's may be called by another name.
        let path = path.strip_prefix(sled).unwrap_or(path).as_os_str().as_encoded_bytes();
        bytes.extend_from_slice(&(path.len() as u64).to_le_bytes());
        bytes.extend_from_slice(path);
        bytes.extend_from_slice(&metadata.len().to_le_bytes());
        let time = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH);
        let time = time.map_err(|_| io::Error::other("a file is older than 1970"))?;
        bytes.extend_from_slice(&time.as_nanos().to_le_bytes());
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    Ok(bytes)
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
