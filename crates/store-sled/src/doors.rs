//! How the fuzz targets of `tests/fuzz` reach the parsers of this crate, and how tests see how a store was opened. Nothing
//! else calls these.

use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use countersign_store::{Batch, Head};

use crate::files::{AppendFile, Files};
use crate::journal::frame::{self, Found};
use crate::manifest::StoreId;
use crate::snapshot::{self, SnapshotError};

/// Whether a store that is open was found as it was closed, so that its snapshot and journal were not read.
pub fn was_believed(store: &crate::SledStore) -> bool {
    store.believed
}

/// The frame that stands at the beginning of these bytes: what it says, and the bytes that writing the same again gives.
pub fn journal_frame(segment: &Bytes) -> Option<(Head, Batch, Vec<u8>)> {
    let Found::Body(body) = frame::look(segment, 0) else { return None };
    let (head, rest) = frame::head(body)?;
    let batch = frame::batch(rest)?;
    let mut again = Vec::new();
    frame::encode(head, &batch, &mut again);
    Some((head, batch, again))
}

/// A frame around these bytes, with checksums that hold: so that a fuzzer gets past them.
pub fn journal_framed(body: &[u8]) -> Bytes {
    let mut framed = (body.len() as u32).to_le_bytes().to_vec(); // a fuzzer's inputs are far below 4 GiB
    framed.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    framed.extend_from_slice(&crc32c::crc32c(&framed).to_le_bytes());
    framed.extend_from_slice(body);
    framed.into()
}

/// Whether a whole frame stands anywhere after a place.
pub fn journal_any_after(segment: &Bytes, at: usize) -> bool {
    frame::any_after(segment, at)
}

/// The lengths of the leaves in the frame that stands at the beginning of these bytes, read without the leaves.
pub fn journal_leaf_lengths(segment: &Bytes) -> Option<Vec<(usize, usize)>> {
    let Found::Body(body) = frame::look(segment, 0) else { return None };
    let (_, rest) = frame::head(body)?;
    let mut lengths = Vec::new();
    frame::leaf_lengths(&rest, |record, private| lengths.push((record, private)))?;
    Some(lengths)
}

/// The store whose snapshots [`snapshot`] reads.
const ID: StoreId = StoreId([7; 16]);

/// The name under which it reads them.
const NEXT_SEGMENT: u64 = 2;

/// Reads a snapshot to its end: how many bundles and how many items it has.
pub fn snapshot(bytes: &[u8]) -> Option<(usize, usize)> {
    let (files, folder) = (OneFile(bytes.to_vec()), Path::new("snapshots"));
    let whole = snapshot::verify(&files, folder, NEXT_SEGMENT, ID, |_| Ok::<_, SnapshotError>(()));
    let mut reader = snapshot::Reader::open(&files, folder, NEXT_SEGMENT, ID).ok()?;
    let mut items = 0;
    while reader.next().ok()?.is_some() {
        items += 1;
    }
    whole.expect("what reads to its end is whole");
    Some((reader.lengths().all().count(), items))
}

/// A snapshot of a log of so many leaves, with one block of these items, of which it says that there are so many; all of
/// its checksums hold, so that a fuzzer gets past them.
pub fn snapshot_framed(leaves: u64, said: u64, items: &[u8]) -> Vec<u8> {
    let mut bytes = b"CSGNSNAP".to_vec();
    bytes.extend_from_slice(&snapshot::VERSION.to_le_bytes());
    bytes.extend_from_slice(&ID.0);
    for number in [leaves, 1, 1, NEXT_SEGMENT, 0] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    let blocks = [(items.len() as u32, lz4_flex::block::compress(items)), (0, said.to_le_bytes().to_vec())];
    let blocks = blocks.into_iter().filter(|(length, packed)| *length > 0 || packed.len() == 8);
    for (number, (length, packed)) in (0_u64..).zip(blocks) {
        let lengths = [length.to_le_bytes(), (packed.len() as u32).to_le_bytes()].concat();
        let bound = [&number.to_le_bytes(), lengths.as_slice(), &packed].concat();
        bytes.extend_from_slice(&lengths);
        bytes.extend_from_slice(&crc32c::crc32c(&bound).to_le_bytes());
        bytes.extend_from_slice(&packed);
    }
    bytes
}

/// A file system in which every file has these bytes, and nothing can be written.
struct OneFile(Vec<u8>);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Files for OneFile {
    fn create(&self, _: &Path) -> io::Result<Box<dyn AppendFile>> {
        refused()
    }

    fn append(&self, _: &Path, _: u64) -> io::Result<Box<dyn AppendFile>> {
        refused()
    }

    fn read(&self, _: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(Some(self.0.clone()))
    }

    fn open(&self, _: &Path) -> io::Result<Option<Box<dyn Read + Send>>> {
        Ok(Some(Box::new(io::Cursor::new(self.0.clone()))))
    }

    fn exists(&self, _: &Path) -> io::Result<bool> {
        Ok(true)
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn create_folder(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        refused()
    }
}
