//! Bringing sled to a state that is known from elsewhere, whatever it holds.

use std::collections::BTreeSet;
use std::iter::Peekable;

use super::Trees;
use super::trees::is_stale;
use crate::snapshot::Item;

/// What differs waits in memory up to this. A second's rows, which is what a kill takes away, are far below; an index
/// that lacks more is made anew, which takes less time then.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// What a waiting change takes beside its bytes.
const CHANGE_BYTES: usize = 100;

/// Goes through the live state and through sled side by side, and mends what differs, at the end: what is gone through
/// must not change meanwhile, or a row could be passed over. Where sled is empty, this fills it; where nothing is wrong,
/// this only reads.
pub(crate) struct Restore<'a> {
    trees: &'a Trees,
    rows: Side,
    hour: Option<(u64, Side)>,
    hours: BTreeSet<u64>,
    newest_hour: u64,
    value: Vec<u8>,
    mended: u64,
}

impl<'a> Restore<'a> {
    /// Begins; hours that are stale when `newest_hour` is the newest are left out.
    pub(crate) fn begin(trees: &'a Trees, newest_hour: u64) -> Restore<'a> {
        let rows = Side::new(trees.rows().clone());
        let (hour, hours) = (None, BTreeSet::new());
        Restore { trees, rows, hour, hours, newest_hour, value: Vec::new(), mended: 0 }
    }

    /// Takes the next item: rows by their keys, then request rows by hour and key.
    pub(crate) fn item(&mut self, item: &Item) -> Result<(), sled::Error> {
        match item {
            Item::Row { key, version, value } => {
                self.value.clear();
                self.value.extend_from_slice(&version.to_be_bytes());
                self.value.extend_from_slice(value);
                self.rows.has(key, &self.value)
            }
            Item::Request { hour, .. } if is_stale(*hour, Some(self.newest_hour)) => Ok(()),
            Item::Request { hour, key, value } => match &mut self.hour {
                Some((at, side)) if at == hour => side.has(key, value),
                _ => {
                    self.end_hour()?;
                    self.hours.insert(*hour);
                    let mut side = Side::new(self.trees.hour(*hour)?);
                    let done = side.has(key, value);
                    self.hour = Some((*hour, side));
                    done
                }
            },
        }
    }

    /// Ends: sled is at `sequence` now. Returns how many rows weren't as they should be.
    pub(crate) fn end(mut self, sequence: u64) -> Result<u64, sled::Error> {
        self.rows.end()?;
        self.mended += self.rows.mend()?;
        self.end_hour()?;
        self.trees.keep_hours(&self.hours)?;
        self.trees.set_applied(sequence)?;
        Ok(self.mended)
    }

    fn end_hour(&mut self) -> Result<(), sled::Error> {
        if let Some((_, mut side)) = self.hour.take() {
            side.end()?;
            self.mended += side.mend()?;
        }
        Ok(())
    }
}

/// A tree that is being gone through.
struct Side {
    tree: sled::Tree,
    /// There is nothing to go through: rows go in at once.
    empty: bool,
    rows: Peekable<sled::Iter>,
    last: sled::IVec,
    /// Rows to put, and rows to remove.
    waiting: Vec<(sled::IVec, Option<sled::IVec>)>,
    waiting_bytes: usize,
    mended: u64,
}

impl Side {
    fn new(tree: sled::Tree) -> Side {
        let mut rows = tree.iter().peekable();
        // The empty key is the trees' own.
        rows.next_if(|row| row.as_ref().is_ok_and(|(key, _)| key.is_empty()));
        let (empty, last) = (rows.peek().is_none(), sled::IVec::default());
        Side { tree, empty, rows, last, waiting: Vec::new(), waiting_bytes: 0, mended: 0 }
    }

    /// The tree is to have this row next.
    fn has(&mut self, key: &[u8], value: &[u8]) -> Result<(), sled::Error> {
        while let Some((at, found)) = self.next_if(|at| at <= key)? {
            if at == key && found == value {
                return Ok(());
            }
            if at != key {
                self.wait(at, None)?;
            }
        }
        if self.empty {
            self.mended += 1;
            return self.tree.insert(key, value).map(drop);
        }
        self.wait(key.into(), Some(value.into()))
    }

    /// The tree is to have no more rows.
    fn end(&mut self) -> Result<(), sled::Error> {
        while let Some((at, _)) = self.next_if(|_| true)? {
            self.wait(at, None)?;
        }
        Ok(())
    }

    /// Makes the changes that wait, and returns how many were made in all.
    fn mend(&mut self) -> Result<u64, sled::Error> {
        for (key, value) in self.waiting.drain(..) {
            match value {
                Some(value) => self.tree.insert(key, value)?,
                None => self.tree.remove(key)?,
            };
            self.mended += 1;
        }
        Ok(self.mended)
    }

    fn wait(&mut self, key: sled::IVec, value: Option<sled::IVec>) -> Result<(), sled::Error> {
        self.waiting_bytes += CHANGE_BYTES + key.len() + value.as_ref().map_or(0, |value| value.len());
        if self.waiting_bytes > MAX_WAITING_BYTES {
            return Err(sled::Error::ReportableBug(
                "too much in it differs from what it should be".to_owned(),
            ));
        }
        self.waiting.push((key, value));
        Ok(())
    }

    fn next_if(
        &mut self,
        wanted: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Option<(sled::IVec, sled::IVec)>, sled::Error> {
        let row = self.rows.next_if(|row| row.as_ref().map_or(true, |(at, _)| wanted(at)));
        let Some((at, found)) = row.transpose()? else { return Ok(None) };
        if at <= self.last {
            return Err(sled::Error::ReportableBug("the rows of a tree come out of order".to_owned()));
        }
        self.last = at.clone();
        Ok(Some((at, found)))
    }
}
