//! The writer's view of the tree: its right edge, in memory.
//!
//! A [`Tree`] appends, knows the root, gives paths for recent leaves and proofs between recent sizes without hashing
//! anything twice, and hands out the tiles that a publication writes. It holds the newest tiles of each level however
//! long the log is, and the full tiles since the last publication.

mod level;

use std::{collections::BTreeMap, fmt, ops::Range, sync::OnceLock};

use bytes::Bytes;

use crate::{
    hash::{self, Hash, node_hash},
    proof::{Node, Span, consistency_spans, inclusion_spans},
    tile::{self, TILE_HEIGHT, TILE_WIDTH, Tile, TileCoord, TileSource, tiles_for_growth},
};
use level::Level;

/// Full tiles of level 0 that are always held behind the current one, from [`Tree::load`] on.
///
/// A writer answers a batch with the path of each of its leaves at one head. Four full tiles are 1,024 leaves: twice
/// the largest batch of 512.
pub const RECENT_TILES: u64 = 4;

/// Leaves back from the newest for which [`Tree::inclusion`] always answers.
pub const RECENT_LEAVES: u64 = RECENT_TILES * TILE_WIDTH as u64;

/// Full tiles of level 0 that are held behind the current one at most, each with its inner nodes: 16 KiB, so 4 MiB in all.
///
/// Parties ask for proofs between heads that they met in the last half minute; 65,536 leaves are that much of a log that
/// takes 2,000 a second. As many as one tile of level 1 covers, so that one of those, kept behind the current one, has
/// all that lies above them.
pub const KEPT_TILES: u64 = TILE_WIDTH as u64;

/// The right edge of a log's tree, for its one writer.
#[derive(Default)]
pub struct Tree {
    size: u64,
    levels: Vec<Level>,
    /// Full tiles that a publication may still ask for.
    full: BTreeMap<TileCoord, Bytes>,
    /// The size below which nothing has to be published any more.
    published: u64,
    /// Computed when first asked for at each size: one signed head serves a whole batch of paths.
    edge: OnceLock<Vec<Hash>>,
}

impl Tree {
    /// The empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tiles that [`Tree::load`] reads: the right edge, and the recent full tiles of each level.
    pub fn tiles_to_load(size: u64) -> Vec<TileCoord> {
        let mut tiles = Vec::new();
        for level in 0_u8.. {
            let subtrees = tile::subtrees(level, size);
            if subtrees == 0 {
                break;
            }
            let last = subtrees >> TILE_HEIGHT;
            let first = last.saturating_sub(loaded_behind(level));
            tiles.extend((first..=last).filter_map(|index| TileCoord::in_log(level, index, size)));
        }
        tiles
    }

    /// Takes up a log that stands published at `size` with this root. The tiles that do not give that root are
    /// refused, the recent full ones as well, so that no wrong path can come of a damaged tile.
    pub fn load(size: u64, root: &Hash, source: &impl TileSource) -> Result<Self, LoadError> {
        let mut tree = Self { size, published: size, ..Self::default() };
        let mut roots = Vec::new();
        for coord in Self::tiles_to_load(size) {
            let tile = tile::find(source, coord).ok_or(LoadError::Missing { coord })?;
            let level = usize::from(coord.level());
            if tree.levels.len() == level {
                tree.levels.push(Level::starting_at(coord.index()));
            }
            for hash in tile.hashes() {
                if let Some(root) = tree.levels[level].push(hash, kept_behind(coord.level())) {
                    roots.push((coord, root));
                }
            }
        }
        let found = tree.root();
        if found != *root {
            return Err(LoadError::Root { size, expected: *root, found });
        }
        // The root vouches for the tiles at the edge; each of those, and so on, for the full tiles that it covers.
        for (coord, root) in roots {
            let node = Node { height: (u32::from(coord.level()) + 1) * TILE_HEIGHT, index: coord.index() };
            if tree.node(node) != Some(root) {
                return Err(LoadError::Damaged { coord });
            }
        }
        Ok(tree)
    }

