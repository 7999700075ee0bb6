//! Reading a snapshot, block by block.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::{Buf as _, Bytes};
use countersign_store::layout::WIDTH;

use super::{HEADER_BYTES, Header, Item, MAGIC, MAX_BLOCK_BYTES, VERSION, path};
use crate::bundles::Lengths;
use crate::files::Files;
use crate::manifest::StoreId;

/// Why a snapshot can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// It isn't what was written: torn, flipped, another store's.
    #[error("{} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: &'static str },
    #[error("{} has version {found}", path.display())]
    Version { path: PathBuf, found: u32 },
    #[error("{source}")]
    Io { path: PathBuf, source: io::Error },
}

/// The bytes before a block's own.
const PREFIX_BYTES: usize = 12;

/// A snapshot that is being read.
pub(crate) struct Reader {
    path: PathBuf,
    file: Box<dyn Read + Send>,
    header: Header,
    lengths: Lengths,
    /// What is left of the block in hand.
    block: Bytes,
    /// Blocks so far.
    number: u64,
    items: u64,
    ended: bool,
}

impl Reader {
    /// Begins to read the snapshot in `folder`, and reads the lengths of its bundles.
    pub(crate) fn open(
        files: &dyn Files,
        folder: &Path,
        next_segment: u64,
        id: StoreId,
    ) -> Result<Reader, SnapshotError> {
        let path = path(folder, next_segment);
        let (file, header) = open(files, &path, next_segment, id)?;
        let lengths = Lengths::default();
        let block = Bytes::new();
        let mut reader = Reader { path, file, header, lengths, block, number: 0, items: 0, ended: false };
        let bundles = header.head.size.div_ceil(WIDTH);
        let mut lengths = Vec::new();
        for _ in 0..bundles {
            lengths.push(reader.bundle()?);
        }
        reader.lengths = Lengths::resume(header.head.size, lengths);
        Ok(reader)
    }

    pub(crate) fn header(&self) -> Header {
        self.header
    }

    /// The lengths of the bundles up to the snapshot's size.
    pub(crate) fn lengths(&self) -> &Lengths {
        &self.lengths
    }

    /// The next item; `None` at the end, which was as it should be then.
    pub(crate) fn next(&mut self) -> Result<Option<Item>, SnapshotError> {
        if !self.fill()? {
            return Ok(None);
        }
        self.items += 1;
        let item = take_item(&mut self.block);
        item.map(Some).ok_or_else(|| self.damaged("an item can't be read"))
    }

    fn bundle(&mut self) -> Result<[u32; 2], SnapshotError> {
        let there = self.fill()?;
        if !there || self.block.len() < 9 || self.block.get_u8() != 0 {
            return Err(self.damaged("a bundle's lengths are missing"));
        }
        self.items += 1;
        Ok([self.block.get_u32_le(), self.block.get_u32_le()])
    }

    /// Reads the next block if nothing is left of this one; `false` at the end.
    fn fill(&mut self) -> Result<bool, SnapshotError> {
        if !self.block.is_empty() {
            return Ok(true);
        }
        if self.ended {
            return Ok(false);
        }
        let (length, packed) = read_block(&mut self.file, self.number, &self.path)?;
        self.number += 1;
        if length == 0 {
            self.ended = true;
            let sound = packed == self.items.to_le_bytes() && at_end(&mut self.file, &self.path)?;
            return if sound { Ok(false) } else { Err(self.damaged("its end isn't the end")) };
        }
        let block = lz4_flex::block::decompress(&packed, length);
        self.block = block.map_err(|_| self.damaged("a block can't be unpacked"))?.into();
        if self.block.is_empty() {
            return Err(self.damaged("a block is empty"));
        }
        Ok(true)
    }

    fn damaged(&self, what: &'static str) -> SnapshotError {
        SnapshotError::Damaged { path: self.path.clone(), what }
    }
}

/// Reads all of a snapshot and checks that it is whole, without unpacking it: some tenths of a second for each GiB, since
/// a snapshot that is found to be torn while the one before it still stands costs nothing. `after_block` is told how much
/// was read, and may end it.
pub(crate) fn verify<E: From<SnapshotError>>(
    files: &dyn Files,
    folder: &Path,
    next_segment: u64,
    id: StoreId,
    mut after_block: impl FnMut(usize) -> Result<(), E>,
) -> Result<Header, E> {
    let path = path(folder, next_segment);
    let (mut file, header) = open(files, &path, next_segment, id)?;
    for number in 0.. {
        let (length, packed) = read_block(&mut file, number, &path)?;
        if length == 0 {
            break;
        }
        after_block(packed.len())?;
    }
    if at_end(&mut file, &path)? {
        Ok(header)
    } else {
        Err(SnapshotError::Damaged { path, what: "something follows its end" }.into())
    }
}

