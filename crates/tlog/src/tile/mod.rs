//! Hash tiles (C2SP `tlog-tiles`): which ones there are, where they stand, what is in them.
//!
//! The tile at level `l` with index `n` holds the hashes of 256 neighbouring subtrees of 256^l leaves each. A full
//! tile is hashed into one hash of the level above. A partial tile holds what there is so far; it belongs to one size
//! of the log, and nothing above is built on it.

mod coord;
mod path;

pub(crate) use coord::subtrees;
pub use coord::{CoordError, TileCoord, tiles_for_growth};
pub(crate) use path::write_index;
pub use path::{CHECKPOINT_PATH, LogPath, MAX_PATH_BYTES, ParsePathError};

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::hash::{self, HASH_BYTES, Hash};

/// The height of the subtree that one full tile stands for.
pub const TILE_HEIGHT: u32 = 8;

/// Hashes in a full tile, and records in a full bundle: 2^[`TILE_HEIGHT`].
pub const TILE_WIDTH: u16 = 256;

/// The size of a full tile: 8,192 bytes.
pub const TILE_BYTES: usize = TILE_WIDTH as usize * HASH_BYTES;

/// The hashes of one tile, 1 to 256 of them, as they stand in the file. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile(Bytes);

impl Tile {
    /// Takes the bytes of a tile file, which must be exactly as wide as its coordinates say.
    ///
    /// Nothing is known about the hashes until a proof or a root that they give has been checked.
    pub fn parse(coord: TileCoord, bytes: Bytes) -> Result<Self, ParseTileError> {
        let expected = usize::from(coord.width()) * HASH_BYTES;
        if bytes.len() == expected {
            Ok(Self(bytes))
        } else {
            Err(ParseTileError { coord, expected, found: bytes.len() })
        }
    }

    /// Builds a tile. `None` unless there are 1 to 256 hashes.
    pub fn from_hashes(hashes: &[Hash]) -> Option<Self> {
        if hashes.is_empty() || hashes.len() > usize::from(TILE_WIDTH) {
            return None;
        }
        Some(Self(hashes.iter().flat_map(Hash::as_bytes).copied().collect()))
    }

    /// How many hashes the tile holds, 1 to 256.
    pub fn width(&self) -> u16 {
        // At most TILE_BYTES long, by construction.
        (self.0.len() / HASH_BYTES) as u16
    }

    /// The hashes in order.
    pub fn hashes(&self) -> impl DoubleEndedIterator<Item = Hash> + ExactSizeIterator {
        self.0.chunks_exact(HASH_BYTES).map(|chunk| {
            Hash::from_bytes(chunk.try_into().expect("chunks_exact gives chunks of exactly that size"))
        })
    }

    /// The first `width` hashes: what a narrower partial tile of the same index holds. `None` for a width of zero or
    /// beyond this tile's.
    pub fn narrow(&self, width: u16) -> Option<Self> {
        (1..=self.width()).contains(&width).then(|| Self(self.0.slice(..usize::from(width) * HASH_BYTES)))
    }

    /// The hash over all of the tile's hashes. For a full tile that is the hash in the level above.
    pub fn root(&self) -> Hash {
        let mut row: Vec<Hash> = self.hashes().collect();
        let mut subtrees = Vec::new();
        // Halve the row level by level; an odd one out is a subtree of the joined right edge.
        loop {
            if row.len() % 2 == 1 {
                subtrees.extend(row.pop());
            }
            if row.is_empty() {
                break;
            }
            row = row.chunks_exact(2).map(|pair| hash::node_hash(&pair[0], &pair[1])).collect();
        }
        hash::join(subtrees.into_iter().rev()).expect("a tile holds at least one hash")
    }

    /// The hash of the `index`-th subtree of height `height` within this tile. `None` if the tile does not hold all
    /// of that subtree.
    pub(crate) fn subtree(&self, height: u32, index: usize) -> Option<Hash> {
        let bytes = HASH_BYTES << height;
        let start = index.checked_mul(bytes)?;
        let part = start..start.checked_add(bytes)?;
        (part.end <= self.0.len()).then(|| Self(self.0.slice(part)).root())
    }

