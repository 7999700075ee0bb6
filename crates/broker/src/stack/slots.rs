//! How many of something each key has at a time.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

/// Counts by key. A key that has nothing takes no space.
pub(super) struct Slots<K>(Arc<Mutex<HashMap<K, usize>>>);

/// One of a key's; gives its place back when dropped.
pub(super) struct Slot<K: Hash + Eq> {
    key: K,
    counts: Weak<Mutex<HashMap<K, usize>>>,
}

impl<K> Default for Slots<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Hash + Eq + Clone> Slots<K> {
    /// Takes a place, unless `key` has `most` already.
    pub(super) fn take(&self, key: K, most: usize) -> Option<Slot<K>> {
        let mut counts = self.0.lock();
        let count = counts.entry(key.clone()).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Slot { key, counts: Arc::downgrade(&self.0) })
    }
}

impl<K: Hash + Eq> Drop for Slot<K> {
    fn drop(&mut self) {
        let Some(counts) = self.counts.upgrade() else { return };
        let mut counts = counts.lock();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_slot_is_free_again_and_an_empty_key_is_gone() {
        let slots = Slots::default();
        let one = slots.take("a", 2).expect("free");
        let two = slots.take("a", 2).expect("free");
        assert!(slots.take("a", 2).is_none());
        assert!(slots.take("b", 2).is_some());
        drop(one);
        let three = slots.take("a", 2).expect("free again");
        drop((two, three));
        assert!(slots.0.lock().is_empty());
    }
}
