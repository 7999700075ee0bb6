//! What a stretch of the journal changes in the live state, gathered so that each row counts once.

use std::collections::BTreeMap;

use bytes::Bytes;
use countersign_store::{Batch, Key};

use crate::snapshot::{Item, Reader, SnapshotError};

/// What an entry costs in memory beside its bytes.
const ENTRY_BYTES: usize = 100;

/// Rows as they are after a number of commits in sequence.
#[derive(Default)]
pub(crate) struct Stretch {
    /// Version and value; `None` is a row that was deleted.
    rows: BTreeMap<Key, Option<(u64, Bytes)>>,
    requests: BTreeMap<(u64, Key), Bytes>,
    bytes: usize,
}

impl Stretch {
    /// Adds what a commit changes that reaches `version`. Values are copied: they share the memory of a whole segment.
    pub(crate) fn add(&mut self, version: u64, batch: Batch) {
        for key in batch.deletes {
            self.bytes += ENTRY_BYTES + key.len();
            self.rows.insert(key, None);
        }
        for (key, value) in batch.puts {
            let bytes = ENTRY_BYTES + key.len() + value.len();
            let row = Some((version, Bytes::copy_from_slice(&value)));
            if self.rows.insert(key, row).is_none() {
                self.bytes += bytes;
            }
        }
        for row in batch.requests {
            self.bytes += ENTRY_BYTES + row.key.len() + row.value.len();
            self.requests.insert((row.hour, row.key), Bytes::copy_from_slice(&row.value));
        }
    }

    /// About what they take in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The newest hour that has request rows.
    pub(crate) fn newest_hour(&self) -> Option<u64> {
        self.requests.last_key_value().map(|((hour, _), _)| *hour)
    }

    /// Gives the live state after these changes, which came after those of `base`, in order: rows by their keys, then
    /// request rows by hour and key, stale ones too.
    pub(crate) fn over<E: From<SnapshotError>>(
        self,
        base: Option<&mut Reader>,
        mut each: impl FnMut(Item) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rows = self.rows.into_iter().peekable();
        let mut requests = self.requests.into_iter().peekable();
        if let Some(base) = base {
            while let Some(item) = base.next()? {
                match &item {
                    Item::Row { key, .. } => {
                        while let Some(before) = rows.next_if(|(at, _)| at[..] < key[..]) {
                            row(before, &mut each)?;
                        }
                        match rows.next_if(|(at, _)| at[..] == key[..]) {
                            Some(instead) => row(instead, &mut each)?,
                            None => each(item)?,
                        }
                    }
                    Item::Request { hour, key, .. } => {
                        for after in rows.by_ref() {
                            row(after, &mut each)?;
                        }
                        let place = (*hour, &key[..]);
                        while let Some(before) =
                            requests.next_if(|((hour, key), _)| (*hour, &key[..]) < place)
                        {
                            request(before, &mut each)?;
                        }
                        match requests.next_if(|((hour, key), _)| (*hour, &key[..]) == place) {
                            Some(instead) => request(instead, &mut each)?,
                            None => each(item)?,
                        }
                    }
                }
            }
        }
        rows.try_for_each(|after| row(after, &mut each))?;
        requests.try_for_each(|after| request(after, &mut each))
    }
}

fn row<E>(
    (key, row): (Key, Option<(u64, Bytes)>),
    each: &mut impl FnMut(Item) -> Result<(), E>,
) -> Result<(), E> {
    match row {
        Some((version, value)) => each(Item::Row { key: key.into(), version, value }),
        None => Ok(()),
    }
}

fn request<E>(
    ((hour, key), value): ((u64, Key), Bytes),
    each: &mut impl FnMut(Item) -> Result<(), E>,
) -> Result<(), E> {
    each(Item::Request { hour, key: key.into(), value })
}