fn open(
    files: &dyn Files,
    path: &Path,
    next_segment: u64,
    id: StoreId,
) -> Result<(Box<dyn Read + Send>, Header), SnapshotError> {
    let damaged = |what| SnapshotError::Damaged { path: path.to_owned(), what };
    let file = files.open(path).map_err(|source| SnapshotError::Io { path: path.to_owned(), source })?;
    let file = file.ok_or_else(|| damaged("it is missing"))?;
    // Blocks are far larger than this; what it saves is the calls for their prefixes.
    let mut file: Box<dyn Read + Send> = Box::new(io::BufReader::with_capacity(64 << 10, file));
    let mut bytes = [0; HEADER_BYTES];
    read_exact(&mut file, &mut bytes, path)?;
    let found = u32::from_le_bytes(*bytes[8..].first_chunk().expect("within the header"));
    if bytes.starts_with(MAGIC) && found != VERSION {
        return Err(SnapshotError::Version { path: path.to_owned(), found });
    }
    let header = Header::decode(&bytes).ok_or_else(|| damaged("its header is wrong"))?;
    if header.id != id {
        return Err(damaged("it is another store's"));
    }
    if header.next_segment != next_segment {
        return Err(damaged("it has another one's name"));
    }
    Ok((file, header))
}

/// What stands before a block: its lengths, and the checksum that binds them and its place to its bytes.
pub(super) fn prefix(number: u64, length: u32, packed: &[u8]) -> [u8; PREFIX_BYTES] {
    let lengths = [length.to_le_bytes(), (packed.len() as u32).to_le_bytes()].concat(); // as in MAX_BLOCK_BYTES
    let checksum = crc32c::crc32c(&number.to_le_bytes());
    let checksum = crc32c::crc32c_append(checksum, &lengths);
    let checksum = crc32c::crc32c_append(checksum, packed);
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..8].copy_from_slice(&lengths);
    prefix[8..].copy_from_slice(&checksum.to_le_bytes());
    prefix
}

fn read_block(file: &mut impl Read, number: u64, path: &Path) -> Result<(usize, Vec<u8>), SnapshotError> {
    let damaged = |what| SnapshotError::Damaged { path: path.to_owned(), what };
    let mut found = [0; PREFIX_BYTES];
    read_exact(file, &mut found, path)?;
    let number_at = |at: usize| u32::from_le_bytes(*found[at..].first_chunk().expect("within the prefix"));
    let (length, packed_length) = (number_at(0), number_at(4) as usize);
    let longest = lz4_flex::block::get_maximum_output_size(MAX_BLOCK_BYTES);
    if length as usize > MAX_BLOCK_BYTES || packed_length > longest {
        return Err(damaged("a block's length is wrong"));
    }
    let mut packed = vec![0; packed_length];
    read_exact(file, &mut packed, path)?;
    if prefix(number, length, &packed) != found {
        return Err(damaged("a block's checksum is wrong"));
    }
    Ok((length as usize, packed))
}

fn read_exact(file: &mut impl Read, bytes: &mut [u8], path: &Path) -> Result<(), SnapshotError> {
    file.read_exact(bytes).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => SnapshotError::Damaged { path: path.to_owned(), what: "it is torn" },
        _ => SnapshotError::Io { path: path.to_owned(), source },
    })
}

fn at_end(file: &mut impl Read, path: &Path) -> Result<bool, SnapshotError> {
    match read_exact(file, &mut [0], path) {
        Ok(()) => Ok(false),
        Err(SnapshotError::Damaged { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

fn take_item(block: &mut Bytes) -> Option<Item> {
    match block.try_get_u8().ok()? {
        1 => {
            let (key_length, value_length) = (block.try_get_u16_le().ok()?, block.try_get_u16_le().ok()?);
            let version = block.try_get_u64_le().ok()?;
            let (key, value) = (take(block, key_length)?, take(block, value_length)?);
            Some(Item::Row { key, version, value })
        }
        2 => {
            let hour = block.try_get_u64_le().ok()?;
            let (key_length, value_length) = (block.try_get_u16_le().ok()?, block.try_get_u16_le().ok()?);
            let (key, value) = (take(block, key_length)?, take(block, value_length)?);
            Some(Item::Request { hour, key, value })
        }
        _ => None,
    }
}

fn take(block: &mut Bytes, length: u16) -> Option<Bytes> {
    let length = usize::from(length);
    (length <= block.len()).then(|| block.split_to(length))
}
