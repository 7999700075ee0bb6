//! Proofs for whoever comes later than the receipt.

use std::collections::HashMap;

use countersign_store::ReadError;
use countersign_tlog::hash::leaf_hash;
use countersign_tlog::proof::{
    ProveError, consistency_tiles, inclusion_tiles, prove_consistency, prove_inclusion, verify_inclusion,
};
use countersign_tlog::{Hash, Tile, TileCoord, TileSource, Tree};

use crate::ledger::Ledger;
use crate::open::read_tile;
use crate::outcome::Receipt;

/// Why there is no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The log isn't that long, or a newer size came before an older one: the caller's misuse.
    #[error("the log of {size} leaves has nothing at {asked}")]
    Beyond {
        /// The index or size asked for.
        asked: u64,
        /// The size of the log, or the newer of two sizes.
        size: u64,
    },
    /// The store can't be read: our failure.
    #[error("the store can't be read: {0}")]
    Read(#[source] ReadError),
    /// A published tile has gone: our failure. Opening the log again makes it anew.
    #[error("the proof can't be computed: {0}")]
    Tiles(#[source] ProveError),
}

impl Ledger {
    /// The proof of any record at the latest head.
    pub async fn proof(&self, index: u64) -> Result<Receipt, ProofError> {
        let shared = self.shared();
        let (checkpoint, recent, wanted) = {
            let tree = shared.tree.lock();
            let checkpoint = shared.latest.load_full();
            if index >= checkpoint.size() {
                return Err(ProofError::Beyond { asked: index, size: checkpoint.size() });
            }
            if let Ok(path) = tree.inclusion(index) {
                (checkpoint, Some(path), Wanted::default())
            } else {
                let tiles = inclusion_tiles(index, checkpoint.size()).map_err(ProofError::Tiles)?;
                (checkpoint, None, Wanted::split(&tree, tiles))
            }
        };
        let path = match recent {
            Some(path) => path,
            None => prove_inclusion(index, checkpoint.size(), &self.tiles(wanted).await?)
                .map_err(ProofError::Tiles)?,
        };
        let mut records = self.leaves(index..index + 1).await.map_err(ProofError::Read)?;
        let record = records.pop().ok_or_else(|| damaged(index))?;
        // Tiles and leaves are read from files of which nobody knows what has happened to them. A proof that doesn't hold
        // would make us a liar in the eyes of whoever gets it.
        verify_inclusion(index, checkpoint.size(), &leaf_hash(&record), &path, checkpoint.root())
            .map_err(|_| damaged(index))?;
        Ok(Receipt { record, index, path, checkpoint: checkpoint.as_bytes().clone() })
    }

    /// The proof that the log of `to` leaves begins with the log of `from` leaves; for any sizes up to the latest.
    pub async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Hash>, ProofError> {
        let wanted = {
            let tree = self.shared().tree.lock();
            if to > tree.size() {
                return Err(ProofError::Beyond { asked: to, size: tree.size() });
            }
            if from > to {
                return Err(ProofError::Beyond { asked: from, size: to });
            }
            if let Some(proof) = tree.consistency(from, to) {
                return Ok(proof);
            }
            Wanted::split(&tree, consistency_tiles(from, to).map_err(ProofError::Tiles)?)
        };
        prove_consistency(from, to, &self.tiles(wanted).await?).map_err(ProofError::Tiles)
    }

    /// Adds what is published to what the tree held. A tile is published before the tree forgets it, so nothing falls
    /// in between.
    async fn tiles(&self, wanted: Wanted) -> Result<HashMap<TileCoord, Tile>, ProofError> {
        let Wanted { mut held, published } = wanted;
        for coord in published {
            let tile = read_tile(&**self.store(), coord).await.map_err(ProofError::Read)?;
            held.extend(tile.map(|tile| (coord, tile)));
        }
        Ok(held)
    }
}

fn damaged(index: u64) -> ProofError {
    ProofError::Read(ReadError::Damaged { place: format!("leaf {index}, or a tile above it") })
}

/// The tiles of a proof.
#[derive(Default)]
struct Wanted {
    /// Those that the tree has, as wide as they are wanted.
    held: HashMap<TileCoord, Tile>,
    /// The others: all of these are published.
    published: Vec<TileCoord>,
}

impl Wanted {
    fn split(tree: &Tree, tiles: Vec<TileCoord>) -> Wanted {
        let mut wanted = Wanted::default();
        for coord in tiles {
            let full = || tree.tile(coord.full())?.narrow(coord.width());
            match tree.tile(coord).or_else(full) {
                Some(tile) => {
                    wanted.held.insert(coord, tile);
                }
                None => wanted.published.push(coord),
            }
        }
        wanted
    }
}
