//! What a stretch of the journal changes in the live state, gathered so that each row counts once.

use std::collections::BTreeMap;

use bytes::Bytes;
use countersign_store::{Batch, Key};

use crate::snapshot::{Item, Reader, SnapshotError};

/// What an entry costs in memory beside its bytes.
const ENTRY_BYTES: usize = 100;

/// Where an item of the live state stands: rows come by their keys, then request rows by hour and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Row(Key),
    Request(u64, Key),
}

/// Rows as they are after a number of commits in sequence: all of them, or those of a part of the live state.
#[derive(Default)]
pub(crate) struct Stretch {
    /// Version and value; `None` is a row that was deleted.
    rows: BTreeMap<Key, Option<(u64, Bytes)>>,
    requests: BTreeMap<(u64, Key), Bytes>,
    bytes: usize,
    newest_hour: Option<u64>,
    /// Where the part begins, and before what it ends.
    from: Option<Place>,
    until: Option<Place>,
}

/// The live state that a stretch goes on from, read from its beginning.
pub(crate) struct Base {
    reader: Option<Reader>,
    /// What was read and is beyond the part in hand.
    ahead: Option<Item>,
}

impl Place {
    fn is_after_row(&self, key: &[u8]) -> bool {
        match self {
            Place::Row(at) => key < at.as_slice(),
            Place::Request(..) => true,
        }
    }

    fn is_after_request(&self, hour: u64, key: &[u8]) -> bool {
        match self {
            Place::Row(_) => false,
            Place::Request(at, place) => (hour, key) < (*at, place.as_slice()),
        }
    }
}

impl Base {
    /// Nothing, if there is no snapshot.
    pub(crate) fn new(reader: Option<Reader>) -> Base {
        Base { reader, ahead: None }
    }

    fn next_before(&mut self, until: Option<&Place>) -> Result<Option<Item>, SnapshotError> {
        let next = match (self.ahead.take(), &mut self.reader) {
            (Some(item), _) => Some(item),
            (None, Some(reader)) => reader.next()?,
            (None, None) => None,
        };
        let before = |until: &Place| match &next {
            Some(Item::Row { key, .. }) => until.is_after_row(key),
            Some(Item::Request { hour, key, .. }) => until.is_after_request(*hour, key),
            None => true,
        };
        if until.is_none_or(before) {
            return Ok(next);
        }
        self.ahead = next;
        Ok(None)
    }
}

impl Stretch {
    /// For the part of the live state that begins there.
    pub(crate) fn part(from: Option<Place>) -> Stretch {
        Stretch { from, ..Stretch::default() }
    }

    /// Adds what a commit changes that reaches `version`. Values are copied: they share the memory of a whole segment.
    pub(crate) fn add(&mut self, version: u64, batch: Batch) {
        for key in batch.deletes {
            if self.has_row(&key) {
                self.row(key, None);
            }
        }
        for (key, value) in batch.puts {
            if self.has_row(&key) {
                self.row(key, Some((version, Bytes::copy_from_slice(&value))));
            }
        }
        for row in batch.requests {
            self.newest_hour = self.newest_hour.max(Some(row.hour));
            if self.has_request(row.hour, &row.key) {
                self.bytes += request_bytes(&row.key, &row.value);
                self.requests.insert((row.hour, row.key), Bytes::copy_from_slice(&row.value));
            }
        }
    }

    fn row(&mut self, key: Key, row: Option<(u64, Bytes)>) {
        let bytes = row_bytes(&key, row.as_ref());
        if self.rows.insert(key, row).is_none() {
            self.bytes += bytes;
        }
    }

    fn has_row(&self, key: &[u8]) -> bool {
        self.from.as_ref().is_none_or(|from| !from.is_after_row(key))
            && self.until.as_ref().is_none_or(|until| until.is_after_row(key))
    }

    fn has_request(&self, hour: u64, key: &[u8]) -> bool {
        self.from.as_ref().is_none_or(|from| !from.is_after_request(hour, key))
            && self.until.as_ref().is_none_or(|until| until.is_after_request(hour, key))
    }

