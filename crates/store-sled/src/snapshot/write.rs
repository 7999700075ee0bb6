//! Writing a snapshot.

use std::io;
use std::path::Path;

use super::{BLOCK_BYTES, Header, Item};
use crate::bundles::Lengths;
use crate::files::Files;
use crate::placer::{Draft, Placer};

/// Bytes after which what was written is synced: a single sync of it all at the end would make the journal's syncs wait
/// for as long as the disk takes for it.
const SYNC_BYTES: usize = 8 << 20;

/// A snapshot on its way to its name. Items must come in their order.
pub(crate) struct Writer {
    draft: Draft,
    block: Vec<u8>,
    packed: Vec<u8>,
    /// Blocks so far.
    number: u64,
    items: u64,
    unsynced: usize,
}

impl Writer {
    pub(crate) fn begin(files: &dyn Files, placer: &Placer, header: &Header) -> io::Result<Writer> {
        let mut draft = placer.draft(files)?;
        match draft.file.write(&header.encode()) {
            Ok(()) => {
                let (block, packed) = (Vec::with_capacity(BLOCK_BYTES * 2), Vec::new());
                Ok(Writer { draft, block, packed, number: 0, items: 0, unsynced: 0 })
            }
            Err(error) => {
                draft.discard(files);
                Err(error)
            }
        }
    }

    pub(crate) fn lengths(&mut self, lengths: &Lengths) -> io::Result<()> {
        for [records, private] in lengths.all() {
            self.block.push(0);
            self.block.extend_from_slice(&records.to_le_bytes());
            self.block.extend_from_slice(&private.to_le_bytes());
            self.ended_item()?;
        }
        Ok(())
    }

    pub(crate) fn item(&mut self, item: &Item) -> io::Result<()> {
        match item {
            Item::Row { key, version, value } => {
                self.block.push(1);
                self.put_lengths(key, value);
                self.block.extend_from_slice(&version.to_le_bytes());
                self.block.extend_from_slice(key);
                self.block.extend_from_slice(value);
            }
            Item::Request { hour, key, value } => {
                self.block.push(2);
                self.block.extend_from_slice(&hour.to_le_bytes());
                self.put_lengths(key, value);
                self.block.extend_from_slice(key);
                self.block.extend_from_slice(value);
            }
        }
        self.ended_item()
    }

    /// Ends it, syncs it and gives it its name. Whoever calls syncs the folder.
    pub(crate) fn place(mut self, files: &dyn Files, place: &Path) -> io::Result<()> {
        let ended = self.end();
        match ended {
            Ok(()) => self.draft.place(files, place),
            Err(error) => {
                self.discard(files);
                Err(error)
            }
        }
    }

    pub(crate) fn discard(self, files: &dyn Files) {
        self.draft.discard(files);
    }

    fn end(&mut self) -> io::Result<()> {
        self.flush()?;
        let items = self.items.to_le_bytes();
        self.packed.clear();
        self.packed.extend_from_slice(&items);
        self.write_block(0)
    }

    /// Every length fits: keys have at most 256 bytes, values 4,000.
    fn put_lengths(&mut self, key: &[u8], value: &[u8]) {
        self.block.extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.block.extend_from_slice(&(value.len() as u16).to_le_bytes());
    }

    fn ended_item(&mut self) -> io::Result<()> {
        self.items += 1;
        if self.block.len() < BLOCK_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let length = self.block.len() as u32; // at most MAX_BLOCK_BYTES
        self.packed = lz4_flex::block::compress(&self.block);
        self.block.clear();
        self.write_block(length)
    }

    fn write_block(&mut self, length: u32) -> io::Result<()> {
        let prefix = super::read::prefix(self.number, length, &self.packed);
        self.draft.file.write(&prefix)?;
        self.draft.file.write(&self.packed)?;
        self.number += 1;
        self.unsynced += prefix.len() + self.packed.len();
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            self.draft.file.sync()?;
        }
        Ok(())
    }
}
