//! For whoever replays a whole log: leaf hashes go in, the root and the tiles come out, in memory that does not grow
//! with the log.

use crate::{
    hash::{self, Hash, node_hash},
    tile::{TILE_HEIGHT, TILE_WIDTH, Tile, TileCoord},
};

/// The right edge of a tree: one hash for each perfect subtree that its leaves fall into, at most 64. Enough to append
/// and to know the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// One for each set bit of the size, largest subtree first.
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a frontier where [`Frontier::subtrees`] left off.
    pub fn resume(size: u64, subtrees: Vec<Hash>) -> Result<Self, ResumeError> {
        let expected = size.count_ones() as usize;
        if subtrees.len() == expected {
            Ok(Self { size, subtrees })
        } else {
            Err(ResumeError { size, expected, found: subtrees.len() })
        }
    }

    /// Appends a leaf hash. One node is hashed per leaf on average.
    ///
    /// # Panics
    ///
    /// After 2^64 − 1 leaves, which no log reaches: at a million leaves a second that takes half a million years.
    pub fn append(&mut self, leaf: Hash) {
        self.append_observed(leaf, |_, _| {});
    }

    /// Appends a leaf hash, and shows every perfect subtree that this completes, with its height; the leaf itself
    /// comes first, with height 0.
    fn append_observed(&mut self, leaf: Hash, mut completed: impl FnMut(u32, &Hash)) {
        let mut subtree = leaf;
        completed(0, &subtree);
        // Each trailing one of the size is a subtree that stands waiting for a right half of its own height.
        for height in 1..=self.size.trailing_ones() {
            let left = self.subtrees.pop().expect("there is a subtree for each set bit of the size");
            subtree = node_hash(&left, &subtree);
            completed(height, &subtree);
        }
        self.subtrees.push(subtree);
        self.size = self.size.checked_add(1).expect("no log reaches 2^64 leaves");
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root.
    pub fn root(&self) -> Hash {
        hash::join(self.subtrees.iter().copied()).unwrap_or(Hash::EMPTY_ROOT)
    }

    /// The subtrees, largest first, to be kept and [resumed](Frontier::resume) from.
    pub fn subtrees(&self) -> &[Hash] {
        &self.subtrees
    }
}

/// Another number of subtrees than the size has set bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tree of {size} leaves falls into {expected} subtrees, not {found}")]
pub struct ResumeError {
    /// The number of leaves.
    pub size: u64,
    /// How many subtrees that gives.
    pub expected: usize,
    /// How many there were.
    pub found: usize,
}

/// A [`Frontier`] that also gives every tile of the log as it completes, to be compared with the ones on disk. Holds
/// at most one tile per level.
#[derive(Clone, Debug, Default)]
pub struct TileStream {
    frontier: Frontier,
    /// The hashes since the last full tile of each level, 0 to 255 of them.
    rows: Vec<Vec<Hash>>,
}

impl TileStream {
    /// The empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf hash, and gives the full tiles that this completes, level 0 first. For 255 leaves of 256 there
    /// are none, and nothing is allocated.
    pub fn append(&mut self, leaf: Hash) -> Vec<(TileCoord, Tile)> {
        let mut full = Vec::new();
        let rows = &mut self.rows;
        let size_after = self.frontier.size() + 1;
        self.frontier.append_observed(leaf, |height, subtree| {
            if height % TILE_HEIGHT != 0 {
                return;
            }
            let level = (height / TILE_HEIGHT) as usize;
            if rows.len() == level {
                rows.push(Vec::with_capacity(usize::from(TILE_WIDTH)));
            }
            let row = &mut rows[level];
            row.push(*subtree);
            if row.len() == usize::from(TILE_WIDTH) {
                // The tile ends with the newest leaf, so its index counts the tiles before that.
                let leaves_bits = height + TILE_HEIGHT;
                let index = size_after.checked_shr(leaves_bits).unwrap_or(0).saturating_sub(1);
                let coord = TileCoord::new(level as u8, index, TILE_WIDTH);
                let coord = coord.expect("a frontier has at most 8 levels, and the width is a full tile's");
                full.push((coord, Tile::from_hashes(row).expect("the row is a full tile wide")));
                row.clear();
            }
        });
        full
    }

    /// The partial tiles at the current size, level 0 first.
    pub fn partial_tiles(&self) -> Vec<(TileCoord, Tile)> {
        let rows = self.rows.iter().enumerate();
        rows.filter_map(|(level, row)| {
            let coord = TileCoord::partial(level as u8, self.size())?;
            Some((coord, Tile::from_hashes(row)?))
        })
        .collect()
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hash::leaf_hash, tile::tiles_for_growth};
    use std::collections::BTreeSet;

    #[test]
    fn small_roots_are_those_of_rfc_6962() {
        let h: Vec<Hash> = (0..3_u8).map(|n| leaf_hash(&[n])).collect();
        let mut frontier = Frontier::new();
        assert_eq!(frontier.root(), Hash::EMPTY_ROOT);
        frontier.append(h[0]);
        assert_eq!(frontier.root(), h[0]);
        frontier.append(h[1]);
        frontier.append(h[2]);
        assert_eq!(frontier.root(), node_hash(&node_hash(&h[0], &h[1]), &h[2]));
    }

    #[test]
    fn a_frontier_resumes_and_refuses_another_shape() {
        let mut frontier = Frontier::new();
        for n in 0..100_u8 {
            let mut resumed = Frontier::resume(frontier.size(), frontier.subtrees().to_vec()).unwrap();
            assert_eq!(resumed, frontier);
            frontier.append(leaf_hash(&[n]));
            resumed.append(leaf_hash(&[n]));
            assert_eq!(resumed.root(), frontier.root());
        }
        assert_eq!(Frontier::resume(3, vec![]), Err(ResumeError { size: 3, expected: 2, found: 0 }));
    }

    #[test]
    fn the_stream_gives_exactly_the_tiles_of_the_log() {
        let mut stream = TileStream::new();
        let mut given = BTreeSet::new();
        for n in 0..66_000_u32 {
            for (coord, tile) in stream.append(leaf_hash(&n.to_le_bytes())) {
                assert_eq!(tile.width(), coord.width());
                assert!(given.insert(coord), "{coord} came twice");
            }
        }
        given.extend(stream.partial_tiles().into_iter().map(|(coord, _)| coord));
        assert_eq!(given, tiles_for_growth(0, 66_000).into_iter().collect());
    }
}
