//! The offline checker: a whole log, from its bundles up to its signed root, in memory that grows with the grants alone.
//!
//! Every record is hashed and compared with the tiles, so that damage is reported with the record that it hits; every
//! tile is recomputed from the records; the root of them all must be the one that the log signed. Then the records are
//! held against each other: times, numbers, approvals, stops.

use std::collections::BTreeMap;

use bytes::Bytes;
use countersign_tlog::{
    BundleCoord, Hash, LogPath, SignedCheckpoint, Tile, TileCoord, VerifierKey, hash::HASH_BYTES,
    tile::TILE_WIDTH,
};

use super::{
    bundled::{self, Bundled},
    leaf,
    report::{Findings, Problem, Report},
    rules::Rules,
    source::{LogSource, SourceError},
    tree::{LeafHasher, Rows, subtree},
};

/// How many bundles ahead a source is told what will be read: enough to hide a round trip around the world behind the
/// hashing of what is here, at some 80 KiB each.
const AHEAD: u64 = 16;

/// Leaves under one hash of level 1.
const BLOCK: u64 = TILE_WIDTH as u64;

/// How far a check has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Records checked.
    pub records: u64,
    /// Records in all.
    pub size: u64,
    /// Findings so far.
    pub findings: u64,
}

/// Checks a log: every tile from the bundles, the root from the tiles, the checkpoint's signature, that the log
/// continues each of the `older` checkpoints, and what the records say.
///
/// Blocks, and keeps one core busy. `progress` is called once in 256 records. An error means that the log can't be
/// read; what is wrong with it stands in the report.
pub fn verify(
    source: &mut dyn LogSource,
    log: &VerifierKey,
    older: &[Bytes],
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, SourceError> {
    let mut findings = Findings::default();
    let Some(checkpoint) = head(source, log, &mut findings)? else {
        return Ok(report(None, 0, &Rules::new(0), Vec::new(), findings));
    };
    let older = older_heads(older, log, checkpoint.size(), &mut findings);
    let mut check = Check {
        source,
        size: checkpoint.size(),
        root: *checkpoint.root(),
        findings,
        rules: Rules::new(checkpoint.size()),
        rows: Rows::default(),
        hasher: LeafHasher::default(),
        parents: None,
        older,
        continues: Vec::new(),
    };
    check.compare_older();
    let blocks = check.size.div_ceil(BLOCK);
    for block in 0..blocks {
        check.announce(block);
        check.block(block)?;
        let records = check.rows.size();
        progress(Progress { records, size: check.size, findings: check.findings.count() });
    }
    check.finish()?;
    let Check { findings, rules, continues, rows, .. } = check;
    Ok(report(Some(checkpoint), rows.size(), &rules, continues, findings))
}

fn report(
    checkpoint: Option<SignedCheckpoint>,
    records: u64,
    rules: &Rules,
    continues: Vec<u64>,
    findings: Findings,
) -> Report {
    let (first_time, last_time) = rules.times();
    Report {
        checkpoint,
        records,
        grants: rules.grants(),
        overdue_erasures: rules.overdue(),
        abandoned: rules.abandoned(),
        kinds: rules.kinds(),
        first_time,
        last_time,
        continues,
        finding_count: findings.count(),
        findings: findings.into_sorted(),
    }
}

/// The log's head, if it is the log's. It vouches for every record, so damage to it hits the first.
fn head(
    source: &mut dyn LogSource,
    log: &VerifierKey,
    findings: &mut Findings,
) -> Result<Option<SignedCheckpoint>, SourceError> {
    let Some(bytes) = source.read(LogPath::Checkpoint)? else {
        findings.add(0, Problem::Missing { path: LogPath::Checkpoint.to_string() });
        return Ok(None);
    };
    match SignedCheckpoint::verify(bytes, log) {
        Ok(checkpoint) => Ok(Some(checkpoint)),
        Err(error) => {
            findings.add(0, Problem::Checkpoint { detail: error.to_string() });
            Ok(None)
        }
    }
}

/// The older heads that have to come by, by their size.
fn older_heads(
    older: &[Bytes],
    log: &VerifierKey,
    size: u64,
    findings: &mut Findings,
) -> BTreeMap<u64, Vec<Hash>> {
    let mut heads: BTreeMap<u64, Vec<Hash>> = BTreeMap::new();
    for bytes in older {
        match SignedCheckpoint::verify(bytes.clone(), log) {
            Ok(older) if older.size() > size => {
                let detail = "the log is shorter now";
                findings.add(size, Problem::Inconsistent { size: older.size(), detail });
            }
            Ok(older) => heads.entry(older.size()).or_default().push(*older.root()),
            Err(error) => findings.add(0, Problem::Checkpoint { detail: format!("the older one: {error}") }),
        }
    }
    heads
}

struct Check<'a> {
    source: &'a mut dyn LogSource,
    size: u64,
    root: Hash,
    findings: Findings,
    rules: Rules,
    rows: Rows,
    hasher: LeafHasher,
    /// The tile of level 1 over the current blocks, by its index.
    parents: Option<(u64, Option<Tile>)>,
    older: BTreeMap<u64, Vec<Hash>>,
    continues: Vec<u64>,
}