    /// The bytes of the tile's file.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes of the tile's file.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// A tile file of another length than its name says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{coord} has {expected} bytes, not {found}")]
pub struct ParseTileError {
    /// The tile.
    pub coord: TileCoord,
    /// The bytes that its width asks for.
    pub expected: usize,
    /// The bytes that there were.
    pub found: usize,
}

/// Where proofs find the tiles that they are computed from: a directory that was read before, a map, the writer's
/// [`Tree`](crate::Tree).
pub trait TileSource {
    /// The tile at these coordinates. Absence is `None`; for an absent partial tile the full one of the same index is
    /// asked next, since a log may delete partial tiles once the full one stands.
    fn tile(&self, coord: TileCoord) -> Option<Tile>;
}

/// Asks a source as [`TileSource::tile`] says, and narrows what comes to the width asked for.
pub(crate) fn find(source: &impl TileSource, coord: TileCoord) -> Option<Tile> {
    source.tile(coord).or_else(|| source.tile(coord.full()))?.narrow(coord.width())
}

impl<T: TileSource + ?Sized> TileSource for &T {
    fn tile(&self, coord: TileCoord) -> Option<Tile> {
        (**self).tile(coord)
    }
}

impl<S: std::hash::BuildHasher> TileSource for HashMap<TileCoord, Tile, S> {
    fn tile(&self, coord: TileCoord) -> Option<Tile> {
        self.get(&coord).cloned()
    }
}

impl TileSource for BTreeMap<TileCoord, Tile> {
    fn tile(&self, coord: TileCoord) -> Option<Tile> {
        self.get(&coord).cloned()
    }
}

/// The first source, and where that has nothing, the second.
impl<A: TileSource, B: TileSource> TileSource for (A, B) {
    fn tile(&self, coord: TileCoord) -> Option<Tile> {
        self.0.tile(coord).or_else(|| self.1.tile(coord))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{leaf_hash, node_hash};

    fn hashes(count: u64) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&n.to_le_bytes())).collect()
    }

    #[test]
    fn bytes_must_fit_the_width() {
        let coord = TileCoord::new(0, 7, 3).unwrap();
        let tile = Tile::from_hashes(&hashes(3)).unwrap();
        assert_eq!(Tile::parse(coord, tile.as_bytes().clone()), Ok(tile.clone()));
        for found in [0, 1, 95, 97, 128] {
            let refused = Tile::parse(coord, Bytes::from(vec![0; found]));
            assert_eq!(refused, Err(ParseTileError { coord, expected: 96, found }));
        }
        assert_eq!(Tile::from_hashes(&[]), None);
        assert_eq!(Tile::from_hashes(&hashes(257)), None);
    }

    #[test]
    fn narrowing_keeps_a_prefix() {
        let tile = Tile::from_hashes(&hashes(256)).unwrap();
        assert_eq!(tile.as_bytes().len(), TILE_BYTES);
        assert_eq!(tile.narrow(5), Tile::from_hashes(&hashes(5)));
        assert_eq!(tile.narrow(256), Some(tile.clone()));
        assert_eq!(tile.narrow(0), None);
        assert_eq!(tile.narrow(5).unwrap().narrow(6), None);
    }

    #[test]
    fn roots_and_subtrees_follow_rfc_6962() {
        let h = hashes(5);
        let tile = Tile::from_hashes(&h).unwrap();
        let left = node_hash(&node_hash(&h[0], &h[1]), &node_hash(&h[2], &h[3]));
        assert_eq!(tile.root(), node_hash(&left, &h[4]));
        assert_eq!(tile.subtree(2, 0), Some(left));
        assert_eq!(tile.subtree(1, 1), Some(node_hash(&h[2], &h[3])));
        assert_eq!(tile.subtree(0, 4), Some(h[4]));
        assert_eq!(tile.subtree(1, 2), None);
        assert_eq!(tile.subtree(0, usize::MAX), None);
    }

    #[test]
    fn a_full_tile_stands_in_for_a_partial_one() {
        let coord = TileCoord::new(0, 0, 3).unwrap();
        let full = Tile::from_hashes(&hashes(256)).unwrap();
        let name = TileCoord::new(0, 0, 256).unwrap();
        let source = HashMap::from([(name, full.clone())]);
        assert_eq!(find(&source, coord), full.narrow(3));
        assert_eq!(find(&BTreeMap::from([(name, full.clone())]), coord), full.narrow(3));
        assert_eq!(find(&(BTreeMap::new(), &source), coord), full.narrow(3));
        assert_eq!(find(&source, TileCoord::new(0, 1, 3).unwrap()), None);
    }
}
