//! A book's entries in one append-only file.
//!
//! ```text
//! countersign-book v1\n
//! [ length u32 | CRC-32C of the length u32 | CRC-32C of the entry u32 | entry ]*      integers little-endian
//! ```
//!
//! The length has a checksum of its own: a frame that runs past the end of the file is a torn write only if its length is
//! what was written, and damage otherwise.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::storage::{BookError, BookStorage, MAX_ENTRY_BYTES};
use crate::files;

const MAGIC: &[u8] = b"countersign-book v1\n";

/// The three integers before an entry.
const HEADER_BYTES: usize = 12;

/// A durable book file, for one process at a time.
pub struct FileBook {
    path: PathBuf,
    writer: Mutex<Writer>,
    /// Held over a sync. One that failed may have dropped what others wait for, and the next would say that all is well.
    syncing: Mutex<()>,
    /// Held for as long as the book is open. A file beside the book, since the book itself is replaced when rewritten.
    _lock: File,
}

struct Writer {
    file: Arc<File>,
    size: u64,
    poisoned: bool,
}

impl FileBook {
    /// Opens a book, or makes an empty one.
    pub fn open(path: &Path) -> Result<Self, BookError> {
        let failed = |source| BookError::Io { path: path.to_owned(), source };
        let lock = beside(path, "lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(lock).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(BookError::InUse { path: path.to_owned() }),
            Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        // A rewrite that did not come to its rename.
        match std::fs::remove_file(beside(path, "new")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        if !path.try_exists().map_err(failed)? {
            write_beside(path, &[]).and_then(|_| put_in_place(path)).map_err(failed)?;
        }
        let file = OpenOptions::new().read(true).append(true).open(path).map_err(failed)?;
        if let Some(mode) = files::loose_mode(&file).map_err(failed)? {
            return Err(BookError::Loose { path: path.to_owned(), mode });
        }
        let size = file.metadata().map_err(failed)?.len();
        let writer = Mutex::new(Writer { file: Arc::new(file), size, poisoned: false });
        Ok(Self { path: path.to_owned(), writer, syncing: Mutex::default(), _lock: lock })
    }

    fn failed(&self, source: io::Error) -> BookError {
        BookError::Io { path: self.path.clone(), source }
    }

    /// Outside the lock, so that unsynced appends go on meanwhile. What was appended before is covered.
    fn sync_file(&self, file: &File) -> Result<(), BookError> {
        let _syncing = self.syncing.lock();
        if self.writer.lock().poisoned {
            return Err(BookError::Poisoned);
        }
        file.sync_data().map_err(|error| {
            // After a failed sync the kernel may have dropped the pages: a second sync would lie.
            self.writer.lock().poisoned = true;
            self.failed(error)
        })
    }
}

impl BookStorage for FileBook {
    fn load(&self) -> Result<Vec<Vec<u8>>, BookError> {
        let mut writer = self.writer.lock();
        // What a process wrote that died before its sync is read back from memory alone: it must stand before anything
        // builds on it.
        writer.file.sync_all().map_err(|error| {
            writer.poisoned = true;
            self.failed(error)
        })?;
        let mut bytes = Vec::new();
        let mut file = File::open(&self.path).map_err(|error| self.failed(error))?;
        file.read_to_end(&mut bytes).map_err(|error| self.failed(error))?;
        if !bytes.starts_with(MAGIC) {
            return Err(BookError::NotABook { path: self.path.clone() });
        }
        let (entries, good) = frames(&bytes).map_err(|(offset, problem)| BookError::Damaged {
            path: self.path.clone(),
            offset: offset as u64,
            problem,
        })?;
        if good < bytes.len() {
            tracing::warn!(book = %self.path.display(), at = good, torn = bytes.len() - good, "cutting off a torn entry");
            writer.file.set_len(good as u64).map_err(|error| self.failed(error))?;
            writer.file.sync_all().map_err(|error| self.failed(error))?;
        }
        writer.size = good as u64;
        Ok(entries)
    }

    fn append(&self, entry: &[u8], sync: bool) -> Result<(), BookError> {
        let frame = frame(entry)?;
        let file = {
            let mut writer = self.writer.lock();
            if writer.poisoned {
                return Err(BookError::Poisoned);
            }
            if let Err(error) = writer.file.as_ref().write_all(&frame) {
                writer.poisoned = true;
                return Err(self.failed(error));
            }
            writer.size += frame.len() as u64;
            Arc::clone(&writer.file)
        };
        if sync { self.sync_file(&file) } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), BookError> {
        let file = {
            let writer = self.writer.lock();
            if writer.poisoned {
                return Err(BookError::Poisoned);
            }
            Arc::clone(&writer.file)
        };
        self.sync_file(&file)
    }

    fn rewrite(&self, entries: &[Vec<u8>]) -> Result<(), BookError> {
        self.rewrite_beside(entries, &mut Vec::new)
    }

    fn rewrite_beside(
        &self,
        entries: &[Vec<u8>],
        last: &mut dyn FnMut() -> Vec<Vec<u8>>,
    ) -> Result<(), BookError> {
        // What takes long happens beside the book, so that appends to it go on.
        let new = write_beside(&self.path, entries).map_err(|error| self.failed(error))?;
        let last = last();
        let mut writer = self.writer.lock();
        if writer.poisoned {
            return Err(BookError::Poisoned);
        }
        let replaced = append_all(&new, &last)
            .and_then(|()| put_in_place(&self.path))
            .and_then(|()| OpenOptions::new().read(true).append(true).open(&self.path))
            .and_then(|file| Ok((file.metadata()?.len(), file)));
        match replaced {
            Ok((size, file)) => {
                *writer = Writer { file: Arc::new(file), size, poisoned: false };
                Ok(())
            }
            Err(error) => {
                // Which of the two files the name stands for is not known.
                writer.poisoned = true;
                Err(self.failed(error))
            }
        }
    }

    fn size(&self) -> u64 {
        self.writer.lock().size
    }
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// Writes a whole book beside the old one, durably.
fn write_beside(path: &Path, entries: &[Vec<u8>]) -> io::Result<File> {
    let new = beside(path, "new");
    // One that an earlier rewrite could not finish.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = files::create_private(&new)?;
    (&file).write_all(MAGIC)?;
    append_all(&file, entries)?;
    file.sync_all()?;
    Ok(file)
}

fn append_all(file: &File, entries: &[Vec<u8>]) -> io::Result<()> {
    let mut file = io::BufWriter::new(file);
    for entry in entries {
        file.write_all(&frame(entry).map_err(io::Error::other)?)?;
    }
    file.flush()
}

/// Puts what was written beside the book in its place.
fn put_in_place(path: &Path) -> io::Result<()> {
    std::fs::rename(beside(path, "new"), path)?;
    files::sync_parent(path)
}

fn frame(entry: &[u8]) -> Result<Vec<u8>, BookError> {
    if entry.len() > MAX_ENTRY_BYTES {
        return Err(BookError::TooLong { bytes: entry.len() });
    }
    let length = u32::try_from(entry.len()).expect("at most 1 MiB, checked above").to_le_bytes();
    let mut frame = Vec::with_capacity(HEADER_BYTES + entry.len());
    frame.extend_from_slice(&length);
    frame.extend_from_slice(&crc32c::crc32c(&length).to_le_bytes());
    frame.extend_from_slice(&crc32c::crc32c(entry).to_le_bytes());
    frame.extend_from_slice(entry);
    Ok(frame)
}

/// Where a frame is damaged, and how.
type Damage = (usize, &'static str);

/// The entries, and how many bytes of the file are whole frames. What follows them is a torn write.
fn frames(bytes: &[u8]) -> Result<(Vec<Vec<u8>>, usize), Damage> {
    let mut entries = Vec::new();
    let mut at = MAGIC.len();
    loop {
        let rest = &bytes[at..];
        let Some((header, rest)) = rest.split_at_checked(HEADER_BYTES) else { return Ok((entries, at)) };
        let word = |n: usize| {
            let word = header[4 * n..4 * n + 4].try_into().expect("four of the header's twelve bytes");
            u32::from_le_bytes(word)
        };
        let length = word(0) as usize;
        if crc32c::crc32c(&header[..4]) != word(1) {
            // A file that grew before its data arrived is zero from there on.
            let torn = header.iter().chain(rest).all(|byte| *byte == 0);
            return if torn {
                Ok((entries, at))
            } else {
                Err((at, "a frame's length is not what was written"))
            };
        }
        if length > MAX_ENTRY_BYTES {
            return Err((at, "a frame is longer than any entry"));
        }
        let Some((entry, rest)) = rest.split_at_checked(length) else { return Ok((entries, at)) };
        if crc32c::crc32c(entry) != word(2) {
            let torn = rest.iter().all(|byte| *byte == 0);
            return if torn { Ok((entries, at)) } else { Err((at, "an entry is not what was written")) };
        }
        entries.push(entry.to_vec());
        at += HEADER_BYTES + length;
    }
}

/// How much of a book's file is whole frames, and the bytes that writing their entries again gives. For the fuzz targets.
#[doc(hidden)]
pub fn read_frames(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (entries, good) = bytes.starts_with(MAGIC).then(|| frames(bytes).ok())??;
    let mut again = MAGIC.to_vec();
    for entry in &entries {
        again.extend_from_slice(&frame(entry).ok()?);
    }
    Some((good, again))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
