//! Harm to sled's folder: whatever becomes of it, it follows from the journal again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Done, Expected};
use crate::{check::copy, random::Random};

/// Keeps the index as it was when the daemon died, for a later harm to put back.
pub(super) fn keep(copied: &Path, older: &Path) -> Result<()> {
    copy::remove(older)?;
    copy::folder(&copied.join("sled"), older)
}

pub(super) fn delete(store: &Path) -> Result<Done> {
    copy::remove(&store.join("sled"))?;
    Ok(Done { detail: "sled deleted".to_owned(), expected: Expected::Listens })
}

pub(super) fn older(store: &Path, older: &Path) -> Result<Done> {
    if !fs::read_dir(older).is_ok_and(|mut entries| entries.next().is_some()) {
        return delete(store);
    }
    let sled = store.join("sled");
    copy::remove(&sled)?;
    copy::folder(older, &sled)?;
    Ok(Done { detail: "an older sled put back".to_owned(), expected: Expected::Listens })
}

pub(super) fn truncate(store: &Path, random: &mut Random) -> Result<Done> {
    let path = any_file(store, random)?;
    let mut bytes = fs::read(&path)?;
    let at = usize::try_from(random.below(bytes.len() as u64 + 1))?;
    bytes.truncate(at);
    fs::write(&path, bytes)?;
    Ok(Done { detail: format!("{} cut at {at}", shown(store, &path)), expected: Expected::Listens })
}

pub(super) fn rubbish(store: &Path, random: &mut Random) -> Result<Done> {
    let path = any_file(store, random)?;
    let mut bytes = fs::read(&path)?;
    let length = bytes.len() as u64;
    let start = usize::try_from(random.below(length.max(1)))?;
    let end = start + usize::try_from(random.below(length.max(1)))?;
    let end = end.min(bytes.len());
    for byte in &mut bytes[start..end] {
        *byte = random.next().to_le_bytes()[0];
    }
    fs::write(&path, bytes)?;
    let detail = format!("{} overwritten from {start} to {end}", shown(store, &path));
    Ok(Done { detail, expected: Expected::Listens })
}

/// Mostly the one large file, sometimes another.
fn any_file(store: &Path, random: &mut Random) -> Result<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![store.join("sled")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let into = if entry.file_type()?.is_dir() { &mut folders } else { &mut files };
            into.push(entry.path());
        }
    }
    files.sort();
    if let Some(db) = files.iter().find(|path| path.ends_with("db"))
        && random.chance(2, 3)
    {
        return Ok(db.clone());
    }
    random.pick(&files).cloned().context("sled has no file")
}

pub(super) fn shown(store: &Path, path: &Path) -> String {
    path.strip_prefix(store).unwrap_or(path).display().to_string()
}
