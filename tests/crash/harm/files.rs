//! Harm to files that follow from others: tiles, bundles, snapshots.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use countersign_tlog::{BundleCoord, TileCoord, tile::tiles_for_growth};

use super::{Done, Expected, index::shown};
use crate::{check::copy, random::Random};

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Removed,
    /// Cut short.
    Torn,
}

/// A hash tile of any level, full or partial: it follows from the leaves.
pub(super) fn tile(store: &Path, how: How, random: &mut Random) -> Result<Done> {
    let mut tiles = Vec::new();
    for level in 0..4 {
        files_below(&store.join(format!("log/tile/{level}")), &mut tiles)?;
    }
    only_of_use(store, &mut tiles)?;
    let Some(path) = random.pick(&tiles) else { return Ok(none("tile")) };
    let detail = harm(store, path, how, random)?;
    Ok(Done { detail, expected: Expected::Listens })
}

/// A bundle below this folder: made again while the journal has its leaves, else the broker must name them.
pub(super) fn bundle(store: &Path, folder: &str, how: How, random: &mut Random) -> Result<Done> {
    let mut bundles = Vec::new();
    files_below(&store.join(folder), &mut bundles)?;
    only_of_use(store, &mut bundles)?;
    let Some(path) = random.pick(&bundles) else { return Ok(none("bundle")) };
    let detail = harm(store, path, how, random)?;
    let words = format!("leaf {} and those after it are gone", number(&store.join(folder), path)? * 256);
    Ok(Done { detail, expected: Expected::Either(vec![words]) })
}

/// The number of a bundle, from its path below the bundles' folder: `x001/234` is 1234.
fn number(folder: &Path, path: &Path) -> Result<u64> {
    let name = path.strip_prefix(folder).unwrap_or(path).display().to_string();
    let name = name.split(".p/").next().unwrap_or_default();
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    digits.parse().with_context(|| format!("{name} is no bundle"))
}

/// The public checkpoint: it is signed again over the leaves.
pub(super) fn tear_checkpoint(store: &Path, random: &mut Random) -> Result<Done> {
    let path = store.join("log/checkpoint");
    if !path.exists() {
        return Ok(none("checkpoint"));
    }
    let detail = harm(store, &path, How::Torn, random)?;
    Ok(Done { detail, expected: Expected::Listens })
}

/// The newest snapshot: the one before it does.
pub(super) fn tear_snapshot(store: &Path, random: &mut Random) -> Result<Done> {
    let mut snapshots = Vec::new();
    files_below(&store.join("snapshots"), &mut snapshots)?;
    let Some(path) = snapshots.last() else { return Ok(none("snapshot")) };
    let detail = harm(store, path, How::Torn, random)?;
    Ok(Done { detail, expected: Expected::Listens })
}

/// Leaves out the partial files of earlier publications: nothing rests on them any more, and nobody mends them.
fn only_of_use(store: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let log = store.join("log");
    let checkpoint = fs::read_to_string(log.join("checkpoint")).unwrap_or_default();
    let size =
        checkpoint.lines().nth(1).unwrap_or("0").parse().context("a checkpoint's second line is its size")?;
    let mut partial: Vec<String> = tiles_for_growth(0, size).into_iter().map(TileCoord::path).collect();
    partial.extend(BundleCoord::in_log(size / 256, size).map(BundleCoord::path));
    files.retain(|path| {
        let path = path.strip_prefix(&log).unwrap_or(path).display().to_string();
        !path.contains(".p/") || partial.contains(&path)
    });
    Ok(())
}

fn none(what: &str) -> Done {
    Done { detail: format!("there is no {what} yet"), expected: Expected::Listens }
}

fn harm(store: &Path, path: &Path, how: How, random: &mut Random) -> Result<String> {
    let name = shown(store, path);
    if how == How::Removed {
        fs::remove_file(path)?;
        return Ok(format!("{name} removed"));
    }
    let mut bytes = fs::read(path)?;
    let at = usize::try_from(random.below(bytes.len().max(1) as u64))?;
    bytes.truncate(at);
    copy::replace(path, &bytes)?;
    Ok(format!("{name} cut at {at}"))
}

/// All files below a folder, in the order of their names; none if it is not there.
fn files_below(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| folder.display().to_string()),
    };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files_below(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}
