//! A book's entries in memory: for tests, and for sides that live no longer than a process.

use std::sync::Arc;

use parking_lot::Mutex;

use super::storage::{BookError, BookStorage};

/// Entries in memory. A clone shares them, so that a test can open the same book again.
#[derive(Clone, Default)]
pub struct MemoryBook(Arc<Mutex<Vec<Vec<u8>>>>);

impl MemoryBook {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
}

impl BookStorage for MemoryBook {
    fn load(&self) -> Result<Vec<Vec<u8>>, BookError> {
        Ok(self.0.lock().clone())
    }

    fn append(&self, entry: &[u8], _sync: bool) -> Result<(), BookError> {
        self.0.lock().push(entry.to_vec());
        Ok(())
    }

    fn sync(&self) -> Result<(), BookError> {
        Ok(())
    }

    fn rewrite(&self, entries: &[Vec<u8>]) -> Result<(), BookError> {
        *self.0.lock() = entries.to_vec();
        Ok(())
    }

    fn size(&self) -> u64 {
        self.0.lock().iter().map(|entry| entry.len() as u64).sum()
    }

    fn blocks(&self) -> bool {
        false
    }
}
