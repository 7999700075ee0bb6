//! Opening a log: from what is durable and what is public to one state in which the two agree.
//!
//! The leaves lead. A checkpoint that is public must follow from them, else the log was forked or damaged, and nothing
//! is signed any more. Tiles follow from the leaves too, so what is wrong or missing of them is made again: one by one
//! where they are missing or of a wrong length ([`mend`](crate::mend)), all of them where the right edge doesn't carry
//! the checkpoint. A tile that was changed and kept its length shows when a proof is computed from it.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use countersign_proto::log::v1::Record;
use countersign_store::{PublishError, ReadError, Store};
use countersign_tlog::checkpoint::VerifyCheckpointError;
use countersign_tlog::hash::leaf_hash;
use countersign_tlog::tile::{CHECKPOINT_PATH, TILE_WIDTH};
use countersign_tlog::{Frontier, Hash, SignedCheckpoint, SignerKey, Tile, TileCoord, TileSource, Tree};
use prost::Message;

use crate::mend::mend;
use crate::publisher::{growth, publish};
use crate::shared::sign;

/// Leaves that are read at once: at most 4 MiB.
const CHUNK: u64 = 4_096;

/// Leaves after which tiles are written when many are missing: 2 MiB of them.
const STEP: u64 = 1 << 16;

