//! Entry bundles, as far as they can be read: damage to one record must not hide the others.

use bytes::Bytes;
use countersign_tlog::{
    BundleCoord, Hash, LogPath,
    bundle::{self, ParseBundleError},
    tile::TILE_WIDTH,
};

use super::{
    report::{Findings, Problem},
    source::{LogSource, SourceError},
    tree::LeafHasher,
};

/// Records in a full bundle.
const BLOCK: u64 = TILE_WIDTH as u64;

/// The bytes before a record that say its length.
const LENGTH_BYTES: usize = 2;

/// What stands in one bundle.
pub(super) struct Bundled {
    pub(super) path: String,
    pub(super) records: Vec<Bytes>,
    pub(super) hashes: Vec<Hash>,
}

impl Bundled {
    /// The bundle of a block as it stands in a log of `size` records; reports what is missing or damaged.
    pub(super) fn read(
        source: &mut dyn LogSource,
        block: u64,
        size: u64,
        hasher: &mut LeafHasher,
        findings: &mut Findings,
    ) -> Result<Self, SourceError> {
        let coord = BundleCoord::in_log(block, size).expect("the block lies below the size");
        let (start, width) = (block * BLOCK, usize::from(coord.width()));
        let mut stands = coord;
        let mut bytes = source.read(LogPath::Bundle(coord))?;
        if bytes.is_none() && !coord.is_full() {
            // A partial bundle may go once the full one stands.
            stands = full(block);
            bytes = source.read(LogPath::Bundle(stands))?;
        }
        let path = stands.to_string();
        let Some(bytes) = bytes else {
            findings.add(start, Problem::Missing { path: coord.to_string() });
            return Ok(Self { path, records: Vec::new(), hashes: Vec::new() });
        };
        let (mut records, error) = take_apart(stands, &bytes);
        // Of a full bundle that stands for a partial one, the rest is of no concern here.
        let whole = records.len() >= width && (stands != coord || error.is_none());
        if let Some(error) = error.filter(|_| !whole) {
            let index = start + records.len().min(width - 1) as u64;
            findings.add(index, Problem::Bundle { path: path.clone(), error });
        }
        records.truncate(width);
        let leaves = records.iter().map(|record| hasher.hash(record)).collect();
        Ok(Self { path, records, hashes: leaves })
    }
}

/// Compares the partial bundles from before this one was full with what the log holds.
pub(super) fn compare_older(
    source: &mut dyn LogSource,
    block: u64,
    logged: &[Hash],
    hasher: &mut LeafHasher,
    findings: &mut Findings,
) -> Result<(), SourceError> {
    for width in source.partial_widths(LogPath::Bundle(full(block)))? {
        // What is wider was written for a size that is not published.
        let Some(logged) = logged.get(..usize::from(width)).filter(|shown| shown.len() < logged.len()) else {
            continue;
        };
        let Ok(coord) = BundleCoord::new(block, width) else { continue };
        let Some(bytes) = source.read(LogPath::Bundle(coord))? else { continue };
        let (records, error) = take_apart(coord, &bytes);
        let same =
            records.iter().zip(logged).take_while(|(record, logged)| hasher.hash(record) == **logged).count();
        let index = block * BLOCK + same.min(logged.len() - 1) as u64;
        let path = coord.to_string();
        match error {
            Some(error) => findings.add(index, Problem::Bundle { path, error }),
            None if same < logged.len() => findings.add(index, Problem::Altered { path }),
            None => {}
        }
    }
    Ok(())
}

fn full(block: u64) -> BundleCoord {
    BundleCoord::new(block, TILE_WIDTH).expect("256 is a full bundle's width")
}

/// As many records as can be read, and what is wrong with the bundle.
fn take_apart(coord: BundleCoord, bytes: &Bytes) -> (Vec<Bytes>, Option<ParseBundleError>) {
    match bundle::parse(bytes) {
        Ok(records) => {
            let found = records.len();
            let wrong = found != usize::from(coord.width());
            (records, wrong.then_some(ParseBundleError::Records { coord, found }))
        }
        Err(error) => {
            let mut records = Vec::new();
            let mut rest = bytes.clone();
            while rest.len() >= LENGTH_BYTES && records.len() < usize::from(TILE_WIDTH) {
                let end = LENGTH_BYTES + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                if rest.len() < end {
                    break;
                }
                records.push(rest.slice(LENGTH_BYTES..end));
                rest = rest.slice(end..);
            }
            (records, Some(error))
        }
    }
}
