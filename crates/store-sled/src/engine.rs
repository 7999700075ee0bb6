//! The engine as its callers see it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use countersign_store::layout::LogPath;
use countersign_store::{Batch, CommitError, Entry, Head, Key, Publication, PublishError, ReadError, Store};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use crate::bundles::{BundleFiles, Part};
use crate::errors::OpenError;
use crate::files::{Files, RealFiles};
use crate::gathered::LastRows;
use crate::index::{Recent, place};
use crate::journal::SEGMENT_BYTES;
use crate::mark::{self, Closed};
use crate::named::Named;
use crate::open::{Opened, open};
use crate::scrub::{Left, ScrubError, Scrubbed, Wanted};
use crate::writer::{Job, Shared, Threads};

/// Commits that may wait for the thread that writes. The ledger sends one at a time; the others would be raced.
const MAX_WAITING_COMMITS: usize = 8;

/// Four segments. The store keeps up to twice this much of its journal, or twice what a snapshot takes, and reads all of
/// that when it is opened after it wasn't closed: some tenths of a second for each GiB that is in memory.
const SNAPSHOT_BYTES: u64 = 4 * SEGMENT_BYTES;

/// What an operator may set.
#[derive(Clone, Debug)]
pub struct Options {
    /// Memory that sled may keep pages in. It takes somewhat more.
    pub cache_bytes: u64,
    /// When a journal segment has this much, the next frame starts a new one.
    pub segment_bytes: u64,
    /// When full segments that no snapshot covers have this much, a snapshot is made.
    pub snapshot_bytes: u64,
}

impl Default for Options {
    /// 64 MiB of cache: the hot rows of a broker (grants in use, tails of streams, counters) for a million grants fit,
    /// and the whole broker is to stay under 200 MiB. Rows that were
    /// read lately take up to 16 MiB more.
    fn default() -> Options {
        Options { cache_bytes: 64 << 20, segment_bytes: SEGMENT_BYTES, snapshot_bytes: SNAPSHOT_BYTES }
    }
}

/// A store in one folder; the [crate] says what lies there.
///
/// Dropping it waits for a commit in hand. [`close`](SledStore::close) does more, and makes the next opening faster;
/// nothing else depends on it.
pub struct SledStore {
    folder: PathBuf,
    shared: Arc<Shared>,
    /// `None` once the store is closed.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    threads: Mutex<Option<Threads>>,
    /// Whether snapshot and journal were not read when it was opened.
    pub(crate) believed: bool,
}

impl SledStore {
    /// Opens the store in `folder`, or makes a new one there, its folder included. Must be called in a tokio runtime,
    /// as all that is asynchronous here.
    ///
    /// Reads the newest snapshot and what is kept of the journal, and does again what the index and the bundles lack; the
    /// index is held against them row by row. After a [close](SledStore::close), and if no file has changed since, it
    /// believes them and the index instead, and reads them afterwards, while the store is in use.
    pub async fn open(folder: impl Into<PathBuf>, options: Options) -> Result<SledStore, OpenError> {
        Self::open_on(Arc::new(RealFiles), folder, options).await
    }

    /// Opens the store on another file layer: for tests of what happens when files fail.
    pub async fn open_on(
        files: Arc<dyn Files>,
        folder: impl Into<PathBuf>,
        options: Options,
    ) -> Result<SledStore, OpenError> {
        let folder = folder.into();
        let opening = spawn_blocking(move || {
            let files: Arc<dyn Files> = Arc::new(Named(files));
            let Opened { shared, keeper, believed } = open(&folder, &options, &files)?;
            let shared = Arc::new(shared);
            let (sender, jobs) = mpsc::channel(MAX_WAITING_COMMITS);
            let threads = Threads::start(&shared, keeper, jobs).map_err(OpenError::io(&folder))?;
            let (jobs, threads) = (Mutex::new(Some(sender)), Mutex::new(Some(threads)));
            Ok(SledStore { folder, shared, jobs, threads, believed })
        });
        opening.await.unwrap_or_else(|stopped| Err(OpenError::Index { reason: stopped.to_string() }))
    }

    /// Takes no commits from here on, waits for the one in hand, puts the full bundles into their files and the rows
    /// into the index, and flushes it. Reads go on. A second call does nothing.
    ///
    /// An error means that the next opening has more to do, nothing worse.
    pub async fn close(&self) -> Result<(), ReadError> {
        drop(self.jobs.lock().take());
        let threads = self.threads.lock().take();
        let shared = Arc::clone(&self.shared);
        let folder = self.folder.clone();
        let closing = spawn_blocking(move || {
            let Some(threads) = threads else { return Ok(()) };
            threads.end(&shared, LastRows::Applied);
            shared.view.read().index.trees().flush().map_err(|error| error.to_string())?;
            if let Some(cause) = shared.poisoned() {
                return Err(cause.to_owned());
            }
            // What a scrub has left behind that was cut off.
            let current = shared.view.read().index.trees();
            place::keep_only(current.folder()).map_err(|error| error.to_string())?;
            let BundleFiles { files, placer, .. } = &shared.bundles;
            let (head, lengths) = {
                let view = shared.view.read();
                (view.head, view.lengths.clone())
            };
            let closed = Closed { head, check_from: shared.snapshots.check_from(), lengths };
            let marked = mark::place(&**files, placer, &folder, &closed);
            marked.map_err(|error| error.to_string())
        });
        let closed = closing.await.unwrap_or_else(|stopped| Err(stopped.to_string()));
        closed.map_err(|reason| ReadError::Unavailable { reason })
    }

