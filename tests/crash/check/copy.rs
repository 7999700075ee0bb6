//! Copies of a store's folder, made while the daemon is dead.
//!
//! Files that are never written again once they have their name are linked and not copied: bundles, tiles, checkpoints,
//! snapshots and full segments are replaced by renames alone. The growing segment and the index are written in place.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::journal;

/// Copies `store` to `to`, which must not exist.
pub(crate) fn store(store: &Path, to: &Path) -> Result<()> {
    let growing = journal::segments_in(&store.join("journal"))?.pop().map(|(_, path)| path);
    tree(store, to, &|path| {
        let inside = path.strip_prefix(store).unwrap_or(path);
        !inside.starts_with("sled") && Some(path) != growing.as_deref() && inside.components().count() > 1
    })
}

/// Copies a folder whole.
pub(crate) fn folder(from: &Path, to: &Path) -> Result<()> {
    tree(from, to, &|_| false)
}

fn tree(from: &Path, to: &Path, linked: &dyn Fn(&Path) -> bool) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            tree(&path, &copy, linked)?;
        } else if kind.is_file() {
            let done =
                if linked(&path) { fs::hard_link(&path, &copy) } else { fs::copy(&path, &copy).map(drop) };
            done.with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// Puts other bytes in a file's place, leaving every linked copy of it as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("harm");
    fs::write(&beside, bytes).with_context(|| beside.display().to_string())?;
    fs::rename(&beside, path).with_context(|| path.display().to_string())
}

/// Removes a folder, if it is there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| folder.display().to_string())
        }
        _ => Ok(()),
    }
}
