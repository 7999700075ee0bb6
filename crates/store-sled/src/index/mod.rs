//! The index that reads go to: rows and request rows, the latest in memory and the others in sled.
//!
//! A commit changes memory alone. sled copies a whole leaf of its tree for each row that it is given (some 30 µs), so
//! it is given rows rarely: a [`Layer`] gathers commits for about a second, the rows that change with every commit
//! count once in it, and a thread of its own applies it. Reads look through at most two layers: the one that gathers
//! and the one that is being applied.

mod hot;
pub(crate) mod place;
mod restore;
mod trees;

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use countersign_store::{Entry, Key, ReadError, RequestRow};

use hot::{Hot, Moment};
pub(crate) use restore::Restore;
pub(crate) use trees::{Trees, caught, is_stale};

/// What a row costs in memory beside its bytes.
const ROW_BYTES: usize = 100;

/// What a number of commits in sequence change.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    /// `None` is a row that was deleted.
    rows: BTreeMap<Key, Option<Entry>>,
    requests: BTreeMap<u64, BTreeMap<Key, Bytes>>,
    /// What the last of the commits reached.
    sequence: u64,
    /// About what it takes in memory.
    bytes: usize,
}

/// What one batch changes in the index.
pub(crate) struct Changes {
    pub(crate) puts: Vec<(Key, Bytes)>,
    pub(crate) deletes: Vec<Key>,
    pub(crate) requests: Vec<RequestRow>,
}

impl Layer {
    /// How many rows it has.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() + self.requests.values().map(BTreeMap::len).sum::<usize>()
    }

    fn add(&mut self, version: u64, changes: Changes) {
        self.sequence = version;
        for key in changes.deletes {
            self.bytes += ROW_BYTES + key.len();
            self.rows.insert(key, None);
        }
        for (key, value) in changes.puts {
            let bytes = ROW_BYTES + key.len() + value.len();
            // What a row replaces has been counted; nearly the same again is not there.
            if self.rows.insert(key, Some(Entry { value, version })).is_none() {
                self.bytes += bytes;
            }
        }
        for row in changes.requests {
            self.bytes += ROW_BYTES + row.key.len() + row.value.len();
            self.requests.entry(row.hour).or_default().insert(row.key, row.value);
        }
    }

    fn request(&self, hour: u64, key: &[u8]) -> Option<Bytes> {
        self.requests.get(&hour)?.get(key).cloned()
    }
}

/// What memory says of a row.
pub(crate) enum Recent {
    Row(Entry),
    Deleted,
    /// Nothing: the trees have to be asked, at this moment.
    Elsewhere(Asked),
}

/// The trees as they are to be asked for what memory lacked.
pub(crate) struct Asked {
    trees: Arc<Trees>,
    since: Moment,
}

impl Asked {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        self.trees.get(key, self.since)
    }

    pub(crate) fn request(&self, hour: u64, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.trees.request(hour, key)
    }
}

/// The index as of one head.
pub(crate) struct Index {
    trees: Arc<Trees>,
    gathering: Layer,
    /// The layer that is being applied to the trees; until that is done, reads find its rows here.
    applying: Option<Arc<Layer>>,
    newest_hour: Option<u64>,
}

impl Index {
    pub(crate) fn new(trees: Arc<Trees>) -> Index {
        let newest_hour = trees.newest_hour();
        Index { trees, gathering: Layer::default(), applying: None, newest_hour }
    }

    /// Adds what a batch changes that reaches `sequence`.
    pub(crate) fn add(&mut self, sequence: u64, changes: Changes) {
        self.newest_hour = changes.requests.iter().map(|row| row.hour).max().max(self.newest_hour);
        self.gathering.add(sequence, changes);
    }

    /// About what waits in memory to be applied.
    pub(crate) fn gathered_bytes(&self) -> usize {
        self.gathering.bytes
    }