/// Why a log can't be opened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The store can't be read: our failure.
    #[error("the store can't be read: {0}")]
    Read(#[source] ReadError),
    /// The head can't be made public: our failure.
    #[error("the head can't be published: {0}")]
    Publish(#[source] PublishError),
    /// The published checkpoint isn't this log's: the wrong key, or damage.
    #[error("the published checkpoint doesn't verify: {0}")]
    Checkpoint(#[source] VerifyCheckpointError),
    /// More was published than is there: leaves were lost.
    #[error("a checkpoint of {published} leaves is published, and only {size} leaves are there")]
    Short {
        /// The published size.
        published: u64,
        /// The size of the store's log.
        size: u64,
    },
    /// The leaves aren't those that the published checkpoint is about. To go on would fork the log.
    #[error("the first {size} leaves have the root {found}, and the published checkpoint says {published}")]
    Forked {
        /// The published size.
        size: u64,
        /// The root that is published for it.
        published: Hash,
        /// The root of the leaves.
        found: Hash,
    },
    /// A leaf isn't there, though the log is longer.
    #[error("leaf {index} is missing")]
    Missing {
        /// Which.
        index: u64,
    },
    /// The last leaf isn't a record, so the time can't go on from it.
    #[error("leaf {index} is no record")]
    NoRecord {
        /// Which.
        index: u64,
    },
}

/// A log that was opened. What is published is its head.
pub(crate) struct Opened {
    pub(crate) tree: Tree,
    pub(crate) checkpoint: SignedCheckpoint,
    /// The time of the last record.
    pub(crate) time_ms: u64,
}

/// Opens the log.
pub(crate) async fn open(store: &dyn Store, key: &SignerKey) -> Result<Opened, OpenError> {
    let size = store.head().size;
    let found = store.file(CHECKPOINT_PATH).await.map_err(OpenError::Read)?;
    let published = match found.map(|bytes| SignedCheckpoint::verify(bytes, key.verifier())) {
        Some(Ok(published)) => published,
        // What is no signed note at all is torn: it says nothing, and follows from the leaves again.
        found @ (None | Some(Err(VerifyCheckpointError::Note(_)))) => {
            if let Some(Err(error)) = found {
                tracing::error!(%error, "the published checkpoint is torn, it is made again from the leaves");
            }
            let empty = sign(key, &Tree::new());
            publish(store, &empty, Vec::new()).await.map_err(OpenError::Publish)?;
            empty
        }
        Some(Err(error)) => return Err(OpenError::Checkpoint(error)),
    };
    if published.size() > size {
        return Err(OpenError::Short { published: published.size(), size });
    }
    let tree = if mend(store, &published).await? { load(store, &published).await? } else { None };
    let mut tree = match tree {
        Some(tree) => tree,
        None => rebuild(store, &published).await?,
    };
    let checkpoint = catch_up(store, key, &mut tree, published, size).await?;
    let time_ms = match size.checked_sub(1) {
        None => 0,
        Some(last) => {
            let record = leaves(store, last..size).await?;
            Record::decode(&*record[0]).map_err(|_| OpenError::NoRecord { index: last })?.time_ms
        }
    };
    Ok(Opened { tree, checkpoint, time_ms })
}

/// Takes the tree up from the published tiles. `None` if they don't carry the checkpoint, or the newest of them
/// doesn't carry the leaves: then all leaves have to be read to tell what is wrong.
async fn load(store: &dyn Store, published: &SignedCheckpoint) -> Result<Option<Tree>, OpenError> {
    let mut tiles = HashMap::new();
    for coord in Tree::tiles_to_load(published.size()) {
        let Some(tile) = read_tile(store, coord).await.map_err(OpenError::Read)? else {
            tracing::warn!(%coord, "a published tile is missing, all tiles are made again");
            return Ok(None);
        };
        tiles.insert(coord, tile);
    }
    let tree = match Tree::load(published.size(), published.root(), &tiles) {
        Ok(tree) => tree,
        Err(error) => {
            tracing::warn!(%error, "the published tiles are damaged, all tiles are made again");
            return Ok(None);
        }
    };
    let Some(last) = published.size().checked_sub(1) else { return Ok(Some(tree)) };
    // The tiles carry the checkpoint. That they also carry the leaves is tried where a loss would show: at the end.
    let index = last / u64::from(TILE_WIDTH);
    let records = leaves(store, index * u64::from(TILE_WIDTH)..published.size()).await?;
    let tile = TileCoord::in_log(0, index, published.size()).and_then(|coord| tree.tile(coord));
    let same = tile.is_some_and(|tile| tile.hashes().eq(records.iter().map(|record| leaf_hash(record))));
    Ok(same.then_some(tree))
}

/// Makes all tiles again from the leaves, if those carry the checkpoint.
async fn rebuild(store: &dyn Store, published: &SignedCheckpoint) -> Result<Tree, OpenError> {
    let size = published.size();
    // First the root, in a few hashes of memory: nothing is written over unless the leaves are the right ones.
    let mut frontier = Frontier::new();
    while frontier.size() < size {
        for record in leaves(store, chunk(frontier.size(), size)).await? {
            frontier.append(leaf_hash(&record));
        }
    }
    if frontier.root() != *published.root() {
        return Err(OpenError::Forked { size, published: *published.root(), found: frontier.root() });
    }
    let mut tree = Tree::new();
    while tree.size() < size {
        for record in leaves(store, chunk(tree.size(), size)).await? {
            tree.append(leaf_hash(&record));
        }
        if tree.size() - tree.published() >= STEP || tree.size() == size {
            // The same checkpoint again; partial tiles on the way belong to sizes that nobody will ask for.
            let mut files = growth(&tree);
            if tree.size() < size {
                files.retain(|(path, _)| !path.contains(".p/"));
            }
            publish(store, published, files).await.map_err(OpenError::Publish)?;
            tree.forget_before(tree.size());
        }
    }
    Ok(tree)
}

/// Appends the leaves that are durable and not published, and publishes them.
async fn catch_up(
    store: &dyn Store,
    key: &SignerKey,
    tree: &mut Tree,
    mut published: SignedCheckpoint,
    size: u64,
) -> Result<SignedCheckpoint, OpenError> {
    while tree.size() < size {
        for record in leaves(store, chunk(tree.size(), size)).await? {
            tree.append(leaf_hash(&record));
        }
        if tree.size() - tree.published() >= STEP || tree.size() == size {
            // Every size up to the head is durable, so each has one root only, and may be signed.
            let checkpoint = sign(key, tree);
            publish(store, &checkpoint, growth(tree)).await.map_err(OpenError::Publish)?;
            tree.forget_before(checkpoint.size());
            published = checkpoint;
        }
    }
    Ok(published)
}

fn chunk(from: u64, size: u64) -> Range<u64> {
    from..size.min(from + CHUNK)
}

/// The records of a range that the log must have.
pub(crate) async fn leaves(store: &dyn Store, range: Range<u64>) -> Result<Vec<Bytes>, OpenError> {
    let leaves = store.leaves(range.clone()).await.map_err(OpenError::Read)?;
    let index = range.start + leaves.len() as u64;
    if index == range.end { Ok(leaves) } else { Err(OpenError::Missing { index }) }
}

/// A published tile; the full one where the partial one has gone. `None` also for a file of the wrong length.
pub(crate) async fn read_tile(store: &dyn Store, coord: TileCoord) -> Result<Option<Tile>, ReadError> {
    let (found, bytes) = match store.file(&coord.path()).await? {
        Some(bytes) => (coord, Some(bytes)),
        None if coord.is_full() => return Ok(None),
        None => (coord.full(), store.file(&coord.full().path()).await?),
    };
    let tile = bytes.and_then(|bytes| Tile::parse(found, bytes).ok());
    Ok(tile.and_then(|tile| tile.narrow(coord.width())))
}
