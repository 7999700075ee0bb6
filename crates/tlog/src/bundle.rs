//! Entry bundles (C2SP `tlog-tiles`): up to 256 neighbouring records in one file, each after its length as a
//! big-endian `u16`.

use std::fmt;

use bytes::Bytes;

use crate::tile::{CoordError, TILE_WIDTH, write_index};

/// Records in a full bundle.
pub const MAX_RECORDS: usize = TILE_WIDTH as usize;

/// The longest record: what the `u16` before it can say.
pub const MAX_RECORD_BYTES: usize = u16::MAX as usize;

const LENGTH_BYTES: usize = 2;

/// Which bundle, and how many records of it there are. Bundle `n` holds the records whose leaf hashes stand in tile
/// `n` of level 0.
///
/// Displayed as its path, for example `tile/entries/x001/234.p/5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleCoord {
    index: u64,
    width: u16,
}

impl BundleCoord {
    /// The bundle `index` with this many records (1 to 256; 256 is a full bundle).
    pub fn new(index: u64, width: u16) -> Result<Self, CoordError> {
        if width == 0 || width > TILE_WIDTH {
            Err(CoordError::Width { width })
        } else {
            Ok(Self { index, width })
        }
    }

    /// The bundle `index` as it stands in a log of `size` records. `None` where the log has nothing there yet.
    pub fn in_log(index: u64, size: u64) -> Option<Self> {
        let start = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = size.checked_sub(start)?.min(u64::from(TILE_WIDTH)) as u16;
        (width > 0).then_some(Self { index, width })
    }

    /// The index.
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many records the bundle holds, 1 to 256.
    pub fn width(self) -> u16 {
        self.width
    }

    /// Whether the bundle holds all 256 records.
    pub fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The path below the log's prefix, without a leading slash.
    pub fn path(self) -> String {
        self.to_string()
    }
}

/// Puts 1 to 256 records into the bytes of a bundle.
pub fn encode<R: AsRef<[u8]>>(records: &[R]) -> Result<Vec<u8>, EncodeBundleError> {
    if records.is_empty() || records.len() > MAX_RECORDS {
        return Err(EncodeBundleError::Records { count: records.len() });
    }
    let total = records.iter().map(|record| LENGTH_BYTES + record.as_ref().len()).sum();
    let mut bytes = Vec::with_capacity(total);
    for (position, record) in records.iter().enumerate() {
        let record = record.as_ref();
        let length = u16::try_from(record.len())
            .map_err(|_| EncodeBundleError::RecordTooLong { position, bytes: record.len() })?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(record);
    }
    Ok(bytes)
}

/// Takes a bundle of 1 to 256 records apart. The records share the bundle's bytes.
pub fn parse(bytes: &Bytes) -> Result<Vec<Bytes>, ParseBundleError> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if records.len() == MAX_RECORDS {
            return Err(ParseBundleError::TooManyRecords { at });
        }
        let position = records.len();
        let start = at + LENGTH_BYTES;
        let prefix = bytes.get(at..start).ok_or(ParseBundleError::TruncatedLength { position, at })?;
        let length = usize::from(u16::from_be_bytes([prefix[0], prefix[1]]));
        let end = start + length;
        if end > bytes.len() {
            let found = bytes.len() - start;
            return Err(ParseBundleError::TruncatedRecord { position, at, expected: length, found });
        }
        records.push(bytes.slice(start..end));
        at = end;
    }
    if records.is_empty() { Err(ParseBundleError::Empty) } else { Ok(records) }
}

/// As [`parse`], for a bundle that must hold exactly as many records as its coordinates say.
pub fn parse_exact(coord: BundleCoord, bytes: &Bytes) -> Result<Vec<Bytes>, ParseBundleError> {
    let records = parse(bytes)?;
    if records.len() == usize::from(coord.width) {
        Ok(records)
    } else {
        Err(ParseBundleError::Records { coord, found: records.len() })
    }
}

/// Why records make no bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeBundleError {
    /// A bundle holds 1 to 256 records.
    #[error("a bundle holds 1 to {MAX_RECORDS} records, not {count}")]
    Records {
        /// How many there were.
        count: usize,
    },
    /// A record has at most 65,535 bytes.
    #[error("record {position} of the bundle has {bytes} bytes, more than {MAX_RECORD_BYTES}")]
    RecordTooLong {
        /// Its place in the bundle.
        position: usize,
        /// Its length.
        bytes: usize,
    },
}

