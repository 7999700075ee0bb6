use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Span, consistency_spans, inclusion_spans};
use crate::{
    hash::{self, Hash},
    tile::{self, Tile, TileCoord, TileSource},
};

/// The tiles that the inclusion path of leaf `index` in a log of `size` leaves is computed from.
pub fn inclusion_tiles(index: u64, size: u64) -> Result<Vec<TileCoord>, ProveError> {
    Ok(tiles_of(&checked_inclusion(index, size)?, size))
}

/// The inclusion path of leaf `index` in a log of `size` leaves, the leaf's sibling first.
pub fn prove_inclusion(index: u64, size: u64, source: &impl TileSource) -> Result<Vec<Hash>, ProveError> {
    compute(&checked_inclusion(index, size)?, size, source)
}

/// The tiles that the consistency proof between two sizes of a log is computed from. They are tiles of the newer log.
pub fn consistency_tiles(from: u64, to: u64) -> Result<Vec<TileCoord>, ProveError> {
    Ok(tiles_of(&checked_consistency(from, to)?, to))
}

/// The consistency proof between two sizes of a log. Empty for equal sizes, and from the empty log.
pub fn prove_consistency(from: u64, to: u64, source: &impl TileSource) -> Result<Vec<Hash>, ProveError> {
    compute(&checked_consistency(from, to)?, to, source)
}

/// The tiles that the root of a log of `size` leaves is computed from: the partial tiles at its right edge.
pub fn root_tiles(size: u64) -> Vec<TileCoord> {
    tiles_of(&[Span { start: 0, end: size }], size)
}

/// The root of a log of `size` leaves.
pub fn root_from_tiles(size: u64, source: &impl TileSource) -> Result<Hash, ProveError> {
    if size == 0 {
        return Ok(Hash::EMPTY_ROOT);
    }
    Reader { size, source, tiles: BTreeMap::new() }.hash(Span { start: 0, end: size })
}

/// Why no proof can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// The log has no such leaf.
    #[error("a log of {size} leaves has no leaf {index}")]
    Index {
        /// The leaf asked for.
        index: u64,
        /// The size of the log.
        size: u64,
    },
    /// A log never shrinks.
    #[error("a log of {to} leaves does not begin with one of {from}")]
    Sizes {
        /// The size that should be the older.
        from: u64,
        /// The size that should be the newer.
        to: u64,
    },
    /// The source does not have a tile that the proof needs.
    #[error("{coord} is missing")]
    Missing {
        /// The tile.
        coord: TileCoord,
    },
}

fn checked_inclusion(index: u64, size: u64) -> Result<Vec<Span>, ProveError> {
    if index < size { Ok(inclusion_spans(index, size)) } else { Err(ProveError::Index { index, size }) }
}

fn checked_consistency(from: u64, to: u64) -> Result<Vec<Span>, ProveError> {
    match from {
        0 => Ok(Vec::new()),
        _ if from <= to => Ok(consistency_spans(from, to)),
        _ => Err(ProveError::Sizes { from, to }),
    }
}

fn tiles_of(spans: &[Span], size: u64) -> Vec<TileCoord> {
    let nodes = spans.iter().flat_map(|span| span.nodes());
    // Spans lie within the log, so every node has its tile.
    let tiles: BTreeSet<TileCoord> = nodes.filter_map(|node| node.tile(size)).collect();
    tiles.into_iter().collect()
}

fn compute(spans: &[Span], size: u64, source: &impl TileSource) -> Result<Vec<Hash>, ProveError> {
    let mut reader = Reader { size, source, tiles: BTreeMap::new() };
    spans.iter().map(|span| reader.hash(*span)).collect()
}

/// Reads nodes from tiles, and asks the source for each tile once: several nodes of a proof stand in the same one.
struct Reader<'a, S> {
    size: u64,
    source: &'a S,
    tiles: BTreeMap<TileCoord, Tile>,
}

impl<S: TileSource> Reader<'_, S> {
    /// The hash of a non-empty span within the log.
    fn hash(&mut self, span: Span) -> Result<Hash, ProveError> {
        let mut nodes = Vec::new();
        for node in span.nodes() {
            let coord = node.tile(self.size).expect("spans lie within the log");
            if !self.tiles.contains_key(&coord) {
                let tile = tile::find(self.source, coord).ok_or(ProveError::Missing { coord })?;
                self.tiles.insert(coord, tile);
            }
            let (_, _, height, place) = node.place();
            let hash = self.tiles[&coord].subtree(height, place);
            nodes.push(hash.expect("`find` gives a tile of the width that the node's leaves fill"));
        }
        Ok(hash::join(nodes.into_iter()).expect("spans of proofs are not empty"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;
    use std::collections::HashMap;

    #[test]
    fn what_is_not_there_is_named() {
        let nothing: HashMap<TileCoord, Tile> = HashMap::new();
        let coord = TileCoord::new(0, 0, 3).unwrap();
        assert_eq!(prove_inclusion(3, 3, &nothing), Err(ProveError::Index { index: 3, size: 3 }));
        assert_eq!(inclusion_tiles(0, 0), Err(ProveError::Index { index: 0, size: 0 }));
        assert_eq!(prove_inclusion(0, 3, &nothing), Err(ProveError::Missing { coord }));
        assert_eq!(prove_consistency(4, 3, &nothing), Err(ProveError::Sizes { from: 4, to: 3 }));
        assert_eq!(prove_consistency(1, 3, &nothing), Err(ProveError::Missing { coord }));
        assert_eq!(prove_consistency(0, 3, &nothing), Ok(Vec::new()));
        assert_eq!(prove_consistency(3, 3, &nothing), Ok(Vec::new()));
        assert_eq!(root_from_tiles(0, &nothing), Ok(Hash::EMPTY_ROOT));
        assert_eq!(root_from_tiles(3, &nothing), Err(ProveError::Missing { coord }));
    }

    #[test]
    fn a_tile_of_another_width_does_not_do() {
        let narrow = Tile::from_hashes(&[leaf_hash(b"a"), leaf_hash(b"b")]).unwrap();
        let coord = TileCoord::new(0, 0, 3).unwrap();
        let source = HashMap::from([(coord, narrow)]);
        assert_eq!(prove_inclusion(0, 3, &source), Err(ProveError::Missing { coord }));
    }

    #[test]
    fn few_tiles_are_needed() {
        assert_eq!(root_tiles(0), []);
        let paths = |tiles: Vec<TileCoord>| tiles.into_iter().map(TileCoord::path).collect::<Vec<_>>();
        assert_eq!(paths(root_tiles(70_000)), ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
        let expected = ["tile/0/000", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17"];
        assert_eq!(paths(inclusion_tiles(5, 70_000).unwrap()), expected);
        assert_eq!(
            paths(consistency_tiles(65_536, 70_000).unwrap()),
            ["tile/0/273.p/112", "tile/1/001.p/17"]
        );
    }
}
