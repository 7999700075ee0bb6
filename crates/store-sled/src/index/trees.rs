//! The part of the index that lies on disk, in sled.
//!
//! One tree holds the rows: key → version u64 ‖ value, and at the empty key, which no row can have, the sequence that
//! was applied last ‖ the store's id. Request rows lie in a tree per hour, dropped whole: deletes in place make sled grow without bound.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use countersign_store::{Entry, Key, REQUEST_HOURS, ReadError};
use parking_lot::RwLock;

use super::{Hot, Layer, Moment, place};
use crate::files::lock;
use crate::manifest::StoreId;

const ROWS: &[u8] = b"rows/1";
const HOUR_PREFIX: &[u8] = b"requests/1/";
const APPLIED: &[u8] = b"";

/// sled gives its own lock back from a thread of its own, some time after the last handle is gone. We hold the store's
/// lock already when we open sled, so whoever holds sled's is on its way out.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How often sled writes what it was given. Only the time to open depends on it.
const FLUSH_EVERY_MS: u64 = 1_000;

/// What sled's own snapshots are called while they are being written: it takes them up as they are, when it finds them.
const HALF_WRITTEN: &str = ".generating";

pub(crate) struct Trees {
    db: sled::Db,
    rows: sled::Tree,
    hours: RwLock<BTreeMap<u64, sled::Tree>>,
    hot: Hot,
    folder: PathBuf,
    cache_bytes: u64,
    id: StoreId,
}

impl Trees {
    /// Opens the trees, or makes empty ones, for the store with this id.
    pub(crate) fn open(folder: &Path, cache_bytes: u64, id: StoreId) -> Result<Trees, sled::Error> {
        remove_half_written(folder)?;
        caught(|| {
            let db = open_db(folder, cache_bytes)?;
            let rows = db.open_tree(ROWS)?;
            let mut hours = BTreeMap::new();
            for name in db.tree_names() {
                let hour = name.strip_prefix(HOUR_PREFIX).and_then(|hour| hour.try_into().ok());
                if let Some(hour) = hour.map(u64::from_be_bytes) {
                    hours.insert(hour, db.open_tree(&name)?);
                }
            }
            let (hours, folder) = (RwLock::new(hours), folder.to_owned());
            Ok(Trees { db, rows, hours, hot: Hot::default(), folder, cache_bytes, id })
        })
    }

    /// Makes empty trees for the same store, beside these.
    pub(crate) fn beside(&self) -> Result<Trees, sled::Error> {
        Trees::open(&place::next(&self.folder), self.cache_bytes, self.id)
    }