    /// Takes off the disk what does not live any more, and of private parts all but what is [left](Left), while the store is
    /// in use: once this returns, nothing that was removed before it was called is in any file. The next one waits until
    /// this one is done.
    ///
    /// After an error, or if the process ends, the store is as before, or has less of it on disk; to do it again goes on.
    pub async fn scrub(&self, left: Arc<Left>) -> Result<Scrubbed, ScrubError> {
        let (reply, scrubbed) = oneshot::channel();
        self.shared.snapshots.scrub(Wanted { left, reply });
        scrubbed.await.unwrap_or(Err(ScrubError::Ended))
    }

    /// An index that can't be read is mended when the store is opened again, and until then nothing is to rest on it.
    fn of_index<T>(&self, found: Result<T, ReadError>) -> Result<T, ReadError> {
        found.inspect_err(|error| self.shared.poison(error))
    }

    /// Waits until all snapshots that are due are made, or have failed, and what opening believed is read.
    #[cfg(test)]
    pub(crate) fn settle(&self) {
        self.shared.snapshots.settle();
    }

    async fn read(&self, range: Range<u64>, part: Part) -> Result<Vec<Bytes>, ReadError> {
        // What is in memory is answered at once; only files are worth another thread.
        let (stored, mut recent) = self.shared.read_recent(range, part);
        let Some(stored) = stored else { return Ok(recent) };
        let shared = Arc::clone(&self.shared);
        let mut found = blocking(move || shared.bundles.read(&stored, part)).await?;
        found.append(&mut recent);
        Ok(found)
    }
}

#[async_trait]
impl Store for SledStore {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        // Looked up in one statement, so that no commit waits while sled reads.
        let recent = self.shared.view.read().index.recent(key);
        match recent {
            Recent::Row(entry) => Ok(Some(entry)),
            Recent::Deleted => Ok(None),
            Recent::Elsewhere(asked) => self.of_index(asked.get(key)),
        }
    }

    async fn scan(&self, range: Range<Key>, limit: usize) -> Result<Vec<(Key, Entry)>, ReadError> {
        // All of a scan is of one state, so commits wait for it. It is as long as its caller's limit.
        let view = self.shared.view.read();
        self.of_index(view.index.scan(range, limit))
    }

    async fn request(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let (asked, hours) = self.shared.view.read().index.recent_requests(key);
        for (hour, recent) in hours {
            let found = match recent {
                Some(found) => Some(found),
                None => self.of_index(asked.request(hour, key))?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn leaves(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        self.read(range, Part::Record).await
    }

    async fn private_parts(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        self.read(range, Part::Private).await
    }

    fn head(&self) -> Head {
        self.shared.view.read().head
    }

    async fn commit(&self, head: Head, batch: Batch) -> Result<Head, CommitError> {
        batch.check().map_err(CommitError::TooLarge)?;
        let jobs = self.jobs.lock().clone().ok_or(CommitError::Poisoned)?;
        let (reply, answer) = oneshot::channel();
        jobs.send(Job { head, batch, reply }).await.map_err(|_| CommitError::Poisoned)?;
        answer.await.unwrap_or_else(|_| {
            // The thread that writes died with this commit in hand.
            let reason = "the thread that writes died".to_owned();
            self.shared.poison(&reason);
            Err(CommitError::Unknown { reason })
        })
    }

    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        let shared = Arc::clone(&self.shared);
        let publishing = spawn_blocking(move || shared.publish(&publication));
        publishing.await.unwrap_or_else(|stopped| Err(PublishError::Failed { reason: stopped.to_string() }))
    }

    async fn file(&self, path: &str) -> Result<Option<Bytes>, ReadError> {
        let Some(path) = LogPath::parse(path) else { return Ok(None) };
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.bundles.log_file(path)).await
    }

    async fn file_lengths(&self, paths: Vec<String>) -> Result<Vec<Option<u64>>, ReadError> {
        let shared = Arc::clone(&self.shared);
        let length = move |path: &String| match LogPath::parse(path) {
            Some(path) => shared.bundles.log_file_length(path),
            None => Ok(None),
        };
        blocking(move || paths.iter().map(length).collect()).await
    }

    fn failure(&self) -> Option<String> {
        self.shared.poisoned().map(str::to_owned)
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        drop(self.jobs.lock().take());
        if let Some(threads) = self.threads.lock().take() {
            threads.end(&self.shared, LastRows::Left);
        }
    }
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    let read = spawn_blocking(read).await;
    read.unwrap_or_else(|stopped| Err(ReadError::Unavailable { reason: stopped.to_string() }))
}