impl Check<'_> {
    fn announce(&mut self, block: u64) {
        let files = |block: u64| {
            let bundle = BundleCoord::in_log(block, self.size).map(LogPath::Bundle);
            let tile = TileCoord::in_log(0, block, self.size).map(LogPath::Tile);
            bundle.into_iter().chain(tile)
        };
        let coming: Vec<LogPath> = match block {
            0 => (0..AHEAD).flat_map(files).collect(),
            _ => files(block + AHEAD - 1).collect(),
        };
        self.source.expect(&coming);
    }

    /// Up to 256 records: their bundle, their tile of level 0, what they say, and the tiles that they complete.
    fn block(&mut self, block: u64) -> Result<(), SourceError> {
        let start = block * BLOCK;
        let width = usize::try_from((self.size - start).min(BLOCK)).expect("at most 256");
        let bundled = Bundled::read(self.source, block, self.size, &mut self.hasher, &mut self.findings)?;
        let tile = self.tile(TileCoord::in_log(0, block, self.size))?;
        let trusted = self.trust(block, width, &bundled, tile.as_ref())?;
        // `None` for what was named already: altered, or missing.
        let read = |(at, hash): (usize, &Hash)| {
            let good = bundled.records.get(at).filter(|_| bundled.hashes.get(at) == Some(hash));
            good.map(|record| leaf::read(record))
        };
        let leaves: Vec<_> = trusted.iter().enumerate().map(read).collect();
        self.rules.foresee(leaves.iter().flatten().flatten());
        for (at, leaf) in leaves.iter().enumerate() {
            let index = start + at as u64;
            match leaf {
                Some(Ok(leaf)) => self.rules.take(index, leaf, &mut self.findings),
                Some(Err(error)) => {
                    self.findings.add(index, Problem::NotARecord(*error));
                    self.rules.skip();
                }
                None => self.rules.skip(),
            }
        }
        self.compare_older_within(&trusted);
        for (coord, computed) in self.rows.append(&trusted) {
            let found = self.tile(Some(coord))?;
            self.compare_tile(coord, &computed, found.as_ref());
            self.compare_partials(coord, &computed)?;
        }
        self.compare_older();
        if let (Some(coord), Some(computed)) =
            (TileCoord::in_log(0, block, self.size), Tile::from_hashes(&trusted))
        {
            self.compare_partials(coord, &computed)?;
        }
        bundled::compare_older(self.source, block, &trusted, &mut self.hasher, &mut self.findings)
    }

    /// The hashes that count as the log's own: those of the tile where only a record was altered, those of the records
    /// where only the tile was. What differs is reported.
    fn trust(
        &mut self,
        block: u64,
        width: usize,
        bundled: &Bundled,
        tile: Option<&Tile>,
    ) -> Result<Vec<Hash>, SourceError> {
        let start = block * BLOCK;
        let Some(tile) = tile else {
            // Both may be missing; then nothing is known of the records, and the root can't be met.
            let mut hashes = bundled.hashes.clone();
            hashes.resize(width, Hash::EMPTY_ROOT);
            return Ok(hashes);
        };
        if bundled.hashes.len() == width && bundled.hashes.iter().copied().eq(tile.hashes()) {
            return Ok(bundled.hashes.clone());
        }
        let logged: Vec<Hash> = tile.hashes().collect();
        let tile_is_wrong = bundled.hashes.len() == width && self.vouched(block, &bundled.hashes, &logged)?;
        let path = TileCoord::in_log(0, block, self.size).map_or_else(String::new, |coord| coord.to_string());
        let different =
            bundled.hashes.iter().zip(&logged).enumerate().filter(|(_, (ours, theirs))| ours != theirs);
        for (position, _) in different {
            let problem = if tile_is_wrong {
                Problem::Tile { path: path.clone(), position }
            } else {
                Problem::Altered { path: bundled.path.clone() }
            };
            self.findings.add(start + position as u64, problem);
        }
        Ok(if tile_is_wrong { bundled.hashes.clone() } else { logged })
    }

    /// Whether what stands above this block vouches for the records, and not for the tile.
    fn vouched(&mut self, block: u64, records: &[Hash], tile: &[Hash]) -> Result<bool, SourceError> {
        if let Some(parent) = self.parent(block)? {
            return Ok(subtree(records) == parent && subtree(tile) != parent);
        }
        // The last, partial block has no hash of level 1: here the signed root itself decides.
        Ok(records.len() < usize::from(TILE_WIDTH) && self.rows.root_with(records) == self.root)
    }

    /// The hash of level 1 over a full block, as the log's own tile has it.
    fn parent(&mut self, block: u64) -> Result<Option<Hash>, SourceError> {
        let index = block / BLOCK;
        if self.parents.as_ref().is_none_or(|(held, _)| *held != index) {
            let tile = match TileCoord::in_log(1, index, self.size) {
                None => None,
                Some(coord) => self.read_tile(coord)?.and_then(Result::ok),
            };
            self.parents = Some((index, tile));
        }
        let tile = self.parents.as_ref().and_then(|(_, tile)| tile.as_ref());
        let position = usize::try_from(block % BLOCK).expect("below 256");
        Ok(tile.and_then(|tile| tile.hashes().nth(position)))
    }

    /// A tile as the log has it; reports it if it is missing or of another length.
    fn tile(&mut self, coord: Option<TileCoord>) -> Result<Option<Tile>, SourceError> {
        let Some(coord) = coord else { return Ok(None) };
        let start = first_leaf(coord, 0);
        match self.read_tile(coord)? {
            Some(Ok(tile)) => Ok(Some(tile)),
            Some(Err(found)) => {
                let expected = usize::from(coord.width()) * HASH_BYTES;
                self.findings.add(start, Problem::TileLength { path: coord.to_string(), expected, found });
                Ok(None)
            }
            None => {
                self.findings.add(start, Problem::Missing { path: coord.to_string() });
                Ok(None)
            }
        }
    }

    fn read_tile(&mut self, coord: TileCoord) -> Result<Option<Result<Tile, usize>>, SourceError> {
        let mut stands = coord;
        let mut bytes = self.source.read(LogPath::Tile(coord))?;
        if bytes.is_none() && !coord.is_full() {
            stands = coord.full();
            bytes = self.source.read(LogPath::Tile(stands))?;
        }
        let Some(bytes) = bytes else { return Ok(None) };
        let found = bytes.len();
        let tile = Tile::parse(stands, bytes).ok().and_then(|tile| tile.narrow(coord.width()));
        Ok(Some(tile.ok_or(found)))
    }

    fn compare_tile(&mut self, coord: TileCoord, computed: &Tile, found: Option<&Tile>) {
        let Some(found) = found else { return };
        if computed.as_bytes() == found.as_bytes() {
            return;
        }
        for (position, (ours, theirs)) in computed.hashes().zip(found.hashes()).enumerate() {
            if ours != theirs {
                let problem = Problem::Tile { path: coord.to_string(), position };
                self.findings.add(first_leaf(coord, position), problem);
            }
        }
    }

    /// The partial tiles from before this one was full, and those of the current size that have older ones beside them.
    fn compare_partials(&mut self, coord: TileCoord, computed: &Tile) -> Result<(), SourceError> {
        for width in self.source.partial_widths(LogPath::Tile(coord.full()))? {
            // What is wider was written for a size that is not published.
            let Some(ours) = (width < coord.width()).then(|| computed.narrow(width)).flatten() else {
                continue;
            };
            let Ok(older) = TileCoord::new(coord.level(), coord.index(), width) else { continue };
            let Some(bytes) = self.source.read(LogPath::Tile(older))? else { continue };
            match Tile::parse(older, bytes) {
                Ok(found) => self.compare_tile(older, &ours, Some(&found)),
                Err(error) => {
                    let (path, found) = (older.to_string(), error.found);
                    let problem = Problem::TileLength { path, expected: error.expected, found };
                    self.findings.add(first_leaf(older, 0), problem);
                }
            }
        }
        Ok(())
    }

    /// Compares with the older checkpoints whose sizes lie within the block that comes next.
    fn compare_older_within(&mut self, block: &[Hash]) {
        let start = self.rows.size();
        while let Some((&size, _)) = self.older.range(start..start + block.len() as u64).next() {
            let within = usize::try_from(size - start).expect("below 256");
            let root = self.rows.root_with(&block[..within]);
            self.compare_older_at(size, root);
        }
    }

    /// Compares with the older checkpoints of the current size.
    fn compare_older(&mut self) {
        if self.older.contains_key(&self.rows.size()) {
            self.compare_older_at(self.rows.size(), self.rows.root());
        }
    }

    fn compare_older_at(&mut self, size: u64, root: Hash) {
        for older in self.older.remove(&size).unwrap_or_default() {
            if older == root {
                self.continues.push(size);
            } else {
                // Which of the records below it differ, only the other copy of the log could tell.
                self.findings
                    .add(0, Problem::Inconsistent { size, detail: "records below it are others now" });
            }
        }
    }

    /// The partial tiles of the current size, and the root.
    fn finish(&mut self) -> Result<(), SourceError> {
        for (coord, computed) in self.rows.partial_tiles() {
            if coord.level() > 0 {
                let found = self.tile(Some(coord))?;
                self.compare_tile(coord, &computed, found.as_ref());
                self.compare_partials(coord, &computed)?;
            }
        }
        if self.rows.root() != self.root {
            // What is wrong below was named where it could be found; else it is not known where.
            self.findings.add(0, Problem::Root);
        }
        Ok(())
    }
}

/// The first record below a hash of a tile.
fn first_leaf(coord: TileCoord, position: usize) -> u64 {
    let hashes = coord.index() * BLOCK + position as u64;
    hashes.checked_shl(u32::from(coord.level()) * 8).unwrap_or(u64::MAX)
}
