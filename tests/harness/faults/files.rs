//! Files that fail when they are told to, for one writer of the engine at one step.

use std::{
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use countersign_store_sled::files::{AppendFile, Files, RealFiles};
use parking_lot::Mutex;

/// `ENOSPC` and `EIO`, by their numbers on Linux and the BSDs.
pub(super) const DISK_FULL: i32 = 28;
pub(super) const BROKEN: i32 = 5;

/// Whose step it is, by the thread that takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    Commits,
    /// Full bundles: those beside the first are written by threads without a name.
    Bundles,
    Snapshots,
    /// Whoever makes a checkpoint public: a thread of the runtime.
    Publication,
}

impl Writer {
    fn current() -> Self {
        match std::thread::current().name() {
            Some("store-commits") => Self::Commits,
            Some("store-bundles") | None => Self::Bundles,
            Some("store-snapshots") => Self::Snapshots,
            Some(_) => Self::Publication,
        }
    }
}

/// A durable step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A file is made, or opened to append to it.
    Open,
    Write,
    Sync,
    /// A file gets its name.
    Rename,
    SyncFolder,
    Remove,
}

/// Where a step is taken: of a name, where it is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    Journal,
    /// A file on its way to its name.
    Scratch,
    Snapshots,
    /// Private parts.
    Private,
    /// Tiles and bundles of records.
    Log,
    /// The public checkpoint alone.
    Checkpoint,
    Elsewhere,
}

impl Within {
    fn of(path: &Path) -> Self {
        if path.ends_with("log/checkpoint") {
            return Self::Checkpoint;
        }
        let of = |part: std::path::Component<'_>| match part.as_os_str().to_str()? {
            "journal" => Some(Self::Journal),
            "scratch" => Some(Self::Scratch),
            "snapshots" => Some(Self::Snapshots),
            "private" => Some(Self::Private),
            "log" => Some(Self::Log),
            _ => None,
        };
        path.components().rev().find_map(of).unwrap_or(Self::Elsewhere)
    }
}

/// What fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) writer: Writer,
    pub(super) step: Step,
    pub(super) within: Within,
    pub(super) error: i32,
    /// It fails from here on, and not just this time.
    pub(super) for_good: bool,
}

impl Failure {
    /// What the system says of it.
    pub(super) fn cause(&self) -> String {
        io::Error::from_raw_os_error(self.error).to_string()
    }
}

#[derive(Default)]
struct Armed {
    failure: Option<Failure>,
    /// How often it struck.
    struck: u64,
}

/// Files that fail when they are told to.
#[derive(Clone, Default)]
pub(super) struct FailingFiles(Arc<Mutex<Armed>>);

struct FailingFile {
    file: Box<dyn AppendFile>,
    within: Within,
    files: FailingFiles,
}

impl FailingFiles {
    /// From here on this fails.
    pub(super) fn fail(&self, failure: Failure) {
        *self.0.lock() = Armed { failure: Some(failure), struck: 0 };
    }

    /// Nothing fails any more.
    pub(super) fn mend(&self) {
        self.0.lock().failure = None;
    }

    /// Whether what was to fail has.
    pub(super) fn struck(&self) -> bool {
        self.0.lock().struck > 0
    }

    fn step(&self, step: Step, within: Within) -> io::Result<()> {
        let mut armed = self.0.lock();
        match armed.failure {
            Some(failure)
                if (failure.step, failure.within) == (step, within)
                    && failure.writer == Writer::current() =>
            {
                armed.struck += 1;
                if !failure.for_good {
                    armed.failure = None;
                }
                Err(io::Error::from_raw_os_error(failure.error))
            }
            _ => Ok(()),
        }
    }

    fn wrap(&self, path: &Path, file: Box<dyn AppendFile>) -> Box<dyn AppendFile> {
        Box::new(FailingFile { file, within: Within::of(path), files: self.clone() })
    }
}

impl Files for FailingFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        self.step(Step::Open, Within::of(path))?;
        RealFiles.create(path).map(|file| self.wrap(path, file))
    }

    fn append(&self, path: &Path, length: u64) -> io::Result<Box<dyn AppendFile>> {
        self.step(Step::Open, Within::of(path))?;
        RealFiles.append(path, length).map(|file| self.wrap(path, file))
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        RealFiles.read(path)
    }

    fn open(&self, path: &Path) -> io::Result<Option<Box<dyn Read + Send>>> {
        RealFiles.open(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealFiles.exists(path)
    }

    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        RealFiles.length(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        RealFiles.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Rename, Within::of(to))?;
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(Step::Remove, Within::of(path))?;
        RealFiles.remove(path)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        RealFiles.create_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step(Step::SyncFolder, Within::of(folder))?;
        RealFiles.sync_folder(folder)
    }
}

impl AppendFile for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(full) = self.files.step(Step::Write, self.within) {
            // A disk that gets full takes what still fits.
            self.file.write(&bytes[..bytes.len() / 2])?;
            return Err(full);
        }
        self.file.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.files.step(Step::Sync, self.within)?;
        self.file.sync()
    }
}
