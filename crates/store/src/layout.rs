//! The C2SP layout of the log, as far as an engine owns it: paths, and the shape of bundles.

use std::fmt;
use std::num::NonZeroU8;

use bytes::Bytes;

use crate::batch::MAX_RECORD_BYTES;

/// Leaves in a full bundle, and hashes in a full tile.
pub const WIDTH: u64 = 256;

/// The highest level of a tile: C2SP allows 0 to 63.
const MAX_LEVEL: u8 = 63;

/// A file of the log. Only what C2SP allows has a value, so that no text from outside reaches a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogPath {
    /// `checkpoint`
    Checkpoint,
    /// `tile/<level>/<number>[.p/<width>]`
    Tile {
        /// 0 to 63.
        level: u8,
        /// The tile's place in its level.
        number: u64,
        /// The width of a partial tile.
        partial: Option<NonZeroU8>,
    },
    /// `tile/entries/<number>[.p/<width>]`
    Entries {
        /// The bundle's place.
        number: u64,
        /// The width of a partial bundle.
        partial: Option<NonZeroU8>,
    },
}

impl LogPath {
    /// Reads a path as C2SP writes it, and in no other way of writing it.
    pub fn parse(path: &str) -> Option<LogPath> {
        let parsed = Self::parse_loosely(path)?;
        (parsed.to_string() == path).then_some(parsed)
    }

    /// The path of the partial bundle that a log of `size` leaves ends in, unless it ends in a full one.
    pub fn last_partial(size: u64) -> Option<LogPath> {
        let width = NonZeroU8::new((size % WIDTH) as u8)?; // below 256
        Some(LogPath::Entries { number: size / WIDTH, partial: Some(width) })
    }

    /// The full tile or bundle at the same place.
    pub fn full(self) -> LogPath {
        match self {
            LogPath::Checkpoint => LogPath::Checkpoint,
            LogPath::Tile { level, number, .. } => LogPath::Tile { level, number, partial: None },
            LogPath::Entries { number, .. } => LogPath::Entries { number, partial: None },
        }
    }

    /// Whether this is a full tile or bundle.
    pub fn is_full(self) -> bool {
        matches!(self, LogPath::Tile { partial: None, .. } | LogPath::Entries { partial: None, .. })
    }

    fn parse_loosely(path: &str) -> Option<LogPath> {
        if path == "checkpoint" {
            return Some(LogPath::Checkpoint);
        }
        let (level, place) = path.strip_prefix("tile/")?.split_once('/')?;
        let (groups, partial) = match place.split_once(".p/") {
            Some((groups, width)) => (groups, Some(width.parse().ok()?)),
            None => (place, None),
        };
        let mut number = 0_u64;
        for group in groups.split('/') {
            let group: u64 = group.trim_start_matches('x').parse().ok()?;
            number = number.checked_mul(1_000)?.checked_add(group)?;
        }
        if level == "entries" {
            return Some(LogPath::Entries { number, partial });
        }
        let level: u8 = level.parse().ok()?;
        (level <= MAX_LEVEL).then_some(LogPath::Tile { level, number, partial })
    }
}

impl fmt::Display for LogPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, partial) = match *self {
            LogPath::Checkpoint => return f.write_str("checkpoint"),
            LogPath::Tile { level, number, partial } => {
                write!(f, "tile/{level}/")?;
                (number, partial)
            }
            LogPath::Entries { number, partial } => {
                f.write_str("tile/entries/")?;
                (number, partial)
            }
        };
        write_number(f, number)?;
        match partial {
            Some(width) => write!(f, ".p/{width}"),
            None => Ok(()),
        }
    }
}

/// Groups of three digits, every group but the last after an `x`: 1234067 is `x001/x234/067`.
fn write_number(f: &mut fmt::Formatter<'_>, number: u64) -> fmt::Result {
    let mut groups = vec![number % 1_000];
    let mut rest = number / 1_000;
    while rest > 0 {
        groups.push(rest % 1_000);
        rest /= 1_000;
    }
    for group in groups.iter().skip(1).rev() {
        write!(f, "x{group:03}/")?;
    }
    write!(f, "{:03}", groups[0])
}

