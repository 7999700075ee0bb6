//! A bounded memory of facts that never change once they are true.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use parking_lot::Mutex;

/// What was read or verified once, by what names it for good. When it is full all is forgotten, and learned again at the
/// price of once.
pub(crate) struct Remembered<K, V> {
    most: usize,
    known: Mutex<HashMap<K, Arc<V>>>,
}

impl<K: Eq + Hash, V> Remembered<K, V> {
    /// Remembers at most so many.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, known: Mutex::default() }
    }

    /// What is remembered.
    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        self.known.lock().get(key).cloned()
    }

    /// Forgets what somebody has a right to have forgotten.
    pub(crate) fn forget(&self, key: &K) {
        self.known.lock().remove(key);
    }

    /// Remembers.
    pub(crate) fn insert(&self, key: K, value: V) -> Arc<V> {
        let value = Arc::new(value);
        let mut known = self.known.lock();
        if known.len() >= self.most {
            known.clear();
        }
        known.insert(key, Arc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_outgrows_its_bound() {
        let squares = Remembered::new(4);
        for number in 0..20_u64 {
            assert_eq!(*squares.insert(number, number * number), number * number);
            assert_eq!(squares.get(&number).as_deref(), Some(&(number * number)));
            assert!(squares.known.lock().len() <= 4);
        }
        assert_eq!(squares.get(&0), None);
    }
}