/// Why some bytes are no bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseBundleError {
    /// An empty bundle is never written.
    #[error("the bundle is empty")]
    Empty,
    /// More follows after 256 records.
    #[error("the bundle goes on after {MAX_RECORDS} records, at byte {at}")]
    TooManyRecords {
        /// Where the surplus begins.
        at: usize,
    },
    /// The file ends within a length.
    #[error("the bundle ends within the length of record {position}, at byte {at}")]
    TruncatedLength {
        /// The record's place in the bundle.
        position: usize,
        /// Where the length begins.
        at: usize,
    },
    /// The file ends within a record.
    #[error("the bundle ends within record {position}, at byte {at}: {found} of {expected} bytes are there")]
    TruncatedRecord {
        /// The record's place in the bundle.
        position: usize,
        /// Where its length begins.
        at: usize,
        /// The bytes that the length promises.
        expected: usize,
        /// The bytes that are there.
        found: usize,
    },
    /// The bundle holds another number of records than its name says.
    #[error("{coord} holds {found} records")]
    Records {
        /// The bundle.
        coord: BundleCoord,
        /// How many records there are.
        found: usize,
    },
}

impl fmt::Display for BundleCoord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_index(f, self.index, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_length_and_record() {
        let bytes = encode(&[b"abc".as_slice(), b""]).unwrap();
        assert_eq!(bytes, b"\x00\x03abc\x00\x00");
        assert_eq!(parse(&Bytes::from(bytes)).unwrap(), [Bytes::from_static(b"abc"), Bytes::new()]);
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        let check = |index, size, path| assert_eq!(BundleCoord::in_log(index, size).unwrap().path(), path);
        check(0, 1, "tile/entries/000.p/1");
        check(1234, 1235 * 256, "tile/entries/x001/234");
    }

    #[test]
    fn bounds_hold() {
        assert_eq!(encode::<&[u8]>(&[]), Err(EncodeBundleError::Records { count: 0 }));
        assert_eq!(encode(&[[0_u8]; 256]).map(|bytes| bytes.len()), Ok(768));
        assert_eq!(encode(&[[0_u8]; 257]), Err(EncodeBundleError::Records { count: 257 }));
        assert!(encode(&[vec![0; MAX_RECORD_BYTES]]).is_ok());
        let long = encode(&[vec![], vec![0; MAX_RECORD_BYTES + 1]]);
        assert_eq!(long, Err(EncodeBundleError::RecordTooLong { position: 1, bytes: 65_536 }));
    }

    #[test]
    fn bad_bundles_are_refused_with_the_place() {
        let check = |bytes: &[u8], expected| assert_eq!(parse(&Bytes::copy_from_slice(bytes)), Err(expected));
        check(b"", ParseBundleError::Empty);
        check(b"\x00", ParseBundleError::TruncatedLength { position: 0, at: 0 });
        check(b"\x00\x01a\x00", ParseBundleError::TruncatedLength { position: 1, at: 3 });
        let expected = ParseBundleError::TruncatedRecord { position: 1, at: 3, expected: 3, found: 2 };
        check(b"\x00\x01a\x00\x03bc", expected);
        check(&[0; 514], ParseBundleError::TooManyRecords { at: 512 });
        let coord = BundleCoord::new(0, 2).unwrap();
        assert_eq!(
            parse_exact(coord, &Bytes::from_static(b"\x00\x01a")),
            Err(ParseBundleError::Records { coord, found: 1 })
        );
    }

    #[test]
    fn a_log_has_the_bundles_of_its_size() {
        assert_eq!(BundleCoord::in_log(0, 0), None);
        assert_eq!(BundleCoord::in_log(1, 256), None);
        assert_eq!(BundleCoord::in_log(1, 300), BundleCoord::new(1, 44).ok());
        assert_eq!(BundleCoord::in_log(0, 300), BundleCoord::new(0, 256).ok());
        let (full, partial) = (BundleCoord::in_log(2, 1000).unwrap(), BundleCoord::in_log(3, 1000).unwrap());
        assert_eq!((full.index(), full.width(), full.is_full()), (2, 256, true));
        assert_eq!((partial.index(), partial.width(), partial.is_full()), (3, 232, false));
        assert_eq!(BundleCoord::in_log(u64::MAX, u64::MAX), None);
        assert_eq!(BundleCoord::new(0, 0), Err(CoordError::Width { width: 0 }));
        assert_eq!(BundleCoord::new(0, 257), Err(CoordError::Width { width: 257 }));
    }

    proptest! {
        #[test]
        fn bundles_round_trip(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..=256)) {
            let bytes = Bytes::from(encode(&records).unwrap());
            prop_assert_eq!(parse(&bytes).unwrap(), records);
        }

        #[test]
        fn what_parses_is_canonical(bytes in prop::collection::vec(prop_oneof![Just(0_u8), 0..4_u8], 0..600)) {
            let bytes = Bytes::from(bytes);
            if let Ok(records) = parse(&bytes) {
                prop_assert_eq!(encode(&records).unwrap(), bytes);
            }
        }
    }
}
