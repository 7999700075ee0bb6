//! A book's disk: what was synced survives a power cut, what was written survives a crash of the process alone.

use std::sync::Arc;

use countersign_client::{BookStorage, book::BookError};
use parking_lot::Mutex;

use crate::random::Random;

/// A disk that outlives its host. Cloning shares it.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    entries: Vec<Vec<u8>>,
    synced: usize,
}

impl Disk {
    /// The power goes: of what was not synced, the newest is lost.
    pub(crate) fn lose_power(&self, random: &mut Random) -> usize {
        let mut disk = self.0.lock();
        let loose = disk.entries.len() - disk.synced;
        let lost = random.below(loose as u64 + 1) as usize;
        let kept = disk.entries.len() - lost;
        disk.entries.truncate(kept);
        disk.synced = kept;
        lost
    }
}

impl BookStorage for Disk {
    fn load(&self) -> Result<Vec<Vec<u8>>, BookError> {
        Ok(self.0.lock().entries.clone())
    }

    fn append(&self, entry: &[u8], sync: bool) -> Result<(), BookError> {
        let mut disk = self.0.lock();
        disk.entries.push(entry.to_vec());
        if sync {
            disk.synced = disk.entries.len();
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), BookError> {
        let mut disk = self.0.lock();
        disk.synced = disk.entries.len();
        Ok(())
    }

    fn rewrite(&self, entries: &[Vec<u8>]) -> Result<(), BookError> {
        *self.0.lock() = Contents { entries: entries.to_vec(), synced: entries.len() };
        Ok(())
    }

    fn size(&self) -> u64 {
        self.0.lock().entries.iter().map(|entry| entry.len() as u64).sum()
    }

    fn blocks(&self) -> bool {
        false
    }
}
