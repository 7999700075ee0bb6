//! Files that do everything really, and write down what they did in its order.

use std::{
    collections::VecDeque,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use countersign_store_sled::files::{AppendFile, Files};
use countersign_tlog::SignedCheckpoint;
use parking_lot::Mutex;

/// An open file.
pub(crate) type Handle = u64;

/// What was done, or came to be known. Paths are below the folder that the disk is under.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A file was made, or made empty, and is open as this handle.
    Create {
        path: PathBuf,
        handle: Handle,
    },
    /// A file was opened to append to it after so many bytes; if it was longer, the rest was cut off and it was synced.
    Append {
        path: PathBuf,
        handle: Handle,
        length: usize,
    },
    /// At the end of an open file.
    Write {
        handle: Handle,
        bytes: Bytes,
    },
    /// What was written to the file is durable, and the time of the last write.
    SyncFile {
        handle: Handle,
        modified: Option<SystemTime>,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    CreateFolder {
        path: PathBuf,
    },
    SyncFolder {
        path: PathBuf,
    },
    Mark(Mark),
}

/// What came to be known at a moment.
#[derive(Clone, Debug)]
pub(crate) enum Mark {
    /// A unit was handed in, by its number.
    Submitted(usize),
    /// This commit, and so all before it, was acknowledged.
    Acknowledged(u64),
    /// This head of the log was handed out.
    HandedOut(SignedCheckpoint),
    /// A checkpoint of this size was seen published.
    Published(u64),
    /// A copy of the index was taken, by its number.
    Copied(usize),
    /// A scrub begins.
    Scrubbing,
    /// A scrub is done: what was deleted up to this commit is off the disk. Copies of the index before this number are of an
    /// index that is gone.
    Scrubbed { sequence: u64, copies: usize },
    /// All that was found after opening was checked; what comes now is new.
    Checked,
}

impl Event {
    /// Whether more is durable after it.
    pub(crate) fn is_sync(&self) -> bool {
        matches!(self, Event::SyncFile { .. } | Event::SyncFolder { .. })
    }
}

/// Which syncs the files claim to have made and never made: so that a campaign can be seen to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    None,
    /// Of the journal's folder.
    JournalFolder,
    /// One in so many of files.
    Files(u64),
    /// Of any folder of the log.
    LogFolders,
    /// Of the folder of snapshots.
    SnapshotFolder,
}

/// The files of one store, under a folder.
#[derive(Clone)]
pub(crate) struct Recorder {
    files: Arc<dyn Files>,
    folder: PathBuf,
    /// What isn't the store's own files: the index has files of its own.
    apart: PathBuf,
    lie: Lie,
    trace: Arc<Mutex<Trace>>,
}

#[derive(Default)]
struct Trace {
    events: VecDeque<Event>,
    handles: Handle,
    /// Syncs of files since the first acknowledgement: nobody lies before it.
    syncs: u64,
    acknowledged: bool,
}

struct Recorded {
    file: Box<dyn AppendFile>,
    /// Its name while it is written.
    path: PathBuf,
    handle: Handle,
    recorder: Recorder,
}

impl Recorder {
    /// Has all done by other files, and records what is done under `folder`, except in `apart`.
    pub(crate) fn over(files: Arc<dyn Files>, folder: &Path, apart: &Path, lie: Lie) -> Recorder {
        let (folder, apart) = (folder.to_owned(), apart.to_owned());
        Recorder { files, folder, apart, lie, trace: Arc::default() }
    }

    pub(crate) fn mark(&self, mark: Mark) {
        let mut trace = self.trace.lock();
        trace.acknowledged |= matches!(mark, Mark::Acknowledged(_));
        trace.events.push_back(Event::Mark(mark));
    }

    /// All that was recorded.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.trace.lock().events).into()
    }

    /// The path below the folder; `None` if it isn't recorded.
    fn below(&self, path: &Path) -> Option<PathBuf> {
        if path.starts_with(&self.apart) {
            return None;
        }
        path.strip_prefix(&self.folder).ok().map(Path::to_owned)
    }

    /// Does something and records it, with nothing recorded in between.
    fn record<T>(
        &self,
        path: &Path,
        done: impl FnOnce() -> io::Result<T>,
        event: impl FnOnce(PathBuf, &T) -> Event,
    ) -> io::Result<T> {
        let Some(path) = self.below(path) else { return done() };
        let mut trace = self.trace.lock();
        let result = done()?;
        trace.events.push_back(event(path, &result));
        Ok(result)
    }

    fn opened(
        &self,
        path: &Path,
        open: impl FnOnce() -> io::Result<Box<dyn AppendFile>>,
        event: impl FnOnce(PathBuf, Handle) -> Event,
    ) -> io::Result<Box<dyn AppendFile>> {
        let handle = {
            let mut trace = self.trace.lock();
            trace.handles += 1;
            trace.handles
        };
        let file = self.record(path, open, |path, _| event(path, handle))?;
        Ok(Box::new(Recorded { file, path: path.to_owned(), handle, recorder: self.clone() }))
    }
}

impl Files for Recorder {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        self.opened(path, || self.files.create(path), |path, handle| Event::Create { path, handle })
    }

    fn append(&self, path: &Path, length: u64) -> io::Result<Box<dyn AppendFile>> {
        let event = |path, handle| Event::Append { path, handle, length: length as usize };
        self.opened(path, || self.files.append(path, length), event)
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        self.files.read(path)
    }

    fn open(&self, path: &Path) -> io::Result<Option<Box<dyn Read + Send>>> {
        self.files.open(path)
    }

    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        self.files.length(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.files.exists(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.files.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let place = self.below(to).unwrap_or_default();
        self.record(from, || self.files.rename(from, to), |from, ()| Event::Rename { from, to: place })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.record(path, || self.files.remove(path), |path, ()| Event::Remove { path })
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.record(folder, || self.files.create_folder(folder), |path, ()| Event::CreateFolder { path })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let told = |part: &str| {
            self.below(folder).is_some_and(|path| path.components().any(|it| it.as_os_str() == part))
        };
        let lies = match self.lie {
            Lie::None | Lie::Files(_) => false,
            Lie::JournalFolder => told("journal"),
            Lie::LogFolders => told("log"),
            Lie::SnapshotFolder => told("snapshots"),
        };
        if lies && self.trace.lock().acknowledged {
            return Ok(());
        }
        self.record(folder, || self.files.sync_folder(folder), |path, ()| Event::SyncFolder { path })
    }
}

impl AppendFile for Recorded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut trace = self.recorder.trace.lock();
        self.file.write(bytes)?;
        trace.events.push_back(Event::Write { handle: self.handle, bytes: Bytes::copy_from_slice(bytes) });
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut trace = self.recorder.trace.lock();
        trace.syncs += u64::from(trace.acknowledged);
        if let Lie::Files(times) = self.recorder.lie
            && trace.acknowledged
            && trace.syncs.is_multiple_of(times)
        {
            return Ok(());
        }
        self.file.sync()?;
        let modified = std::fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok();
        trace.events.push_back(Event::SyncFile { handle: self.handle, modified });
        Ok(())
    }
}