    /// Appends a leaf hash. One node is hashed per leaf on average.
    ///
    /// # Panics
    ///
    /// After 2^64 − 1 leaves, which no log reaches.
    pub fn append(&mut self, leaf: Hash) {
        let mut rising = Some(leaf);
        for level in 0_u8.. {
            let Some(hash) = rising else { break };
            if self.levels.len() == usize::from(level) {
                self.levels.push(Level::starting_at(0));
            }
            let row = &mut self.levels[usize::from(level)];
            let index = row.current_index();
            rising = row.push(hash, kept_behind(level));
            if rising.is_some() {
                let coord = TileCoord::new(level, index, TILE_WIDTH);
                let coord = coord.expect("a log of 2^64 leaves has 8 levels, and the width is a full tile's");
                let tile =
                    row.tile(index).expect("the tile that was just filled is kept behind the current one");
                self.full.insert(coord, tile.into_bytes());
            }
        }
        self.size = self.size.checked_add(1).expect("no log reaches 2^64 leaves");
        self.edge.take();
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root.
    pub fn root(&self) -> Hash {
        self.edge().last().copied().unwrap_or(Hash::EMPTY_ROOT)
    }

    /// The leaves that [`Tree::inclusion`] answers for: at least the last [`RECENT_LEAVES`], and up to [`KEPT_TILES`] of
    /// them as the log grows.
    pub fn held(&self) -> Range<u64> {
        let first = self.levels.first().map_or(0, Level::first_index);
        first * u64::from(TILE_WIDTH)..self.size
    }

    /// The path of a recent leaf at the current size, the leaf's sibling first. After the first call at a size, or
    /// [`Tree::root`], nothing is hashed.
    pub fn inclusion(&self, index: u64) -> Result<Vec<Hash>, NotHeld> {
        let not_held = || NotHeld { index, held: self.held() };
        if !self.held().contains(&index) {
            return Err(not_held());
        }
        let spans = inclusion_spans(index, self.size).into_iter();
        spans.map(|span| self.span(span).ok_or_else(not_held)).collect()
    }

    /// The consistency proof between two sizes of the log: the bytes that
    /// [`prove_consistency`](crate::proof::prove_consistency) computes from tiles, and only the nodes at the newer size's
    /// right edge are hashed for them. `None` if a node isn't held, or if these are no two sizes of this log in order:
    /// from a size beyond the first of [`Tree::held`] on, there is a proof to each later one.
    pub fn consistency(&self, from: u64, to: u64) -> Option<Vec<Hash>> {
        if from > to || to > self.size {
            return None;
        }
        if from == 0 {
            return Some(Vec::new());
        }
        let hash = |span: Span| {
            let nodes = span.nodes().map(|node| self.node(node)).collect::<Option<Vec<Hash>>>()?;
            hash::join(nodes.into_iter())
        };
        consistency_spans(from, to).into_iter().map(hash).collect()
    }

    /// The tiles that a publication of the current size writes, where `old_size` is published already: every full tile
    /// that was completed since, and the partial tiles of the current size.
    pub fn tiles_since(&self, old_size: u64) -> Result<Vec<(TileCoord, Bytes)>, TilesSinceError> {
        if old_size > self.size {
            return Err(TilesSinceError::Ahead { asked: old_size, size: self.size });
        }
        if old_size < self.published {
            return Err(TilesSinceError::Forgotten { asked: old_size, kept_from: self.published });
        }
        let tiles = tiles_for_growth(old_size, self.size).into_iter();
        Ok(tiles
            .map(|coord| {
                let tile =
                    self.tile(coord).expect("full tiles are kept until forgotten, current ones always");
                (coord, tile.into_bytes())
            })
            .collect())
    }

    /// Says that a publication of this size is durable: the full tiles below it need not be kept for another. Sizes
    /// that were forgotten before, or are beyond the log, change nothing.
    pub fn forget_before(&mut self, published_size: u64) {
        self.published = self.published.max(published_size.min(self.size));
        let published = self.published;
        self.full.retain(|coord, _| coord.completed_at().is_none_or(|size| size > published));
    }

    /// The size that [`Tree::tiles_since`] can go back to. The distance from here to [`Tree::size`] is what unpublished
    /// tiles cost in memory, about 33 bytes a leaf; the caller bounds it by publishing.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// The hash of a span that a path of a held leaf at the current size consists of.
    fn span(&self, span: Span) -> Option<Hash> {
        match span.node() {
            Some(node) => self.node(node),
            // A ragged span ends at the right edge, and its subtrees are the last ones that the log falls into.
            None => self.edge().get(span.count().checked_sub(1)?).copied(),
        }
    }

    fn node(&self, node: Node) -> Option<Hash> {
        let (level, index, height, place) = node.place();
        self.levels.get(usize::from(level))?.node(index, height, place)
    }

    /// The joined hashes of the smallest subtree that the log falls into, of the smallest two, and so on; the last is
    /// the root. Empty for the empty log.
    fn edge(&self) -> &[Hash] {
        self.edge.get_or_init(|| {
            let heights = (0..u64::BITS).filter(|height| self.size >> height & 1 == 1);
            let mut joined: Vec<Hash> = Vec::with_capacity(self.size.count_ones() as usize);
            for height in heights {
                let node = Node { height, index: (self.size >> height) - 1 };
                let left = self.node(node).expect("the current tile of each level holds the right edge");
                joined.push(joined.last().map_or(left, |right| node_hash(&left, right)));
            }
            joined
        })
    }
}

/// How many full tiles a level keeps behind its current one. Above level 0 one is enough: the leaves that are held reach
/// back over no more than one tile of level 1.
fn kept_behind(level: u8) -> u64 {
    if level == 0 { KEPT_TILES } else { 1 }
}

/// How many of them are read when a log is taken up: what its writer needs at once. The rest come with growth.
fn loaded_behind(level: u8) -> u64 {
    kept_behind(level).min(RECENT_TILES)
}

/// The tiles at the right edge, those that are kept behind them, and the unpublished ones. With this a proof for an old leaf at an
/// unpublished size is computed from published tiles and the tree together: `(&tree, &tiles_on_disk)`.
impl TileSource for Tree {
    fn tile(&self, coord: TileCoord) -> Option<Tile> {
        let kept = || self.levels.get(usize::from(coord.level()))?.tile(coord.index())?.narrow(coord.width());
        kept().or_else(|| Tile::parse(coord, self.full.get(&coord)?.clone()).ok())
    }
}

/// The tiles would fill pages.
impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("size", &self.size)
            .field("published", &self.published)
            .finish_non_exhaustive()
    }
}

