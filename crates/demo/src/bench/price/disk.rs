//! What a sync of this disk takes: the one thing that no durable call can do without.

use std::{fs::File, io::Write as _, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::Instant;

use super::made::{micros, quantile};

/// A group commit of some calls.
const APPEND_BYTES: usize = 4096;

/// How long syncs took, in microseconds.
#[derive(Default)]
pub(super) struct Disk(Vec<u64>);

/// What they come to.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct SyncTimes {
    pub(super) syncs: u64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
}

impl Disk {
    /// Appends to a file in this folder and syncs it, so many times.
    pub(super) async fn sync(&mut self, folder: &Path, times: usize) -> Result<()> {
        let path = folder.join("syncs");
        let measured = tokio::task::spawn_blocking(move || -> std::io::Result<Vec<u64>> {
            let mut file = File::create(&path)?;
            let mut took = Vec::with_capacity(times);
            for _ in 0..times {
                file.write_all(&[0x5a; APPEND_BYTES])?;
                let begun = Instant::now();
                file.sync_data()?;
                took.push(micros(begun.elapsed()));
            }
            std::fs::remove_file(&path)?;
            Ok(took)
        });
        self.0.extend(measured.await?.context("syncing a file")?);
        Ok(())
    }

    /// What they come to, if there were any.
    pub(super) fn syncs(mut self) -> Option<SyncTimes> {
        self.0.sort_unstable();
        let syncs = self.0.len() as u64;
        let at = |part| quantile(&self.0, part);
        (syncs > 0).then(|| SyncTimes { syncs, p50_us: at(0.50), p99_us: at(0.99) })
    }
}
