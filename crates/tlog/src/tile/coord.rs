use std::fmt;

use super::{TILE_HEIGHT, TILE_WIDTH, write_index};

/// The highest level that a path can name (C2SP `tlog-tiles`).
const MAX_LEVEL: u8 = 63;

/// Where a tile stands in the tree, and how much of it there is.
///
/// Displayed as its path, for example `tile/1/x001/234.p/5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileCoord {
    level: u8,
    index: u64,
    width: u16,
}

impl TileCoord {
    /// The tile `index` of a level (0 to 63) with this many hashes (1 to 256; 256 is a full tile).
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, CoordError> {
        if level > MAX_LEVEL {
            Err(CoordError::Level { level })
        } else if width == 0 || width > TILE_WIDTH {
            Err(CoordError::Width { width })
        } else {
            Ok(Self { level, index, width })
        }
    }

    /// The tile `index` of a level as it stands in a log of `size` leaves: full, partial, or `None` where the log has
    /// nothing there yet.
    pub fn in_log(level: u8, index: u64, size: u64) -> Option<Self> {
        // Above level 7 no log has a complete subtree, and so nothing that a path could not name.
        let subtrees = subtrees(level, size);
        let start = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = subtrees.checked_sub(start)?.min(u64::from(TILE_WIDTH)) as u16;
        (width > 0).then_some(Self { level, index, width })
    }

    /// The partial tile at the end of a level in a log of `size` leaves: ⌊size / 256^level⌋ mod 256 hashes wide.
    /// `None` where that is zero, since an empty tile is never served.
    pub fn partial(level: u8, size: u64) -> Option<Self> {
        Self::in_log(level, subtrees(level, size) >> TILE_HEIGHT, size)
    }

    /// The level, 0 to 63. Level 0 holds leaf hashes.
    pub fn level(self) -> u8 {
        self.level
    }

    /// The index within the level.
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many hashes the tile holds, 1 to 256.
    pub fn width(self) -> u16 {
        self.width
    }

    /// Whether the tile holds all 256 hashes.
    pub fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full tile of the same level and index.
    pub fn full(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }

    /// How many leaves a log needs before this much of the tile exists. `None` beyond 2^64 − 1 leaves.
    pub fn completed_at(self) -> Option<u64> {
        let subtrees = self.index.checked_mul(u64::from(TILE_WIDTH))?.checked_add(u64::from(self.width))?;
        let leaves_each = 1_u64.checked_shl(u32::from(self.level) * TILE_HEIGHT)?;
        subtrees.checked_mul(leaves_each)
    }

    /// The path below the log's prefix, without a leading slash.
    pub fn path(self) -> String {
        self.to_string()
    }
}

/// The tiles that must be written when a log that stands published at size `from` is to be published at size `to`:
/// every full tile that the growth completes, and on every level that it touches the partial tile of the new size.
/// Empty unless the log grows.
///
/// The list has one tile for about 255 leaves of growth; a caller who rebuilds a large log takes it in steps.
pub fn tiles_for_growth(from: u64, to: u64) -> Vec<TileCoord> {
    let mut tiles = Vec::new();
    for level in 0..=MAX_LEVEL {
        let (old, new) = (subtrees(level, from), subtrees(level, to));
        if new == 0 || old >= new {
            // Levels above hold ⌊n / 256⌋ of what this level holds: they do not grow either.
            break;
        }
        let full = (old >> TILE_HEIGHT)..(new >> TILE_HEIGHT);
        tiles.extend(full.map(|index| TileCoord { level, index, width: TILE_WIDTH }));
        tiles.extend(TileCoord::partial(level, to));
    }
    tiles
}

/// How many complete subtrees of 256^level leaves a log of `size` leaves has: the hashes of that level.
pub(crate) fn subtrees(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * TILE_HEIGHT).unwrap_or(0)
}

/// Why coordinates name no tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoordError {
    /// Levels go from 0 to 63.
    #[error("a tile's level is 0 to {MAX_LEVEL}, not {level}")]
    Level {
        /// The level asked for.
        level: u8,
    },
    /// Widths go from 1 to 256.
    #[error("a tile's width is 1 to {TILE_WIDTH}, not {width}")]
    Width {
        /// The width asked for.
        width: u16,
    },
}

impl fmt::Display for TileCoord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_index(f, self.index, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(level: u8, index: u64, width: u16) -> TileCoord {
        TileCoord::new(level, index, width).unwrap()
    }

    #[test]
    fn levels_and_widths_are_bounded() {
        assert!(TileCoord::new(63, u64::MAX, 256).is_ok());
        assert_eq!(TileCoord::new(64, 0, 1), Err(CoordError::Level { level: 64 }));
        assert_eq!(TileCoord::new(0, 0, 0), Err(CoordError::Width { width: 0 }));
        assert_eq!(TileCoord::new(0, 0, 257), Err(CoordError::Width { width: 257 }));
        assert_eq!(TileCoord::in_log(64, 0, u64::MAX), None);
    }

    /// The worked examples of C2SP `tlog-tiles`, "Partial Tiles".
    #[test]
    fn a_log_of_70000_has_the_tiles_that_the_specification_lists() {
        let tiles = tiles_for_growth(0, 70_000);
        let full = |level| tiles.iter().filter(|t| t.level == level && t.is_full()).count();
        let partial: Vec<_> = tiles.iter().copied().filter(|t| !t.is_full()).collect();
        assert_eq!((full(0), full(1), full(2)), (273, 1, 0));
        assert_eq!(partial, [tile(0, 273, 112), tile(1, 1, 17), tile(2, 0, 1)]);
        assert_eq!(tiles_for_growth(0, 256), [tile(0, 0, 256), tile(1, 0, 1)]);
    }

    #[test]
    fn growth_writes_what_it_touches() {
        let check = |from, to, expected: &[TileCoord]| assert_eq!(tiles_for_growth(from, to), expected);
        check(0, 0, &[]);
        check(5, 5, &[]);
        check(6, 5, &[]);
        check(300, 301, &[tile(0, 1, 45)]);
        check(511, 512, &[tile(0, 1, 256), tile(1, 0, 2)]);
        check(65_535, 65_536, &[tile(0, 255, 256), tile(1, 0, 256), tile(2, 0, 1)]);
        assert_eq!(tiles_for_growth(u64::MAX - 1, u64::MAX), [tile(0, u64::MAX >> 8, 255)]);
    }

    #[test]
    fn a_tile_exists_from_its_completion_on() {
        for (coord, size) in [(tile(0, 0, 1), 1), (tile(0, 1, 256), 512), (tile(2, 0, 3), 3 << 16)] {
            assert_eq!(coord.completed_at(), Some(size));
            assert_eq!(TileCoord::in_log(coord.level, coord.index, size), Some(coord));
            assert_ne!(TileCoord::in_log(coord.level, coord.index, size - 1), Some(coord));
        }
        assert_eq!(tile(63, 0, 1).completed_at(), None);
        assert_eq!(tile(7, 0, 256).completed_at(), None);
        assert_eq!(tile(0, u64::MAX, 256).completed_at(), None);
    }
}