    /// Begins to apply what was gathered: the layer is to be given to [`Trees::apply`], and then
    /// [`applied`](Index::applied) called. `None` if there is nothing. One at a time.
    pub(crate) fn begin_applying(&mut self) -> Option<Arc<Layer>> {
        if self.gathering.sequence == 0 {
            return None;
        }
        let layer = Arc::new(std::mem::take(&mut self.gathering));
        self.applying = Some(Arc::clone(&layer));
        Some(layer)
    }

    /// The trees that layers are to be applied to.
    pub(crate) fn trees(&self) -> Arc<Trees> {
        Arc::clone(&self.trees)
    }

    /// Puts other trees in the place of these, which hold all that was applied to these, and more of what has gathered at
    /// most. No layer may be under way. Whoever has begun to ask these goes on with them: they stay as they are.
    pub(crate) fn replace(&mut self, trees: Arc<Trees>) -> Arc<Trees> {
        debug_assert!(self.applying.is_none(), "a layer is being applied to the trees that are to go");
        std::mem::replace(&mut self.trees, trees)
    }

    /// Lets go of the layer that has been applied.
    pub(crate) fn applied(&mut self) {
        self.applying = None;
    }

    /// Applies what was gathered, where nobody reads yet.
    pub(crate) fn apply_gathered(&mut self) -> Result<(), sled::Error> {
        if let Some(layer) = self.begin_applying() {
            self.trees.apply(&layer, || ())?;
            self.applied();
        }
        Ok(())
    }

    /// What memory says of a row.
    ///
    /// The trees may be asked without this index: what leaves memory after this looked is in the trees, and a newer state
    /// of a row is as good.
    pub(crate) fn recent(&self, key: &[u8]) -> Recent {
        let asked = self.asked();
        match self.layers().find_map(|layer| layer.rows.get(key)) {
            Some(Some(entry)) => Recent::Row(entry.clone()),
            Some(None) => Recent::Deleted,
            None => Recent::Elsewhere(asked),
        }
    }

    pub(crate) fn scan(&self, range: Range<Key>, limit: usize) -> Result<Vec<(Key, Entry)>, ReadError> {
        // The least key that a row can have; before it is only the trees' own.
        let range = if range.start.is_empty() { vec![0] } else { range.start }..range.end;
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let mut layers: Vec<Peekable<_>> =
            self.layers().map(|layer| layer.rows.range(range.clone()).peekable()).collect();
        let mut stored = self.trees.range(range.clone()).peekable();
        let mut rows = Vec::new();
        while rows.len() < limit {
            let in_layers = layers.iter_mut().filter_map(|layer| layer.peek().map(|(key, _)| *key)).min();
            let key = match (in_layers, stored.peek()) {
                (None, None) => break,
                (Some(key), Some(Ok((stored, _)))) => key.min(stored).clone(),
                (Some(key), None) => key.clone(),
                (None, Some(Ok((stored, _)))) => stored.clone(),
                (_, Some(Err(error))) => return Err(error.clone()),
            };
            // All sources step past the key; the newest that has it says what it is.
            let mut found: Option<Option<Entry>> = None;
            for layer in &mut layers {
                let row = layer.next_if(|(at, _)| **at == key);
                found = found.or_else(|| row.map(|(_, entry)| entry.clone()));
            }
            let row = stored.next_if(|row| row.as_ref().is_ok_and(|(at, _)| *at == key));
            let found = found.unwrap_or_else(|| row.and_then(Result::ok).map(|(_, entry)| entry));
            rows.extend(found.map(|entry| (key, entry)));
        }
        Ok(rows)
    }

    /// The hours that count, newest first, each with the request row that lies in memory. The trees are to be asked for
    /// the others, as for [`recent`](Index::recent) rows.
    pub(crate) fn recent_requests(&self, key: &[u8]) -> (Asked, Vec<(u64, Option<Bytes>)>) {
        let asked = self.asked();
        let Some(newest) = self.newest_hour else { return (asked, Vec::new()) };
        let hours = (0..=newest).rev().take_while(|&hour| !trees::is_stale(hour, Some(newest)));
        let found = hours.map(|hour| (hour, self.layers().find_map(|layer| layer.request(hour, key))));
        (asked, found.collect())
    }

