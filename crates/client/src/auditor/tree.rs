//! The tree over a log's records, a block of 256 at a time: what the checker spends its time on.
//!
//! The same hashes as in [`countersign_tlog`], by a library whose SHA-256 is written for the processor at hand: on those
//! without SHA instructions it takes two thirds of the time. A test holds the two against each other.

use aws_lc_rs::digest::{SHA256, digest};
use countersign_tlog::{
    Frontier, Hash, Tile, TileCoord,
    hash::HASH_BYTES,
    tile::{TILE_HEIGHT, TILE_WIDTH},
};

/// RFC 6962 section 2.1: what stands before a record, and before two child hashes, when they are hashed.
const LEAF_PREFIX: u8 = 0;
const NODE_PREFIX: u8 = 1;

/// The hashes that are not yet below a full tile, level by level: at most 255 each.
#[derive(Default)]
pub(super) struct Rows {
    size: u64,
    rows: Vec<Vec<Hash>>,
}

impl Rows {
    /// The number of leaves.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Appends a block: 256 leaves, or fewer at the log's end. Gives the full tiles above level 0 that this completes.
    pub(super) fn append(&mut self, block: &[Hash]) -> Vec<(TileCoord, Tile)> {
        let mut completed = Vec::new();
        self.size += block.len() as u64;
        if block.len() < usize::from(TILE_WIDTH) {
            self.push(0, block);
            return completed;
        }
        let mut level = 1;
        let mut subtree = subtree(block);
        loop {
            self.push(level, &[subtree]);
            let row = &mut self.rows[level];
            if row.len() < usize::from(TILE_WIDTH) {
                return completed;
            }
            // The tile ends with the newest leaf, so its index counts the tiles before it.
            let below = TILE_HEIGHT * (level as u32 + 1);
            let index = self.size.checked_shr(below).unwrap_or(0).saturating_sub(1);
            let coord = TileCoord::new(level as u8, index, TILE_WIDTH);
            let coord = coord.expect("a log has at most 8 levels, and the width is a full tile's");
            completed.push((coord, Tile::from_hashes(row).expect("the row is a full tile wide")));
            subtree = self::subtree(row);
            row.clear();
            level += 1;
        }
    }

    /// The partial tiles at the current size, level 0 first.
    pub(super) fn partial_tiles(&self) -> Vec<(TileCoord, Tile)> {
        let rows = self.rows.iter().enumerate();
        rows.filter_map(|(level, row)| {
            Some((TileCoord::partial(level as u8, self.size)?, Tile::from_hashes(row)?))
        })
        .collect()
    }

    /// The root.
    pub(super) fn root(&self) -> Hash {
        self.root_with(&[])
    }

    /// The root if fewer than 256 further leaves followed.
    pub(super) fn root_with(&self, leaves: &[Hash]) -> Hash {
        let mut subtrees = Vec::new();
        for (level, row) in self.rows.iter().enumerate().rev() {
            perfect(if level == 0 && !leaves.is_empty() { leaves } else { row }, &mut subtrees);
        }
        if self.rows.is_empty() {
            perfect(leaves, &mut subtrees);
        }
        let size = self.size + leaves.len() as u64;
        Frontier::resume(size, subtrees)
            .expect("the rows of a size hold a subtree for each of its set bits")
            .root()
    }

    fn push(&mut self, level: usize, hashes: &[Hash]) {
        if self.rows.len() <= level {
            self.rows.resize_with(level + 1, || Vec::with_capacity(usize::from(TILE_WIDTH)));
        }
        self.rows[level].extend_from_slice(hashes);
    }
}

/// Hashes records to leaves.
#[derive(Default)]
pub(super) struct LeafHasher(Vec<u8>);

impl LeafHasher {
    pub(super) fn hash(&mut self, record: &[u8]) -> Hash {
        self.0.clear();
        self.0.push(LEAF_PREFIX);
        self.0.extend_from_slice(record);
        hash(&self.0)
    }
}

/// The root of 2^n neighbouring subtrees.
pub(super) fn subtree(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        for at in 0..row.len() / 2 {
            row[at] = node(&row[2 * at], &row[2 * at + 1]);
        }
        row.truncate(row.len() / 2);
    }
    row.first().copied().unwrap_or(Hash::EMPTY_ROOT)
}

/// Splits a row into its perfect subtrees, largest first.
fn perfect(mut row: &[Hash], subtrees: &mut Vec<Hash>) {
    while !row.is_empty() {
        let (largest, rest) = row.split_at(1 << row.len().ilog2());
        subtrees.push(subtree(largest));
        row = rest;
    }
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut input = [NODE_PREFIX; 1 + 2 * HASH_BYTES];
    input[1..=HASH_BYTES].copy_from_slice(left.as_bytes());
    input[1 + HASH_BYTES..].copy_from_slice(right.as_bytes());
    hash(&input)
}

fn hash(bytes: &[u8]) -> Hash {
    Hash::from_slice(digest(&SHA256, bytes).as_ref()).expect("a SHA-256 is 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_tlog::{TileStream, hash::leaf_hash};

    #[test]
    fn it_grows_as_the_logs_own_tree_does() {
        let leaves: Vec<Hash> = (0..66_000_u32).map(|at| leaf_hash(&at.to_be_bytes())).collect();
        let mut hasher = LeafHasher::default();
        assert_eq!(hasher.hash(&7_u32.to_be_bytes()), leaves[7]);
        let (mut rows, mut stream) = (Rows::default(), TileStream::new());
        for block in leaves.chunks(256) {
            let mut expected = Vec::new();
            for (at, leaf) in block.iter().enumerate() {
                if at == 100 {
                    assert_eq!(rows.root_with(&block[..at]), stream.root());
                }
                expected.extend(stream.append(*leaf).into_iter().filter(|(coord, _)| coord.level() > 0));
            }
            assert_eq!(rows.append(block), expected);
            assert_eq!((rows.size(), rows.root()), (stream.size(), stream.root()));
        }
        assert_eq!(rows.partial_tiles(), stream.partial_tiles());
        assert_eq!(Rows::default().root(), Hash::EMPTY_ROOT);
    }
}
