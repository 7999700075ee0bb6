//! Making published tiles again that are missing or torn, each from what it follows from.
//!
//! Nothing is read of a tile that is as long as it must be: of a log of five million leaves the lengths of twenty
//! thousand files are looked at, some tenths of a second, where reading the leaves takes half a minute.

use bytes::Bytes;
use countersign_store::Store;
use countersign_tlog::hash::{HASH_BYTES, leaf_hash};
use countersign_tlog::tile::{TILE_WIDTH, tiles_for_growth};
use countersign_tlog::{Hash, SignedCheckpoint, Tile, TileCoord};

use crate::open::{OpenError, leaves, read_tile};
use crate::publisher::publish;

/// Files whose lengths are asked for at once.
const LENGTHS: usize = 4_096;

/// Tiles that are written at once: at most 2 MiB.
const TILES: usize = 256;

/// Makes the missing and torn tiles of the published size again. `false` if they can't be, or don't fit those around
/// them: then something else is wrong too, and all leaves have to be read to tell what.
pub(crate) async fn mend(store: &dyn Store, published: &SignedCheckpoint) -> Result<bool, OpenError> {
    let size = published.size();
    let wanted = wanted(store, size).await?;
    if wanted.is_empty() {
        return Ok(true);
    }
    tracing::warn!(tiles = wanted.len(), first = %wanted[0], "published tiles are missing or torn, they are made again");
    // A level after the other, since a tile follows from those below it.
    for level in 0..=wanted.iter().map(|coord| coord.level()).max().unwrap_or(0) {
        let coords: Vec<TileCoord> = wanted.iter().copied().filter(|coord| coord.level() == level).collect();
        for coords in coords.chunks(TILES) {
            let mut files: Vec<(String, Bytes)> = Vec::with_capacity(coords.len());
            for coord in coords {
                let Some(tile) = make(store, *coord).await? else { return Ok(false) };
                files.push((coord.path(), tile.into_bytes()));
            }
            publish(store, published, files).await.map_err(OpenError::Publish)?;
        }
    }
    for coord in wanted {
        if !fits(store, coord, size).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The tiles of a log of this size that don't stand as long as they must be, the lowest first.
async fn wanted(store: &dyn Store, size: u64) -> Result<Vec<TileCoord>, OpenError> {
    let mut wanted = Vec::new();
    for coords in tiles_for_growth(0, size).chunks(LENGTHS) {
        let paths = coords.iter().map(|coord| coord.path()).collect();
        let lengths = store.file_lengths(paths).await.map_err(OpenError::Read)?;
        for (coord, length) in coords.iter().zip(lengths) {
            let sound =
                |coord: TileCoord, length| length == Some(u64::from(coord.width()) * HASH_BYTES as u64);
            // Once the full tile stands, a partial one may be gone.
            let instead = !sound(*coord, length) && !coord.is_full() && {
                let full = store.file_lengths(vec![coord.full().path()]).await.map_err(OpenError::Read)?;
                length.is_none() && sound(coord.full(), full[0])
            };
            if !sound(*coord, length) && !instead {
                wanted.push(*coord);
            }
        }
    }
    wanted.sort_by_key(|coord| coord.level());
    Ok(wanted)
}

/// Makes a tile from the leaves, or from the tiles below it. `None` if one of those can't be had.
async fn make(store: &dyn Store, coord: TileCoord) -> Result<Option<Tile>, OpenError> {
    let first = coord.index() * u64::from(TILE_WIDTH);
    let below = first..first + u64::from(coord.width());
    let mut hashes: Vec<Hash> = Vec::with_capacity(usize::from(coord.width()));
    let Some(level) = coord.level().checked_sub(1) else {
        hashes.extend(leaves(store, below).await?.iter().map(|record| leaf_hash(record)));
        return Ok(Tile::from_hashes(&hashes));
    };
    for index in below {
        let Ok(child) = TileCoord::new(level, index, TILE_WIDTH) else { return Ok(None) };
        let Some(child) = read_tile(store, child).await.map_err(OpenError::Read)? else { return Ok(None) };
        hashes.push(child.root());
    }
    Ok(Tile::from_hashes(&hashes))
}

/// Whether a tile hashes to what the tile above it says. Those at the right edge have none above them: they are held
/// against the checkpoint when the tree is loaded.
async fn fits(store: &dyn Store, coord: TileCoord, size: u64) -> Result<bool, OpenError> {
    let width = u64::from(TILE_WIDTH);
    let above = coord.level().checked_add(1);
    let above = above.and_then(|level| TileCoord::in_log(level, coord.index() / width, size));
    let (true, Some(above)) = (coord.is_full(), above) else { return Ok(true) };
    let tile = read_tile(store, coord).await.map_err(OpenError::Read)?;
    let above = read_tile(store, above).await.map_err(OpenError::Read)?;
    let place = (coord.index() % width) as usize; // below 256
    let says = above.and_then(|above| above.hashes().nth(place));
    Ok(tile.is_some_and(|tile| says == Some(tile.root())))
}
