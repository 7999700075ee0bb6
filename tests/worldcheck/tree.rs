//! The whole tree in memory, so that the root of any size and the bytes of any tile can be told.

use bytes::Bytes;
use countersign_tlog::{Hash, TileCoord, hash::leaf_hash, tile::TILE_HEIGHT};

use super::join;

/// The perfect subtrees over the records: the leaf hashes at height 0, above them one node for two below.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    heights: Vec<Vec<Hash>>,
}

impl Tree {
    pub(crate) fn of(records: &[Bytes]) -> Tree {
        let mut tree = Tree::default();
        for record in records {
            tree.append(leaf_hash(record));
        }
        tree
    }

    pub(crate) fn append(&mut self, leaf: Hash) {
        let mut node = leaf;
        for height in 0.. {
            if self.heights.len() == height {
                self.heights.push(Vec::new());
            }
            let row = &mut self.heights[height];
            row.push(node);
            let [.., left, right] = row[..] else { return };
            if row.len() % 2 == 1 {
                return;
            }
            node = join(left, Some(right));
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.heights.first().map_or(0, Vec::len) as u64
    }

    /// The root of the first `size` records; `None` if there are fewer.
    pub(crate) fn root_at(&self, size: u64) -> Option<Hash> {
        if size > self.size() {
            return None;
        }
        // From the smallest perfect subtree to the largest, which is how RFC 6962 joins them.
        let mut root = None;
        for height in (0..u64::BITS).filter(|height| size >> height & 1 == 1) {
            let place = usize::try_from((size >> height) - 1).ok()?;
            root = Some(join(self.heights[height as usize][place], root));
        }
        Some(root.unwrap_or(Hash::EMPTY_ROOT))
    }

    /// The bytes of a tile; `None` if the tree doesn't fill it.
    pub(crate) fn tile(&self, coord: TileCoord) -> Option<Vec<u8>> {
        let row = self.heights.get((u32::from(coord.level()) * TILE_HEIGHT) as usize)?;
        let start = usize::try_from(coord.index()).ok()?.checked_mul(256)?;
        let hashes = row.get(start..start.checked_add(usize::from(coord.width()))?)?;
        Some(hashes.iter().flat_map(|hash| *hash.as_bytes()).collect())
    }
}
