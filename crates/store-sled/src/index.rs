//! The index in sled: rows and request rows, as far as the journal has been applied.
//!
//! One tree holds the live state: key → version u64 ‖ value, and at the empty key, which no row can have, the sequence
//! that was applied last. A batch is atomic within a tree, so the state and its sequence never part. Request rows lie
//! in a tree per hour, dropped whole: deletes in place make sled grow without bound.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use countersign_store::{Batch, Entry, Key, REQUEST_HOURS, ReadError};

use crate::errors::OpenError;

const ROWS: &[u8] = b"rows/1";
const HOUR_PREFIX: &[u8] = b"requests/1/";
const APPLIED: &[u8] = b"";

/// sled gives its own lock back from a thread of its own, some time after the last handle is gone. We hold the store's
/// lock already when we open sled, so whoever holds sled's is on its way out.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How often sled writes what it was given. Only the time to open depends on it.
const FLUSH_EVERY_MS: u64 = 1_000;

pub(crate) struct Index {
    db: sled::Db,
    rows: sled::Tree,
    hours: BTreeMap<u64, sled::Tree>,
}

impl Index {
    /// Opens the index, or makes an empty one.
    pub(crate) fn open(folder: &Path, cache_bytes: u64) -> Result<Index, OpenError> {
        let failed = |error: sled::Error| OpenError::index(&error);
        let db = open_db(folder, cache_bytes).map_err(failed)?;
        let rows = db.open_tree(ROWS).map_err(failed)?;
        let mut hours = BTreeMap::new();
        for name in db.tree_names() {
            let hour = name.strip_prefix(HOUR_PREFIX).and_then(|hour| hour.try_into().ok());
            if let Some(hour) = hour.map(u64::from_be_bytes) {
                hours.insert(hour, db.open_tree(&name).map_err(failed)?);
            }
        }
        let mut index = Index { db, rows, hours };
        // A process that ended between a commit and its tidying up left an hour too many.
        index.retire_hours().free().map_err(failed)?;
        Ok(index)
    }

    /// The sequence of the last batch that was applied; 0 in an empty index.
    pub(crate) fn applied(&self) -> Result<u64, ReadError> {
        match self.rows.get(APPLIED).map_err(|error| unavailable(&error))? {
            None => Ok(0),
            Some(bytes) => number(&bytes).ok_or_else(|| damaged("the applied sequence")),
        }
    }

    /// Applies a batch that reaches `sequence`. A batch may be applied again. Returns the hours that are over by it.
    ///
    /// The request rows go first: should the process end in between, the state's sequence makes them be applied again.
    pub(crate) fn apply(&mut self, sequence: u64, batch: &Batch) -> Result<RetiredHours, sled::Error> {
        for row in &batch.requests {
            if self.is_stale(row.hour) {
                continue;
            }
            if !self.hours.contains_key(&row.hour) {
                self.hours.insert(row.hour, self.db.open_tree(hour_name(row.hour))?);
            }
            self.hours[&row.hour].insert(row.key.as_slice(), row.value.as_ref())?;
        }
        let mut changes = sled::Batch::default();
        for key in &batch.deletes {
            changes.remove(key.as_slice());
        }
        for (key, value) in &batch.puts {
            let mut versioned = Vec::with_capacity(8 + value.len());
            versioned.extend_from_slice(&sequence.to_be_bytes());
            versioned.extend_from_slice(value);
            changes.insert(key.as_slice(), versioned);
        }
        changes.insert(APPLIED, &sequence.to_be_bytes());
        self.rows.apply_batch(changes)?;
        Ok(self.retire_hours())
    }

    /// Takes the hours that are over out of sight.
    fn retire_hours(&mut self) -> RetiredHours {
        let stale: Vec<u64> = self.hours.keys().copied().filter(|&hour| self.is_stale(hour)).collect();
        self.hours.retain(|hour, _| !stale.contains(hour));
        RetiredHours { db: self.db.clone(), hours: stale }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        if key == APPLIED {
            return Ok(None);
        }
        self.rows.get(key).map_err(|error| unavailable(&error))?.map(|value| entry(key, &value)).transpose()
    }

    pub(crate) fn scan(&self, range: Range<Key>, limit: usize) -> Result<Vec<(Key, Entry)>, ReadError> {
        // The least key that a row can have; before it is only ours.
        let start = if range.start.is_empty() { vec![0] } else { range.start };
        if start >= range.end {
            return Ok(Vec::new());
        }
        let mut rows = Vec::new();
        for row in self.rows.range(start..range.end).take(limit) {
            let (key, value) = row.map_err(|error| unavailable(&error))?;
            rows.push((key.to_vec(), entry(&key, &value)?));
        }
        Ok(rows)
    }

    pub(crate) fn request(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        for hour in self.hours.values().rev() {
            if let Some(value) = hour.get(key).map_err(|error| unavailable(&error))? {
                return Ok(Some(Bytes::copy_from_slice(&value)));
            }
        }
        Ok(None)
    }

    /// Writes all that sled holds back. Only the time to open depends on it.
    pub(crate) fn flush(&self) -> Result<(), sled::Error> {
        self.db.flush().map(drop)
    }

    fn is_stale(&self, hour: u64) -> bool {
        self.hours.last_key_value().is_some_and(|(&newest, _)| hour.saturating_add(REQUEST_HOURS) <= newest)
    }
}

/// Hours that nobody sees any more. To free them takes a while, and may be done outside of all locks.
#[must_use = "an hour that isn't freed keeps its room until the store is opened again"]
pub(crate) struct RetiredHours {
    db: sled::Db,
    hours: Vec<u64>,
}

impl RetiredHours {
    /// Frees their room.
    pub(crate) fn free(self) -> Result<(), sled::Error> {
        self.hours.into_iter().try_for_each(|hour| self.db.drop_tree(hour_name(hour)).map(drop))
    }
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

fn hour_name(hour: u64) -> Vec<u8> {
    [HOUR_PREFIX, &hour.to_be_bytes()].concat()
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
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
