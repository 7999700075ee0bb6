//! The files of the log and the private bundles, read as they lie in the folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use countersign_ledger::VerifierKey;
use countersign_tlog::{
    BundleCoord, LogPath, SignedCheckpoint, bundle,
    tile::{TILE_WIDTH, tiles_for_growth},
};

use super::{Finding, Tree, ensure};

/// What a private bundle begins with.
const PRIVATE_HEADER: &[u8] = b"CSGNPRIV\x01\0\0\0";

/// Checks every file there is, and that all are there which the public checkpoint rests on. Returns its size.
pub(super) fn check(
    folder: &Path,
    key: &VerifierKey,
    records: &[Bytes],
    sealed: &[Bytes],
    tree: &Tree,
) -> Result<u64, Finding> {
    let (log, private) = (folder.join("log"), folder.join("private"));
    for path in files_below(&log)? {
        let name = path.to_str().unwrap_or_default();
        let expected = match LogPath::parse(name) {
            Ok(LogPath::Checkpoint) => continue,
            Ok(LogPath::Tile(coord)) => tree.tile(coord),
            Ok(LogPath::Bundle(coord)) => encoded(records, coord),
            Err(error) => return Err(Finding(format!("log/{name} is no file of a log: {error}"))),
        };
        let expected =
            expected.ok_or_else(|| Finding(format!("log/{name} is beyond the {} records", records.len())))?;
        ensure(read(&log.join(&path))? == Some(expected), || {
            format!("log/{name} is not what the records make it")
        })?;
    }
    for path in files_below(&private)? {
        let name = path.to_str().unwrap_or_default();
        let Ok(LogPath::Bundle(coord)) = LogPath::parse(&format!("tile/{name}")) else {
            return Err(Finding(format!("private/{name} is no bundle")));
        };
        let expected = encoded(sealed, coord).map(|bytes| [PRIVATE_HEADER, &bytes].concat());
        ensure(expected.is_some() && read(&private.join(&path))? == expected, || {
            format!("private/{name} does not hold the private parts of its records")
        })?;
    }
    published(&log, key, tree)
}

/// The size of the public checkpoint, with everything that it rests on found in its place.
fn published(log: &Path, key: &VerifierKey, tree: &Tree) -> Result<u64, Finding> {
    let Some(bytes) = read(&log.join("checkpoint"))? else { return Ok(0) };
    let checkpoint = SignedCheckpoint::verify(bytes, key)
        .map_err(|error| Finding(format!("the public checkpoint doesn't verify: {error}")))?;
    let size = checkpoint.size();
    let root = tree.root_at(size);
    let root = root
        .ok_or_else(|| Finding(format!("{size} records are public, and only {} are there", tree.size())))?;
    ensure(root == *checkpoint.root(), || {
        format!("the public checkpoint says {} of {size} records, whose root is {root}", checkpoint.root())
    })?;
    let tiles = tiles_for_growth(0, size).into_iter().map(|coord| (coord.path(), coord.full().path()));
    let bundles = (0..size.div_ceil(u64::from(TILE_WIDTH))).filter_map(|index| {
        let coord = BundleCoord::in_log(index, size)?;
        Some((coord.path(), BundleCoord::new(index, TILE_WIDTH).ok()?.path()))
    });
    for (path, full) in tiles.chain(bundles) {
        // Each file that is there has been compared already; a full one stands in for a partial one.
        ensure(log.join(&path).exists() || log.join(full).exists(), || {
            format!("log/{path} is missing, on which the public checkpoint of {size} records rests")
        })?;
    }
    Ok(size)
}

fn encoded(leaves: &[Bytes], coord: BundleCoord) -> Option<Vec<u8>> {
    let start = usize::try_from(coord.index()).ok()?.checked_mul(usize::from(TILE_WIDTH))?;
    bundle::encode(leaves.get(start..start.checked_add(usize::from(coord.width()))?)?).ok()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Finding> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// All files below a folder, by their paths from there.
fn files_below(root: &Path) -> Result<Vec<PathBuf>, Finding> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if folder == root && error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&folder, &error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| unreadable(&folder, &error))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(path) = path.strip_prefix(root) {
                found.push(path.to_owned());
            }
        }
    }
    Ok(found)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Finding {
    Finding(format!("{} can't be read: {error}", path.display()))
}
