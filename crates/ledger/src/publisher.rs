//! The task that makes heads public, at most once a second.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_store::{Publication, PublishError, Store};
use countersign_tlog::{SignedCheckpoint, Tree};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::shared::Shared;

/// The shortest time between two publications. Each leaves its partial tiles behind, and is synced to disk.
const EVERY: Duration = Duration::from_secs(1);

/// Publishes whenever the log has grown, until the ledger is shut down.
pub(crate) async fn run(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut ticks = interval(EVERY);
    // After a slow publication the next is a whole second away.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, and opening has just published.
    ticks.tick().await;
    loop {
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            _ = ticks.tick() => publish_growth(&shared).await,
        }
    }
}

/// Publishes the latest head, if the published one is older. After a failure the former stands, and the next call
/// tries again with all that is missing.
pub(crate) async fn publish_growth(shared: &Shared) {
    let (latest, files) = {
        let tree = shared.tree.lock();
        let latest = shared.latest.load_full();
        if latest.size() == shared.published.load().size() {
            return;
        }
        (latest, growth(&tree))
    };
    let size = latest.size();
    match publish(&*shared.store, &latest, files).await {
        Ok(()) => {
            shared.tree.lock().forget_before(size);
            shared.published.store(latest);
            if shared.publishing_failure.lock().take().is_some() {
                tracing::info!(size, "checkpoints are published again");
            }
        }
        Err(error) => {
            tracing::error!(size, %error, "the checkpoint couldn't be published");
            *shared.publishing_failure.lock() = Some(error.to_string());
        }
    }
}

/// The tiles that a publication at the tree's size writes.
pub(crate) fn growth(tree: &Tree) -> Vec<(String, Bytes)> {
    let tiles = tree.tiles_since(tree.published()).expect("a tree keeps what came since its published size");
    tiles.into_iter().map(|(coord, bytes)| (coord.path(), bytes)).collect()
}

/// Publishes a checkpoint with these tiles.
pub(crate) async fn publish(
    store: &dyn Store,
    checkpoint: &SignedCheckpoint,
    files: Vec<(String, Bytes)>,
) -> Result<(), PublishError> {
    let (size, checkpoint) = (checkpoint.size(), checkpoint.as_bytes().clone());
    store.publish(Publication { size, files, checkpoint }).await
}
