//! Files of images: most are links to what other images have too, so nothing is written in place.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use countersign_store_sled::files::{AppendFile, Files, RealFiles};

/// The files of the machine, of which none that has another name is ever changed, and none is synced: no image has to
/// last.
pub(crate) struct LinkedFiles;

struct Unsynced(Box<dyn AppendFile>);

impl AppendFile for Unsynced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Files for LinkedFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        RealFiles.remove(path)?;
        Ok(Box::new(Unsynced(RealFiles.create(path)?)))
    }

    fn append(&self, path: &Path, length: u64) -> io::Result<Box<dyn AppendFile>> {
        if fs::metadata(path)?.nlink() > 1 {
            let own = fs::read(path)?;
            fs::remove_file(path)?;
            fs::write(path, own)?;
        }
        Ok(Box::new(Unsynced(RealFiles.append(path, length)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        RealFiles.read(path)
    }

    fn open(&self, path: &Path) -> io::Result<Option<Box<dyn Read + Send>>> {
        RealFiles.open(path)
    }

    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        RealFiles.length(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealFiles.exists(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        RealFiles.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove(path)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        RealFiles.create_folder(folder)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Copies a folder with the times of its files, by which the index is known again.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&from, &to)?;
            continue;
        }
        // The index makes and removes files while it is copied.
        match fs::copy(&from, &to) {
            Ok(_) => File::options().write(true).open(&to)?.set_modified(fs::metadata(&from)?.modified()?)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("copying {}", from.display())),
        }
    }
    Ok(())
}
