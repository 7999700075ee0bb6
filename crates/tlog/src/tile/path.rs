use std::{fmt, str::FromStr};

use super::{TILE_WIDTH, TileCoord};
use crate::{bundle::BundleCoord, text};

/// Where the newest published checkpoint stands, below the log's prefix.
pub const CHECKPOINT_PATH: &str = "checkpoint";

/// The longest canonical path: `tile/entries/`, seven groups of an index (2^64 has 20 digits) with six `x` and six
/// slashes between them, and `.p/255`.
pub const MAX_PATH_BYTES: usize = "tile/entries/".len() + 7 * 3 + 2 * 6 + ".p/255".len();

/// One of the files that a log consists of. Parses from, and is displayed as, the path below the log's prefix, without
/// a leading slash. Only the canonical path of a file parses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogPath {
    /// `checkpoint`: the newest published checkpoint. The only file that changes.
    Checkpoint,
    /// `tile/<L>/<N>[.p/<W>]`: a hash tile.
    Tile(TileCoord),
    /// `tile/entries/<N>[.p/<W>]`: an entry bundle.
    Bundle(BundleCoord),
}

impl LogPath {
    /// Parses a path below the log's prefix, without a leading slash.
    pub fn parse(path: &str) -> Result<Self, ParsePathError> {
        if path.len() > MAX_PATH_BYTES {
            return Err(ParsePathError::TooLong { bytes: path.len() });
        }
        if path == CHECKPOINT_PATH {
            return Ok(Self::Checkpoint);
        }
        let (kind, rest) = path
            .strip_prefix("tile/")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(|| ParsePathError::Unknown { path: path.to_owned() })?;
        let (index, width) = parse_index(rest)?;
        if kind == "entries" {
            // `parse_index` gives widths of 1 to 256.
            return BundleCoord::new(index, width)
                .map(Self::Bundle)
                .map_err(|_| ParsePathError::Width { found: rest.to_owned() });
        }
        text::decimal(kind)
            .and_then(|level| u8::try_from(level).ok())
            .and_then(|level| TileCoord::new(level, index, width).ok())
            .map(Self::Tile)
            .ok_or_else(|| ParsePathError::Level { found: kind.to_owned() })
    }
}

/// Parses `<N>[.p/<W>]`.
fn parse_index(text: &str) -> Result<(u64, u16), ParsePathError> {
    let (index, width) = match text.split_once(".p/") {
        None => (text, TILE_WIDTH),
        Some((index, width)) => {
            let parsed = text::decimal(width).filter(|width| (1..u64::from(TILE_WIDTH)).contains(width));
            let width = parsed.ok_or_else(|| ParsePathError::Width { found: width.to_owned() })?;
            // Below TILE_WIDTH, so it fits.
            (index, width as u16)
        }
    };
    let parsed = parse_groups(index).ok_or_else(|| ParsePathError::Index { found: index.to_owned() })?;
    Ok((parsed, width))
}

/// Parses `x001/x234/067`: groups of three digits, `x` before all but the last, and no leading group of zeros.
fn parse_groups(text: &str) -> Option<u64> {
    let (leading, last) = match text.rsplit_once('/') {
        None => (None, text),
        Some((leading, last)) => (Some(leading), last),
    };
    let mut index = 0_u64;
    for (position, group) in leading.into_iter().flat_map(|leading| leading.split('/')).enumerate() {
        let value = parse_group(group.strip_prefix('x')?)?;
        if position == 0 && value == 0 {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(value)?;
    }
    index.checked_mul(1000)?.checked_add(parse_group(last)?)
}

fn parse_group(text: &str) -> Option<u64> {
    if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Writes `<N>[.p/<W>]`.
pub(crate) fn write_index(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let mut groups = vec![index % 1000];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(rest % 1000);
        rest /= 1000;
    }
    for group in groups[1..].iter().rev() {
        write!(f, "x{group:03}/")?;
    }
    write!(f, "{:03}", groups[0])?;
    if width < TILE_WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
}

/// Why a path names no file of a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePathError {
    /// No file of a log has so long a path.
    #[error("a path of {bytes} bytes names no file of a log, whose paths have at most {MAX_PATH_BYTES}")]
    TooLong {
        /// The length.
        bytes: usize,
    },
    /// Neither `checkpoint` nor below `tile/`.
    #[error("{path:?} names no file of a log")]
    Unknown {
        /// The path.
        path: String,
    },
    /// A level is a decimal from 0 to 63, without leading zeros.
    #[error("{found:?} is no tile level")]
    Level {
        /// What stood there.
        found: String,
    },
    /// An index is written in groups of three digits, such as `x001/x234/067`.
    #[error("{found:?} is no tile index")]
    Index {
        /// What stood there.
        found: String,
    },
    /// A partial width is a decimal from 1 to 255, without leading zeros.
    #[error("{found:?} is no partial width")]
    Width {
        /// What stood there.
        found: String,
    },
}

