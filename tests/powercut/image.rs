//! A disk's image, laid out in a folder.

use std::{
    collections::HashMap,
    fs::{self, File},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result};

use crate::{
    disk::{Content, Disk, Node, Unsynced},
    files::copy_folder,
    random::Random,
    scenario::Places,
};

/// Which copy of the index an image has. The index writes past our files, so what a power cut leaves of it can be
/// anything; these stand for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Index {
    Empty,
    /// One of the copies before the newest, by its number.
    Older(usize),
    Newest(usize),
}

/// Lays out images, one after the other in the same place. Files that many images have are linked.
pub(crate) struct Builder {
    places: Places,
    pool: PathBuf,
    /// The version of each file that is in the pool.
    pooled: HashMap<Node, u64>,
}

impl Builder {
    pub(crate) fn new(places: &Places, pool: PathBuf) -> Result<Builder> {
        fs::create_dir_all(&pool)?;
        Ok(Builder { places: places.clone(), pool, pooled: HashMap::new() })
    }

    pub(crate) fn pool(&self) -> &Path {
        &self.pool
    }

    /// Takes away what an image, or the scenario, left.
    pub(crate) fn clear(&self) -> Result<()> {
        match fs::remove_dir_all(&self.places.disk) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Lays out the image of a disk.
    pub(crate) fn build(
        &mut self,
        disk: &Disk,
        unsynced: Unsynced,
        random: &mut Random,
        index: Option<&Path>,
    ) -> Result<()> {
        self.clear()?;
        let root = self.places.disk.clone();
        fs::create_dir_all(&root)?;
        disk.image(unsynced, random, &mut |path: &Path, content: Option<&Content<'_>>| {
            let path = root.join(path);
            match content {
                None => fs::create_dir(&path)?,
                Some(Content { bytes, same: Some((node, version)), modified }) => {
                    self.link(&path, (*node, *version), bytes, *modified)?;
                }
                Some(Content { bytes, same: None, .. }) => fs::write(&path, bytes)?,
            }
            anyhow::Ok(())
        })?;
        // The index lies in the store's folder. Without that folder there is none.
        if let Some(index) = index
            && self.places.store.exists()
        {
            copy_folder(index, &self.places.store.join("sled"))?;
        }
        Ok(())
    }

    fn link(
        &mut self,
        path: &Path,
        (node, version): (Node, u64),
        bytes: &[u8],
        modified: Option<SystemTime>,
    ) -> Result<()> {
        let pooled = self.pool.join(node.to_string());
        if self.pooled.insert(node, version) != Some(version) {
            drop(fs::remove_file(&pooled));
            fs::write(&pooled, bytes)?;
            if let Some(modified) = modified {
                File::options().write(true).open(&pooled)?.set_modified(modified)?;
            }
        }
        fs::hard_link(&pooled, path).with_context(|| format!("linking {}", path.display()))
    }
}