    /// Ends the part earlier, until it takes no more than this, or is a single item.
    pub(crate) fn shrink_to(&mut self, most: usize) {
        loop {
            let items = self.rows.len() + self.requests.len();
            if self.bytes <= most || items < 2 {
                return;
            }
            let half = items / 2;
            if let Some(key) = self.rows.keys().nth(half).cloned() {
                drop(self.rows.split_off(&key));
                self.requests.clear();
                self.until = Some(Place::Row(key));
            } else if let Some(place) = self.requests.keys().nth(half - self.rows.len()).cloned() {
                drop(self.requests.split_off(&place));
                self.until = Some(Place::Request(place.0, place.1));
            }
            let rows = self.rows.iter().map(|(key, row)| row_bytes(key, row.as_ref()));
            let requests = self.requests.iter().map(|((_, key), value)| request_bytes(key, value));
            self.bytes = rows.chain(requests).sum();
        }
    }

    /// Where the part ends that it is about, and the next one begins; nothing if it goes to the end.
    pub(crate) fn until(&self) -> Option<Place> {
        self.until.clone()
    }

    /// About what they take in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The newest hour that has request rows, in whatever part.
    pub(crate) fn newest_hour(&self) -> Option<u64> {
        self.newest_hour
    }

    /// Gives the live state after these changes, which came after those of `base`, in order: rows by their keys, then
    /// request rows by hour and key, stale ones too. The base is left where the part ends.
    pub(crate) fn over<E: From<SnapshotError>>(
        self,
        base: &mut Base,
        mut each: impl FnMut(Item) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rows = self.rows.into_iter().peekable();
        let mut requests = self.requests.into_iter().peekable();
        while let Some(item) = base.next_before(self.until.as_ref())? {
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
                    while let Some(before) = requests.next_if(|((hour, key), _)| (*hour, &key[..]) < place) {
                        request(before, &mut each)?;
                    }
                    match requests.next_if(|((hour, key), _)| (*hour, &key[..]) == place) {
                        Some(instead) => request(instead, &mut each)?,
                        None => each(item)?,
                    }
                }
            }
        }
        rows.try_for_each(|after| row(after, &mut each))?;
        requests.try_for_each(|after| request(after, &mut each))
    }
}

fn row_bytes(key: &[u8], row: Option<&(u64, Bytes)>) -> usize {
    ENTRY_BYTES + key.len() + row.map_or(0, |(_, value)| value.len())
}

fn request_bytes(key: &[u8], value: &[u8]) -> usize {
    ENTRY_BYTES + key.len() + value.len()
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

#[cfg(test)]
mod tests {
    use countersign_store::RequestRow;

    use super::*;

    /// Commits that put, replace and delete rows, and requests of two hours.
    fn commits() -> impl Iterator<Item = (u64, Batch)> {
        (1..=60).map(|version: u64| {
            let key = |number: u64| format!("row {:03}", number % 97).into_bytes();
            let puts =
                [version * 31, version * 57].map(|number| (key(number), Bytes::from(version.to_string())));
            let request = RequestRow {
                hour: 7 + version % 2,
                key: format!("request {version:03}").into_bytes(),
                value: Bytes::from_static(b"answer"),
            };
            let deletes = vec![key(version * 13 + 5)];
            let puts = puts.into_iter().filter(|(key, _)| !deletes.contains(key)).collect();
            (version, Batch { puts, deletes, requests: vec![request], ..Batch::default() })
        })
    }

    /// All of it in parts that take no more than `most`; and how many these are.
    fn in_parts(most: usize) -> (Vec<Item>, usize) {
        let (mut items, mut parts, mut from) = (Vec::new(), 0, None);
        let mut base = Base::new(None);
        loop {
            let mut stretch = Stretch::part(from.take());
            for (version, batch) in commits() {
                stretch.add(version, batch);
                stretch.shrink_to(most);
            }
            assert!(stretch.bytes() <= most.max(200));
            assert_eq!(stretch.newest_hour(), Some(8));
            (from, parts) = (stretch.until(), parts + 1);
            let taken = stretch.over::<SnapshotError>(&mut base, |item| {
                items.push(item);
                Ok(())
            });
            taken.expect("nothing is read");
            if from.is_none() {
                return (items, parts);
            }
        }
    }

    #[test]
    fn the_parts_are_what_the_whole_is() {
        let (whole, one) = in_parts(usize::MAX);
        assert!(one == 1 && whole.len() > 80);
        for most in [10_000, 3_000, 500, 1] {
            let (items, parts) = in_parts(most);
            assert!(parts > 1 && items == whole, "{parts} parts of {most}");
        }
    }
}