/// A leaf whose path the tree cannot give, since it is too old or not there. Old leaves have paths from tiles:
/// [`prove_inclusion`](crate::proof::prove_inclusion).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tree holds leaves {} up to {}, and not {index}", held.start, held.end)]
pub struct NotHeld {
    /// The leaf asked for.
    pub index: u64,
    /// The leaves that are held.
    pub held: Range<u64>,
}

/// Why a tree cannot be taken up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A tile is not there.
    #[error("{coord} is missing")]
    Missing {
        /// The tile.
        coord: TileCoord,
    },
    /// The tiles at the right edge give another root.
    #[error("the tiles of a log of {size} leaves give the root {found}, not {expected}")]
    Root {
        /// The size of the log.
        size: u64,
        /// The root that was known.
        expected: Hash,
        /// The root that the tiles give.
        found: Hash,
    },
    /// A full tile does not hash to what the level above says.
    #[error("{coord} does not hash to what the level above says")]
    Damaged {
        /// The tile.
        coord: TileCoord,
    },
}

/// Why the tiles of a publication cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TilesSinceError {
    /// The log is not that large.
    #[error("the log has {size} leaves, fewer than {asked}")]
    Ahead {
        /// The size asked from.
        asked: u64,
        /// The size of the log.
        size: u64,
    },
    /// Tiles were forgotten after a later publication.
    #[error("tiles are kept from size {kept_from} on, not from {asked}")]
    Forgotten {
        /// The size asked from.
        asked: u64,
        /// The size that was published last.
        kept_from: u64,
    },
}

#[cfg(test)]
mod tests;
