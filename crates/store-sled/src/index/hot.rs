//! Rows that were read lately: a row that every call reads is looked up in sled once.

use std::collections::HashMap;

use countersign_store::{Entry, Key};
use parking_lot::Mutex;

use super::{Layer, ROW_BYTES};

/// What each of two generations may take: some ten thousand rows of a usual size.
const GENERATION_BYTES: usize = 8 << 20;

/// How many rows are forgotten under one lock: some tens of microseconds.
const FORGOTTEN_AT_ONCE: usize = 256;

/// Rows as sled has them, in two generations: when the young one is full it becomes the old one, and the old one goes.
/// A row that is read in the old one is young again.
///
/// A row is kept only if no layer was begun to be applied since before its reader looked through the layers. What a later
/// layer changes is forgotten when its applying begins, and until that is done every reader finds it in the layer.
#[derive(Default)]
pub(super) struct Hot(Mutex<Rows>);

/// How many layers had been begun at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(u64);

#[derive(Default)]
struct Rows {
    begun: u64,
    young: HashMap<Key, Entry>,
    old: HashMap<Key, Entry>,
    /// What the young ones take.
    bytes: usize,
}

impl Hot {
    /// To be asked for before the layers are looked through.
    pub(super) fn moment(&self) -> Moment {
        Moment(self.0.lock().begun)
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Entry> {
        let mut rows = self.0.lock();
        if let Some(entry) = rows.young.get(key) {
            return Some(entry.clone());
        }
        let (key, entry) = rows.old.remove_entry(key)?;
        rows.put(key, entry.clone(), GENERATION_BYTES);
        Some(entry)
    }

    /// Keeps a row that its reader, who looked through the layers after this moment, found in sled.
    pub(super) fn put(&self, key: &[u8], entry: &Entry, since: Moment) {
        let mut rows = self.0.lock();
        if Moment(rows.begun) == since {
            rows.put(key.to_vec(), entry.clone(), GENERATION_BYTES);
        }
    }

    /// A layer is about to be applied, and readers find its rows in it until it is.
    pub(super) fn begin(&self, layer: &Layer) {
        self.0.lock().begun += 1;
        // A few at a time: readers wait for the lock.
        let mut keys = layer.rows.keys().peekable();
        while keys.peek().is_some() {
            let rows = &mut *self.0.lock();
            for key in keys.by_ref().take(FORGOTTEN_AT_ONCE) {
                // What a forgotten row took stays counted until its generation goes: it goes sooner, and nothing else.
                rows.young.remove(key);
                rows.old.remove(key);
            }
        }
    }
}

impl Rows {
    fn put(&mut self, key: Key, entry: Entry, most: usize) {
        let bytes = ROW_BYTES + key.len() + entry.value.len();
        if self.bytes + bytes > most {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.young.insert(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Changes;
    use super::*;

    fn entry(version: u64) -> Entry {
        Entry { value: vec![0; 100].into(), version }
    }

    fn layer(keys: &[Key]) -> Layer {
        let mut layer = Layer::default();
        let puts = keys.iter().map(|key| (key.clone(), vec![1].into())).collect();
        layer.add(1, Changes { puts, deletes: Vec::new(), requests: Vec::new() });
        layer
    }

    #[test]
    fn what_is_read_stays_and_what_a_layer_changes_goes() {
        let hot = Hot::default();
        let keys: Vec<Key> = (0..4_u8).map(|key| vec![key]).collect();
        let before = hot.moment();
        for (key, version) in keys.iter().zip(1..) {
            hot.put(key, &entry(version), before);
        }
        hot.begin(&layer(&keys[1..3]));
        let found: Vec<_> = keys.iter().map(|key| hot.get(key).map(|entry| entry.version)).collect();
        assert_eq!(found, [Some(1), None, None, Some(4)]);
    }

    #[test]
    fn what_was_read_before_a_layer_was_applied_is_not_kept_after_it() {
        let hot = Hot::default();
        let key: Key = vec![7];
        let before = hot.moment();
        hot.begin(&layer(std::slice::from_ref(&key)));
        hot.put(&key, &entry(1), before);
        assert_eq!(hot.get(&key), None);
        hot.put(&key, &entry(2), hot.moment());
        assert_eq!(hot.get(&key).map(|entry| entry.version), Some(2));
    }

    #[test]
    fn no_generation_outgrows_its_bound() {
        let mut rows = Rows::default();
        let one = ROW_BYTES + 1 + 100;
        for key in 0..20_u8 {
            rows.put(vec![key], entry(1), 4 * one);
            assert!(rows.young.len() <= 4 && rows.old.len() <= 4);
        }
        let hot = Hot(Mutex::new(rows));
        assert_eq!(hot.get(&[3]), None, "two generations ago");
        assert!(hot.get(&[15]).is_some(), "in the old generation");
        assert!(hot.0.lock().young.contains_key([15].as_slice()), "and young again");
    }
}
