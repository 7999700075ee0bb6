use std::collections::VecDeque;

use crate::{
    hash::{Hash, node_hash},
    tile::{TILE_HEIGHT, TILE_WIDTH, Tile},
};

/// One level of the tree: the tile that is being filled, and the last full ones. Always at least the former.
pub(super) struct Level {
    tiles: VecDeque<Nodes>,
    first: u64,
}

impl Level {
    /// A level whose first kept tile has this index.
    pub(super) fn starting_at(index: u64) -> Self {
        Self { tiles: VecDeque::from([Nodes::default()]), first: index }
    }

    /// The index of the oldest tile that is kept.
    pub(super) fn first_index(&self) -> u64 {
        self.first
    }

    /// The index of the tile that is being filled.
    pub(super) fn current_index(&self) -> u64 {
        self.first + self.tiles.len() as u64 - 1
    }

    /// Adds a hash. If this fills the tile: gives its root, starts the next tile, and keeps this many behind it.
    pub(super) fn push(&mut self, hash: Hash, kept_behind: u64) -> Option<Hash> {
        let current = self.tiles.back_mut().expect("a level always has a tile that is being filled");
        let root = current.push(hash)?;
        let mut next = Nodes::default();
        while self.tiles.len() as u64 > kept_behind {
            // The oldest one's memory serves the newest.
            next = self.tiles.pop_front().unwrap_or_default();
            self.first += 1;
        }
        next.clear();
        self.tiles.push_back(next);
        Some(root)
    }

    /// The node at this height and place within the tile `index`, if that is kept and complete so far.
    pub(super) fn node(&self, index: u64, height: u32, place: usize) -> Option<Hash> {
        self.nodes(index)?.rows.get(height as usize)?.get(place).copied()
    }

    /// The tile `index` as wide as it is so far, if it is kept and not empty.
    pub(super) fn tile(&self, index: u64) -> Option<Tile> {
        Tile::from_hashes(&self.nodes(index)?.rows[0])
    }

    fn nodes(&self, index: u64) -> Option<&Nodes> {
        self.tiles.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }
}

/// A tile with its inner nodes below the root, row by row from its hashes upwards.
#[derive(Default)]
struct Nodes {
    rows: [Vec<Hash>; TILE_HEIGHT as usize],
}

impl Nodes {
    /// Adds a hash and the inner nodes that this completes. Gives the root when the tile is full.
    fn push(&mut self, hash: Hash) -> Option<Hash> {
        if self.rows[0].is_empty() {
            for (height, row) in self.rows.iter_mut().enumerate() {
                row.reserve_exact(usize::from(TILE_WIDTH) >> height);
            }
        }
        let mut node = hash;
        for row in &mut self.rows {
            row.push(node);
            let [.., left, right] = &row[..] else { return None };
            if row.len() % 2 == 1 {
                return None;
            }
            node = node_hash(left, right);
        }
        Some(node)
    }

    fn clear(&mut self) {
        self.rows.iter_mut().for_each(Vec::clear);
    }
}
