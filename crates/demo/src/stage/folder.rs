//! The folder of one run: everything that broker, brands and travellers write.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::journey::Brand;

/// A fresh folder, gone at the end unless it is kept.
pub(crate) struct Folder {
    path: PathBuf,
    /// Removes it when dropped.
    _temporary: Option<TempDir>,
}

impl Folder {
    /// The folder that was named, which stays; or a temporary one, which stays only if it is kept.
    pub(crate) fn open(named: Option<&Path>, keep: bool) -> Result<Self> {
        if let Some(path) = named {
            fs::create_dir_all(path).with_context(|| path.display().to_string())?;
            let empty = fs::read_dir(path)?.next().is_none();
            ensure!(empty, "{} is not empty; the demo starts in a fresh folder", path.display());
            return Ok(Self { path: path.canonicalize()?, _temporary: None });
        }
        let made =
            tempfile::Builder::new().prefix("countersign-demo-").tempdir().context("a temporary folder")?;
        if keep {
            return Ok(Self { path: made.keep(), _temporary: None });
        }
        Ok(Self { path: made.path().to_owned(), _temporary: Some(made) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The broker's data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("broker")
    }

    /// The log, in the layout in which it is served.
    pub(crate) fn log(&self) -> PathBuf {
        self.data().join("store/log")
    }

    /// The trust file with the address that the broker got.
    pub(crate) fn broker_file(&self) -> PathBuf {
        self.path.join("broker.json")
    }

    /// The key of the broker's own calls.
    pub(crate) fn call_key(&self) -> PathBuf {
        self.data().join("keys/call.key")
    }

    pub(crate) fn operator_keys(&self) -> [PathBuf; 2] {
        ["keys/operator.key", "keys/second-operator.key"].map(|key| self.data().join(key))
    }

    pub(crate) fn auditor_key(&self) -> PathBuf {
        self.path.join("auditor.key")
    }

    /// A brand's own folder.
    pub(crate) fn brand(&self, brand: Brand) -> PathBuf {
        self.path.join(brand.id())
    }

    /// A traveller's own folder.
    pub(crate) fn traveller(&self, name: &str) -> PathBuf {
        self.path.join("travellers").join(name.to_lowercase().replace(' ', "-"))
    }

    /// Where a process writes what it has to say besides.
    pub(crate) fn log_of(&self, process: &str) -> PathBuf {
        self.path.join(format!("{process}.log"))
    }

    /// The end of what a process had to say, for an error.
    pub(crate) fn last_words(&self, process: &str) -> String {
        const LINES: usize = 5;
        let text = fs::read_to_string(self.log_of(process)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_fresh() {
        let outer = tempfile::tempdir().unwrap();
        let named = outer.path().join("deep/run");
        let folder = Folder::open(Some(&named), false).unwrap();
        fs::write(folder.broker_file(), "{}").unwrap();
        drop(folder);
        assert!(named.join("broker.json").is_file(), "a named folder stays");
        assert!(Folder::open(Some(&named), false).is_err(), "and is not used again");
    }

    #[test]
    fn a_temporary_folder_goes() {
        let folder = Folder::open(None, false).unwrap();
        let path = folder.path().to_owned();
        assert_eq!(folder.traveller("Traveller 26"), path.join("travellers/traveller-26"));
        drop(folder);
        assert!(!path.exists());
    }
}