impl FromStr for LogPath {
    type Err = ParsePathError;

    fn from_str(path: &str) -> Result<Self, ParsePathError> {
        Self::parse(path)
    }
}

impl fmt::Display for LogPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => f.write_str(CHECKPOINT_PATH),
            Self::Tile(coord) => coord.fmt(f),
            Self::Bundle(coord) => coord.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_round_trip() {
        let check = |path: &str, expected: LogPath| {
            assert_eq!(LogPath::parse(path), Ok(expected), "{path}");
            assert_eq!(expected.to_string(), path);
        };
        let tile = |level, index, width| LogPath::Tile(TileCoord::new(level, index, width).unwrap());
        let bundle = |index, width| LogPath::Bundle(BundleCoord::new(index, width).unwrap());
        check("checkpoint", LogPath::Checkpoint);
        check("tile/0/x001/x234/067", tile(0, 1_234_067, 256));
        check("tile/0/x001/x234/067.p/8", tile(0, 1_234_067, 8));
        check("tile/63/000", tile(63, 0, 256));
        check("tile/1/255.p/255", tile(1, 255, 255));
        check("tile/2/x001/000", tile(2, 1000, 256));
        check("tile/2/999", tile(2, 999, 256));
        check("tile/entries/000.p/1", bundle(0, 1));
        check("tile/entries/x018/x446/x744/x073/x709/x551/615.p/255", bundle(u64::MAX, 255));
        assert_eq!("tile/entries/x018/x446/x744/x073/x709/x551/615.p/255".len(), MAX_PATH_BYTES);
    }

    #[test]
    fn other_paths_are_refused_and_the_error_names_the_part() {
        let check = |path: &str, part: fn(&ParsePathError) -> bool| {
            let error = LogPath::parse(path).unwrap_err();
            assert!(part(&error), "{path}: {error:?}");
        };
        for path in
            ["", "/checkpoint", "checkpoint/", "tile", "tile/", "tile/0", "tiles/0/000", "/tile/0/000"]
        {
            check(path, |e| matches!(e, ParsePathError::Unknown { .. }));
        }
        for path in
            ["tile/64/000", "tile/00/000", "tile/-1/000", "tile//000", "tile/256/000", "tile/data/000"]
        {
            check(path, |e| matches!(e, ParsePathError::Level { .. }));
        }
        for path in [
            "tile/0/",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000",
            "tile/0/x000/001",
            "tile/0/x001/x000/x000",
            "tile/0/001/000",
            "tile/0/x01/000",
            "tile/0/x001//000",
            "tile/0/+01",
            "tile/0/../000",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/entries/x999/x999/x999/x999/x999/x999/999",
            "tile/0/١",
        ] {
            check(path, |e| matches!(e, ParsePathError::Index { .. }));
        }
        for path in
            ["tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000.p/1.p/1"]
        {
            check(path, |e| matches!(e, ParsePathError::Width { .. }));
        }
        check(&"x".repeat(MAX_PATH_BYTES + 1), |e| matches!(e, ParsePathError::TooLong { .. }));
    }
}
