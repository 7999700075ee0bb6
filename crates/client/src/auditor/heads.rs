//! Where an auditor keeps the log's heads: the newest that was proven, and both of a fork.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{book::BookError, checkpoint::HeadKeeper, error::LogForked, files};

const NEWEST: &str = "checkpoint";
const FORK: [&str; 2] = ["fork-ours", "fork-theirs"];

/// Keeps heads as files of a folder: `checkpoint`, and after a fork `fork-ours` and `fork-theirs`. Each is a signed note
/// that any tool for such logs reads.
#[derive(Debug)]
pub struct HeadFolder {
    folder: PathBuf,
    state: Mutex<(Option<Bytes>, Option<LogForked>)>,
}

impl HeadFolder {
    /// Takes up what the folder holds.
    pub fn open(folder: &Path) -> Result<Self, BookError> {
        let read = |name: &str| {
            let path = folder.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => Ok(Some(Bytes::from(bytes))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(BookError::Io { path, source }),
            }
        };
        let fork = match (read(FORK[0])?, read(FORK[1])?) {
            (Some(ours), Some(theirs)) => Some(LogForked { ours, theirs }),
            _ => None,
        };
        Ok(Self { folder: folder.to_owned(), state: Mutex::new((read(NEWEST)?, fork)) })
    }

    /// Writes beside the old file, then puts it in its place.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), BookError> {
        let path = self.folder.join(name);
        let failed = |source| BookError::Io { path: path.clone(), source };
        let new = self.folder.join(format!("{name}.new"));
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut file = files::create_private(&new).map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&new, &path).map_err(failed)?;
        files::sync_parent(&path).map_err(failed)
    }
}

impl HeadKeeper for HeadFolder {
    fn newest(&self) -> Option<Bytes> {
        self.state.lock().0.clone()
    }

    fn keep_newest(&self, checkpoint: &Bytes) -> Result<(), BookError> {
        let mut state = self.state.lock();
        self.write(NEWEST, checkpoint)?;
        state.0 = Some(checkpoint.clone());
        Ok(())
    }

    fn fork(&self) -> Option<LogForked> {
        self.state.lock().1.clone()
    }

    fn keep_fork(&self, fork: &LogForked) -> Result<(), BookError> {
        let mut state = self.state.lock();
        self.write(FORK[0], &fork.ours)?;
        self.write(FORK[1], &fork.theirs)?;
        state.1 = Some(fork.clone());
        Ok(())
    }
}

/// Keeps heads for as long as the process lives.
#[derive(Debug, Default)]
pub struct MemoryHeads(Mutex<(Option<Bytes>, Option<LogForked>)>);

impl HeadKeeper for MemoryHeads {
    fn newest(&self) -> Option<Bytes> {
        self.0.lock().0.clone()
    }

    fn keep_newest(&self, checkpoint: &Bytes) -> Result<(), BookError> {
        self.0.lock().0 = Some(checkpoint.clone());
        Ok(())
    }

    fn fork(&self) -> Option<LogForked> {
        self.0.lock().1.clone()
    }

    fn keep_fork(&self, fork: &LogForked) -> Result<(), BookError> {
        self.0.lock().1 = Some(fork.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_there_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let heads = HeadFolder::open(folder.path()).expect("opens");
        assert_eq!((heads.newest(), heads.fork()), (None, None));
        heads.keep_newest(&Bytes::from_static(b"one")).expect("keeps");
        heads.keep_newest(&Bytes::from_static(b"two")).expect("keeps");
        let fork = LogForked { ours: Bytes::from_static(b"a"), theirs: Bytes::from_static(b"b") };
        heads.keep_fork(&fork).expect("keeps");
        let again = HeadFolder::open(folder.path()).expect("opens");
        assert_eq!((again.newest(), again.fork()), (Some(Bytes::from_static(b"two")), Some(fork)));
    }
}
