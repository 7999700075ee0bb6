//! The catalogues that were ever in use, kept by hash for good: a grant is judged by the one that it was signed under.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use countersign_broker::grants::{
    catalogue::{Catalogue, CatalogueError, SHIPPED},
    digest::Digest,
};

use crate::keyfile::write_new;

/// Public documents in a private folder.
const MODE: u32 = 0o644;

/// The ending of a catalogue's file.
const ENDING: &str = "toml";

/// The catalogue for new offers, and all that were in use before.
#[derive(Debug)]
pub struct Kept {
    /// The document that counts for new offers.
    pub current: Vec<u8>,
    /// The others.
    pub older: Vec<Vec<u8>>,
}

/// Why the catalogues can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It breaks a rule of catalogues.
    #[error("{}: {source}", path.display())]
    Catalogue {
        /// Which file.
        path: PathBuf,
        /// Which rule.
        source: CatalogueError,
    },
    /// A kept file is not what its name says.
    #[error("{}: the file's SHA-256 is {found}, which is not its name: restore it from a backup", path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
        /// The hash of its bytes.
        found: Digest,
    },
}

/// Reads `own`, or takes the shipped catalogue; keeps it in `folder` by its hash, and reads the others from there.
pub fn keep(folder: &Path, own: Option<&Path>) -> Result<Kept, KeepError> {
    let current = match own {
        Some(path) => {
            let document = fs::read(path).map_err(failed(path))?;
            // Before it is kept: what is kept is kept for good.
            Catalogue::parse_for_use(&document)
                .map_err(|source| KeepError::Catalogue { path: path.to_owned(), source })?;
            document
        }
        None => SHIPPED.to_vec(),
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let version = Digest::of(&current);
    let (mut older, mut known) = (Vec::new(), false);
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        if path.extension().is_none_or(|ending| ending != ENDING) {
            continue;
        }
        let document = fs::read(&path).map_err(failed(&path))?;
        let found = Digest::of(&document);
        if path.file_stem().and_then(|stem| stem.to_str()) != Some(found.to_string().as_str()) {
            return Err(KeepError::Changed { path, found });
        }
        if found == version {
            known = true;
        } else {
            older.push(document);
        }
    }
    if !known {
        write(folder, version, &current)?;
    }
    Ok(Kept { current, older })
}

/// Whole or not at all, and synced before any grant can be signed under it.
fn write(folder: &Path, version: Digest, document: &[u8]) -> Result<(), KeepError> {
    let path = folder.join(format!("{version}.{ENDING}"));
    let draft = folder.join(format!("{version}.draft"));
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&draft)(error)),
        _ => {}
    }
    write_new(&draft, MODE, document).map_err(failed(&draft))?;
    fs::rename(&draft, &path).map_err(failed(&path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> KeepError {
    let path = path.to_owned();
    move |source| KeepError::File { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_catalogue_is_kept_by_its_hash() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("catalogues");
        let kept = keep(&folder, None).expect("kept");
        assert_eq!(kept.current, SHIPPED);
        assert!(kept.older.is_empty());
        let path = folder.join(format!("{}.toml", Digest::of(SHIPPED)));
        assert_eq!(fs::read(&path).expect("is there"), SHIPPED);
        assert!(keep(&folder, None).expect("kept").older.is_empty());
    }

    #[test]
    fn what_was_in_use_stays() {
        let place = tempfile::tempdir().expect("a folder");
        let (folder, own) = (place.path().join("catalogues"), place.path().join("own.toml"));
        let mut other = SHIPPED.to_vec();
        other.extend_from_slice(b"\n# another\n");
        fs::write(&own, &other).expect("writes");
        assert_eq!(keep(&folder, Some(&own)).expect("kept").current, other);
        let kept = keep(&folder, None).expect("kept");
        assert_eq!((kept.current.as_slice(), kept.older), (SHIPPED, vec![other]));
    }

    #[test]
    fn a_wrong_or_changed_catalogue_is_refused() {
        let place = tempfile::tempdir().expect("a folder");
        let (folder, own) = (place.path().join("catalogues"), place.path().join("own.toml"));
        fs::write(&own, "nothing = 1").expect("writes");
        assert!(matches!(keep(&folder, Some(&own)), Err(KeepError::Catalogue { .. })));
        assert!(!folder.exists(), "nothing was kept");
        keep(&folder, None).expect("kept");
        fs::write(folder.join(format!("{}.toml", Digest::of(SHIPPED))), "changed").expect("writes");
        assert!(matches!(keep(&folder, None), Err(KeepError::Changed { .. })));
    }
}
