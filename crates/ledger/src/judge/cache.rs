//! What the judge keeps in memory of the rows that only it writes.

use std::collections::HashMap;
use std::hash::Hash;

/// A bounded cache that forgets what was not used for longest, roughly: entries live in two generations, and when the
/// younger one is full, the older one goes.
pub(super) struct Cache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// Entries in one generation.
    capacity: usize,
}

impl<K: Eq + Hash, V> Cache<K, V> {
    pub(super) fn new(capacity: usize) -> Cache<K, V> {
        Cache { young: HashMap::new(), old: HashMap::new(), capacity }
    }

    /// Takes an entry out: whoever changes it puts it back when the change is durable.
    pub(super) fn take(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        if self.young.len() >= self.capacity {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays() {
        let mut cache = Cache::new(4);
        for round in 0..100 {
            cache.put(round, round);
            if round > 0 {
                let hot = cache.take(&0).unwrap();
                cache.put(0, hot);
            }
            assert!(cache.young.len() + cache.old.len() <= 8);
        }
        assert_eq!(
            (cache.take(&0), cache.take(&0), cache.take(&1), cache.take(&99)),
            (Some(0), None, None, Some(99))
        );
    }
}