/// The bytes of a bundle: for each record its length as a big-endian `u16`, then the record.
///
/// # Panics
///
/// If a record is over [`MAX_RECORD_BYTES`], which [`Batch::check`](crate::Batch::check) has refused long before.
pub fn bundle<'a>(records: impl IntoIterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut bundle = Vec::new();
    push_records(&mut bundle, records);
    bundle
}

/// Appends records to a bundle, as [`bundle`] writes them.
pub fn push_records<'a>(bundle: &mut Vec<u8>, records: impl IntoIterator<Item = &'a Bytes>) {
    for record in records {
        assert!(record.len() <= MAX_RECORD_BYTES, "a batch is checked before its records reach a bundle");
        bundle.extend_from_slice(&(record.len() as u16).to_be_bytes()); // just asserted
        bundle.extend_from_slice(record);
    }
}

/// The records of a bundle, or `None` if a length points beyond its end.
pub fn split_bundle(bundle: &Bytes) -> Option<Vec<Bytes>> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bundle.len() {
        let length: [u8; 2] = bundle.get(at..at + 2)?.try_into().ok()?;
        let end = at + 2 + usize::from(u16::from_be_bytes(length));
        if end > bundle.len() {
            return None;
        }
        records.push(bundle.slice(at + 2..end));
        at = end;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Option<LogPath>) {
        assert_eq!(LogPath::parse(path), expected, "{path}");
        if let Some(parsed) = expected {
            assert_eq!(parsed.to_string(), path);
        }
    }

    #[test]
    fn paths_are_read_as_they_are_written() {
        let entries = |number, width: Option<u8>| {
            Some(LogPath::Entries { number, partial: width.map(|w| NonZeroU8::new(w).unwrap()) })
        };
        let tile = |level, number| Some(LogPath::Tile { level, number, partial: None });
        check("checkpoint", Some(LogPath::Checkpoint));
        check("tile/entries/000.p/5", entries(0, Some(5)));
        check("tile/entries/000.p/255", entries(0, Some(255)));
        check("tile/entries/999", entries(999, None));
        check("tile/entries/x001/000", entries(1_000, None));
        check("tile/entries/x001/x234/067", entries(1_234_067, None));
        check("tile/0/000", tile(0, 0));
        check("tile/63/x018/x446/x744/x073/x709/x551/615", tile(63, u64::MAX));
        check("tile/63/x018/x446/x744/x073/x709/x551/616", None);
    }

    #[test]
    fn nothing_else_is_a_path() {
        for path in [
            "",
            "/",
            "check",
            "/checkpoint",
            "checkpoint/",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/0/00",
            "tile/0/0000",
            "tile/0/x000/000",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/05",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/../../MANIFEST",
            "tile/entries/..",
            "tile/entries/000/..",
            "tile/0/+01",
            "tile/0/xx01/000",
            "tile/0/000.p/1.p/1",
            "tile/entries/000 ",
            "tile/entries/\u{661}\u{661}\u{661}",
        ] {
            check(path, None);
        }
    }

    #[test]
    fn a_bundle_splits_into_its_records_and_no_damaged_one_does() {
        let records = [Bytes::from_static(b"one"), Bytes::new(), vec![7; MAX_RECORD_BYTES].into()];
        let bytes = Bytes::from(bundle(&records));
        assert_eq!(&bytes[..7], b"\x00\x03one\x00\x00");
        assert_eq!(split_bundle(&bytes), Some(records.to_vec()));
        assert_eq!(split_bundle(&bytes.slice(..bytes.len() - 1)), None);
        assert_eq!(split_bundle(&bytes.slice(..1)), None);
        assert_eq!(split_bundle(&Bytes::new()), Some(Vec::new()));
    }

    #[test]
    fn a_log_ends_in_a_partial_bundle_unless_it_is_full() {
        let path = |size| LogPath::last_partial(size).map(|path| path.to_string());
        assert_eq!(path(0), None);
        assert_eq!(path(5).as_deref(), Some("tile/entries/000.p/5"));
        assert_eq!(path(256), None);
        assert_eq!(path(256_001).as_deref(), Some("tile/entries/x001/000.p/1"));
    }
}