    /// Where they lie.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lets go of the trees, and waits until sled has, too: nothing is written in their folder any more.
    pub(crate) fn end(self) -> std::io::Result<()> {
        let db = self.folder.join("db");
        // What sled holds back it writes now, and may break over it.
        let dropped = caught(|| {
            drop(self);
            Ok::<_, sled::Error>(())
        });
        drop(dropped);
        for _ in 0..LOCK_TRIES {
            if lock(&db)?.is_some() {
                return Ok(());
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        Err(std::io::Error::other("the index that was given up is still open"))
    }

    /// The sequence of the last batch that was applied for sure; 0 in an empty index. `None` if this is another store's
    /// index, or none.
    pub(crate) fn applied(&self) -> Result<Option<u64>, sled::Error> {
        let Some(bytes) = caught(|| self.rows.get(APPLIED))? else {
            return caught(|| Ok::<_, sled::Error>(self.rows.is_empty().then_some(0)));
        };
        let sequence = bytes.split_first_chunk::<8>().filter(|(_, id)| **id == self.id.0);
        Ok(sequence.map(|(sequence, _)| u64::from_be_bytes(*sequence)))
    }

    pub(super) fn set_applied(&self, sequence: u64) -> Result<(), sled::Error> {
        let mut value = sequence.to_be_bytes().to_vec();
        value.extend_from_slice(&self.id.0);
        self.rows.insert(APPLIED, value).map(drop)
    }

    pub(super) fn rows(&self) -> &sled::Tree {
        &self.rows
    }

    /// The newest hour that has request rows.
    pub(super) fn newest_hour(&self) -> Option<u64> {
        self.hours.read().last_key_value().map(|(hour, _)| *hour)
    }

    /// Applies a layer, row by row, and its sequence at the very end. Should the process end in between, all of the
    /// layer is in the journal, is applied again, and ends in the same state: every row of it is put or removed, never
    /// changed. So nothing here needs sled's batches, which would lock readers out.
    ///
    /// `after_row` is called after each row: who is in no hurry can rest there, so that readers get the processor.
    pub(crate) fn apply(&self, layer: &Layer, after_row: impl FnMut()) -> Result<(), sled::Error> {
        self.hot.begin(layer);
        let mut after_row = after_row;
        caught(|| self.apply_rows(layer, &mut after_row))
    }

    fn apply_rows(&self, layer: &Layer, after_row: &mut dyn FnMut()) -> Result<(), sled::Error> {
        let newest = layer.requests.keys().next_back().copied().max(self.newest_hour());
        for (&hour, rows) in layer.requests.iter().filter(|(hour, _)| !is_stale(**hour, newest)) {
            let tree = self.hour(hour)?;
            for (key, value) in rows {
                tree.insert(key.as_slice(), value.as_ref())?;
                after_row();
            }
        }
        let mut versioned = Vec::new();
        for (key, entry) in &layer.rows {
            match entry {
                None => self.rows.remove(key)?,
                Some(Entry { value, version }) => {
                    versioned.clear();
                    versioned.extend_from_slice(&version.to_be_bytes());
                    versioned.extend_from_slice(value);
                    self.rows.insert(key.as_slice(), versioned.as_slice())?
                }
            };
            after_row();
        }
        self.set_applied(layer.sequence)?;
        self.drop_stale_hours(newest)
    }

    /// What a reader notes before it looks through the layers, and gives to [`get`](Trees::get) if they lack the row.
    pub(super) fn moment(&self) -> Moment {
        self.hot.moment()
    }

    /// A row that no layer had, whose reader looked through them after this moment.
    pub(super) fn get(&self, key: &[u8], since: Moment) -> Result<Option<Entry>, ReadError> {
        if key == APPLIED {
            return Ok(None);
        }
        if let Some(entry) = self.hot.get(key) {
            return Ok(Some(entry));
        }
        let value = caught(|| self.rows.get(key)).map_err(|error| unavailable(&error))?;
        let Some(value) = value else { return Ok(None) };
        let entry = entry(key, &value)?;
        self.hot.put(key, &entry, since);
        Ok(Some(entry))
    }

    /// The rows of a range that isn't empty, in order.
    pub(super) fn range(&self, range: Range<Key>) -> impl Iterator<Item = Result<(Key, Entry), ReadError>> {
        let mut rows = self.rows.range(range);
        std::iter::from_fn(move || caught(|| rows.next().transpose()).transpose()).map(|row| {
            let (key, value) = row.map_err(|error| unavailable(&error))?;
            Ok((key.to_vec(), entry(&key, &value)?))
        })
    }

    pub(super) fn request(&self, hour: u64, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let hours = self.hours.read();
        let Some(tree) = hours.get(&hour) else { return Ok(None) };
        let value = caught(|| tree.get(key)).map_err(|error| unavailable(&error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Writes all that sled holds back. Only the time to open depends on it.
    pub(crate) fn flush(&self) -> Result<(), sled::Error> {
        caught(|| self.db.flush().map(drop))
    }

    pub(super) fn hour(&self, hour: u64) -> Result<sled::Tree, sled::Error> {
        if let Some(tree) = self.hours.read().get(&hour) {
            return Ok(tree.clone());
        }
        let tree = self.db.open_tree(hour_name(hour))?;
        self.hours.write().insert(hour, tree.clone());
        Ok(tree)
    }

    /// Drops the hours but these.
    pub(super) fn keep_hours(&self, kept: &BTreeSet<u64>) -> Result<(), sled::Error> {
        let dropped: Vec<u64> =
            self.hours.read().keys().copied().filter(|hour| !kept.contains(hour)).collect();
        self.drop_hours(&dropped)
    }

    fn drop_stale_hours(&self, newest: Option<u64>) -> Result<(), sled::Error> {
        let stale: Vec<u64> =
            self.hours.read().keys().copied().filter(|&hour| is_stale(hour, newest)).collect();
        // Nobody asks for them any more: readers know the newest hour too.
        self.drop_hours(&stale)
    }

    fn drop_hours(&self, hours: &[u64]) -> Result<(), sled::Error> {
        for &hour in hours {
            self.hours.write().remove(&hour);
            self.db.drop_tree(hour_name(hour))?;
        }
        Ok(())
    }
}

/// Whether an hour's rows are gone, when `newest` is the newest hour that was ever committed.
pub(crate) fn is_stale(hour: u64, newest: Option<u64>) -> bool {
    newest.is_some_and(|newest| hour.saturating_add(REQUEST_HOURS) <= newest)
}

fn open_db(folder: &Path, cache_bytes: u64) -> Result<sled::Db, sled::Error> {
    let config =
        sled::Config::new().path(folder).cache_capacity(cache_bytes).flush_every_ms(Some(FLUSH_EVERY_MS));
    let mut tries = 0;
    loop {
        match config.open() {
            // sled says `WouldBlock` as `Other`, in words.
            Err(sled::Error::Io(error)) if error.to_string().contains("lock") && tries < LOCK_TRIES => {
                tries += 1;
                std::thread::sleep(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
}

fn remove_half_written(folder: &Path) -> std::io::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        if file.file_name().to_string_lossy().ends_with(HALF_WRITTEN) {
            std::fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// sled panics over files that aren't what it wrote. To us that is an error like any other of its errors: what it was
/// doing is never done half, since nothing that it holds is the only copy.
pub(crate) fn caught<T, E: From<sled::Error>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("nothing");
        Err(sled::Error::ReportableBug(format!("it panicked: {said}")).into())
    })
}

fn hour_name(hour: u64) -> Vec<u8> {
    [HOUR_PREFIX, &hour.to_be_bytes()].concat()
}

fn entry(key: &[u8], value: &[u8]) -> Result<Entry, ReadError> {
    let Some((version, value)) = value.split_first_chunk::<8>() else {
        return Err(damaged(&key.escape_ascii().to_string()));
    };
    Ok(Entry { value: Bytes::copy_from_slice(value), version: u64::from_be_bytes(*version) })
}

fn damaged(key: &str) -> ReadError {
    ReadError::Damaged { place: format!("the index, at {key}") }
}

fn unavailable(error: &sled::Error) -> ReadError {
    ReadError::Unavailable { reason: error.to_string() }
}
