//! Harm to files that follow from others: tiles, bundles, snapshots.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Done, Expected, index::shown};
use crate::{check::copy, random::Random};

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Removed,
    /// Cut short, or with a part of it overwritten.
    Torn,
}

/// A hash tile of any level, full or partial: it follows from the leaves.
pub(super) fn tile(store: &Path, how: How, random: &mut Random) -> Result<Done> {
    let mut tiles = Vec::new();
    for level in 0..4 {
        files_below(&store.join(format!("log/tile/{level}")), &mut tiles)?;
    }
    let Some(path) = random.pick(&tiles) else { return Ok(none("tile")) };
    let detail = harm(store, path, how, random)?;
    Ok(Done { detail, expected: Expected::Listens })
}

/// A bundle below this folder: made again while the journal has its leaves, else the broker must name them.
pub(super) fn bundle(store: &Path, folder: &str, how: How, random: &mut Random) -> Result<Done> {
    let mut bundles = Vec::new();
    files_below(&store.join(folder), &mut bundles)?;
    let Some(path) = random.pick(&bundles) else { return Ok(none("bundle")) };
    let detail = harm(store, path, how, random)?;
    Ok(Done { detail, expected: Expected::Either(vec!["leaves".to_owned()]) })
}

/// The newest snapshot: the one before it does.
pub(super) fn tear_snapshot(store: &Path, random: &mut Random) -> Result<Done> {
    let mut snapshots = Vec::new();
    files_below(&store.join("snapshots"), &mut snapshots)?;
    let Some(path) = snapshots.last() else { return Ok(none("snapshot")) };
    let detail = harm(store, path, How::Torn, random)?;
    Ok(Done { detail, expected: Expected::Listens })
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
    if random.chance(1, 2) {
        bytes.truncate(at);
        copy::replace(path, &bytes)?;
        return Ok(format!("{name} cut at {at}"));
    }
    // As a disk does that wrote only a part of it.
    let end = bytes.len().min(at + 512);
    bytes[at..end].fill(0);
    copy::replace(path, &bytes)?;
    Ok(format!("{name} zero from {at} to {end}"))
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