    fn asked(&self) -> Asked {
        Asked { trees: Arc::clone(&self.trees), since: self.trees.moment() }
    }

    /// The layers, newest first.
    fn layers(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.gathering).chain(self.applying.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::StoreId;

    /// Rows of a layer: key, and value or deletion.
    type Rows<'a> = &'a [(&'a str, Option<&'a str>)];

    fn changes(rows: Rows<'_>) -> Changes {
        let key = |key: &str| key.as_bytes().to_vec();
        Changes {
            puts: rows
                .iter()
                .filter_map(|(at, value)| Some((key(at), (*value)?.to_owned().into())))
                .collect(),
            deletes: rows.iter().filter(|(_, value)| value.is_none()).map(|(at, _)| key(at)).collect(),
            requests: Vec::new(),
        }
    }

    fn check(stored: Rows<'_>, applying: Rows<'_>, gathering: Rows<'_>, expected: &[(&str, &str, u64)]) {
        let folder = tempfile::TempDir::new().unwrap();
        let trees = Arc::new(Trees::open(folder.path(), 1 << 20, StoreId([7; 16])).unwrap());
        let mut index = Index::new(Arc::clone(&trees));
        index.add(1, changes(stored));
        trees.apply(&index.begin_applying().unwrap(), || ()).unwrap();
        index.applied();
        index.add(2, changes(applying));
        let layer = index.begin_applying().unwrap();
        index.add(3, changes(gathering));
        let look = |index: &Index, limit: usize| {
            let rows = index.scan(Vec::new()..b"z".to_vec(), limit).unwrap();
            for (key, entry) in &rows {
                let found = match index.recent(key) {
                    Recent::Row(entry) => Some(entry),
                    Recent::Deleted => None,
                    Recent::Elsewhere(asked) => asked.get(key).unwrap(),
                };
                assert_eq!(found.as_ref(), Some(entry));
            }
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            rows.iter().map(|(key, entry)| (text(key), text(&entry.value), entry.version)).collect::<Vec<_>>()
        };
        let owned = |rows: &[(&str, &str, u64)]| -> Vec<_> {
            rows.iter()
                .map(|(key, value, version)| ((*key).to_owned(), (*value).to_owned(), *version))
                .collect()
        };
        for limit in 0..=expected.len() + 1 {
            assert_eq!(look(&index, limit), owned(&expected[..limit.min(expected.len())]), "limit {limit}");
        }
        trees.apply(&layer, || ()).unwrap();
        assert_eq!(trees.applied(), Ok(Some(2)));
        assert_eq!(look(&index, 99), owned(expected), "while a layer is in both places");
        index.applied();
        assert_eq!(look(&index, 99), owned(expected), "when it is in the trees alone");
        trees.apply(&index.begin_applying().unwrap(), || ()).unwrap();
        index.applied();
        assert_eq!(look(&index, 99), owned(expected), "when all is in the trees");
        assert!(index.begin_applying().is_none());
    }

    #[test]
    fn the_newest_layer_that_has_a_row_decides() {
        let (one, two, three) = (Some("one"), Some("two"), Some("three"));
        check(&[], &[], &[], &[]);
        check(&[("a", one)], &[("a", two)], &[("a", three)], &[("a", "three", 3)]);
        check(&[("a", one)], &[("a", two)], &[("a", None)], &[]);
        check(&[("a", one)], &[("a", None)], &[], &[]);
        check(&[("a", one)], &[("a", None)], &[("a", three)], &[("a", "three", 3)]);
        check(
            &[("a", one), ("c", one), ("e", one), ("g", one)],
            &[("b", two), ("c", two), ("e", None), ("g", two)],
            &[("a", None), ("d", three), ("g", None), ("h", three)],
            &[("b", "two", 2), ("c", "two", 2), ("d", "three", 3), ("h", "three", 3)],
        );
    }
}
