//! Errors that name the file and the operation.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files::{AppendFile, Files};

/// Files whose errors say which operation on which file failed, and keep their kind. All of the engine works on these,
/// so that no cause is ever without its place.
pub(crate) struct Named(pub(crate) Arc<dyn Files>);

struct NamedFile {
    file: Box<dyn AppendFile>,
    path: PathBuf,
}

struct NamedStream {
    file: Box<dyn Read + Send>,
    path: PathBuf,
}

impl Read for NamedStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.file.read(into).map_err(name("read", &self.path))
    }
}

impl Named {
    fn wrap(file: Box<dyn AppendFile>, path: &Path) -> Box<dyn AppendFile> {
        Box::new(NamedFile { file, path: path.to_owned() })
    }
}

fn name(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{operation} {}: {error}", path.display()))
}

impl AppendFile for NamedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write(bytes).map_err(name("write", &self.path))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync().map_err(name("sync", &self.path))
    }
}

impl Files for Named {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        self.0.create(path).map(|file| Named::wrap(file, path)).map_err(name("create", path))
    }

    fn append(&self, path: &Path, length: u64) -> io::Result<Box<dyn AppendFile>> {
        self.0.append(path, length).map(|file| Named::wrap(file, path)).map_err(name("open", path))
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.0.read(path).map_err(name("read", path))
    }

    fn open(&self, path: &Path) -> io::Result<Option<Box<dyn Read + Send>>> {
        let named = |file| Box::new(NamedStream { file, path: path.to_owned() }) as Box<dyn Read + Send>;
        self.0.open(path).map(|file| file.map(named)).map_err(name("open", path))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path).map_err(name("look for", path))
    }

    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        self.0.length(path).map_err(name("look at", path))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.0.list(folder).map_err(name("list", folder))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to).map_err(name("rename to", to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path).map_err(name("remove", path))
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.create_folder(folder).map_err(name("make folder", folder))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.sync_folder(folder).map_err(name("sync folder", folder))
    }
}
