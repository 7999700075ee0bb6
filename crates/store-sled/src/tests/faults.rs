//! Every durable step of a script fails once, at its turn, and all after it too or none; then the store is opened again.

use std::cell::RefCell;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use countersign_store::memory::MemoryStore;
use countersign_store::{CommitError, Publication, PublishError, Store};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::{batch, content, snapshots};
use crate::files::{AppendFile, Files, RealFiles};
use crate::{Options, SledStore};

/// A segment for every second commit, and a snapshot for every segment.
fn options() -> Options {
    Options { cache_bytes: 1 << 20, segment_bytes: 4_000, snapshot_bytes: 4_000 }
}

/// How much of a failing operation is done.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Done {
    /// Nothing of it.
    Nothing,
    /// Half of what was to be written.
    Half,
    /// All of it, and an error is returned.
    All,
}

/// How operations fail.
#[derive(Clone, Copy, Debug)]
struct Fault {
    done: Done,
    /// What the system says.
    errno: i32,
    /// All later operations fail too: a disk that is gone.
    lasting: bool,
}

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// Files of which the `turn`-th durable step fails.
///
/// Nothing is really synced: that makes a difference to a machine that loses power, not to these tests, and thousands
/// of syncs take long on a busy disk.
#[derive(Clone)]
pub(super) struct FaultyFiles {
    fault: Fault,
    turns: Arc<Turns>,
    struck: Arc<AtomicBool>,
}

/// What fails, and when.
#[derive(Default)]
pub(super) struct Turns {
    steps: AtomicU64,
    /// The step that fails.
    step: AtomicU64,
    reads: AtomicU64,
    /// The file read that fails.
    read: AtomicU64,
    /// In the path of every file that can't be read.
    unreadable: Mutex<Option<&'static str>>,
}

/// A stream that ends with an error.
struct Torn(io::Take<Box<dyn Read + Send>>);

impl Read for Torn {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            0 => Err(io::Error::from_raw_os_error(EIO)),
            read => Ok(read),
        }
    }
}

impl Turns {
    fn at(step: u64) -> Turns {
        Turns { step: AtomicU64::new(step), read: AtomicU64::new(u64::MAX), ..Turns::default() }
    }

    /// Of the steps from now on, the one that fails.
    pub(super) fn fail_step(&self, turn: u64) {
        self.step.store(self.steps.load(Ordering::SeqCst) + turn, Ordering::SeqCst);
    }

    /// Of the files that are read from now on, the one that can't be.
    pub(super) fn fail_read(&self, turn: u64) {
        self.read.store(self.reads.load(Ordering::SeqCst) + turn, Ordering::SeqCst);
    }

    /// No file with this in its path can be read from now on.
    pub(super) fn fail_reads_of(&self, part: &'static str) {
        *self.unreadable.lock() = Some(part);
    }

    /// Nothing fails any more.
    pub(super) fn mend(&self) {
        self.step.store(u64::MAX, Ordering::SeqCst);
        self.read.store(u64::MAX, Ordering::SeqCst);
        *self.unreadable.lock() = None;
    }
}

struct FaultyFile {
    file: Box<dyn AppendFile>,
    files: FaultyFiles,
}

impl FaultyFiles {
    fn new(fault: Fault, turn: u64) -> FaultyFiles {
        FaultyFiles { fault, turns: Arc::new(Turns::at(turn)), struck: Arc::default() }
    }

    /// Files of a disk that is full from some step on, or at that step alone; and that does not give every file back. The
    /// test says when.
    pub(super) fn failing(lasting: bool) -> (FaultyFiles, Arc<Turns>, Arc<AtomicBool>) {
        let files = FaultyFiles::new(Fault { done: Done::Half, errno: ENOSPC, lasting }, u64::MAX);
        let (turns, struck) = (Arc::clone(&files.turns), Arc::clone(&files.struck));
        (files, turns, struck)
    }

    /// Files of which no step fails.
    pub(super) fn sound() -> FaultyFiles {
        FaultyFiles::new(Fault { done: Done::Nothing, errno: EIO, lasting: false }, u64::MAX)
    }

    /// Files of a machine that stops before, within or after its `turn`-th step. Tells whether it came to that.
    pub(super) fn stopping(turn: u64) -> (FaultyFiles, Arc<AtomicBool>) {
        let done = [Done::Nothing, Done::Half, Done::All][turn as usize % 3];
        let files = FaultyFiles::new(Fault { done, errno: EIO, lasting: true }, turn);
        let struck = Arc::clone(&files.struck);
        (files, struck)
    }

    /// Whether a file can't be read this time.
    fn unreadable(&self, path: &Path) -> bool {
        let read = self.turns.reads.fetch_add(1, Ordering::SeqCst);
        let named = |part: &&str| path.to_string_lossy().contains(*part);
        let fails = read == self.turns.read.load(Ordering::SeqCst)
            || self.turns.unreadable.lock().as_ref().is_some_and(named);
        self.struck.fetch_or(fails, Ordering::SeqCst);
        fails
    }

    /// Does a step, or fails at it. `half` does half of it.
    fn step<T>(
        &self,
        whole: impl FnOnce() -> io::Result<T>,
        half: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<T> {
        let (step, turn) =
            (self.turns.steps.fetch_add(1, Ordering::SeqCst), self.turns.step.load(Ordering::SeqCst));
        if step < turn || (step > turn && !self.fault.lasting) {
            return whole();
        }
        if step == turn {
            self.struck.store(true, Ordering::SeqCst);
            match self.fault.done {
                Done::Nothing => {}
                Done::Half => half()?,
                Done::All => drop(whole()?),
            }
        }
        Err(io::Error::from_raw_os_error(self.fault.errno))
    }

    fn wrap(&self, file: Box<dyn AppendFile>) -> Box<dyn AppendFile> {
        Box::new(FaultyFile { file, files: self.clone() })
    }
}

impl AppendFile for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = RefCell::new(&mut self.file);
        let half = || file.borrow_mut().write(&bytes[..bytes.len() / 2]);
        self.files.step(|| file.borrow_mut().write(bytes), half)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.files.step(|| Ok(()), || Ok(()))
    }
}

impl Files for FaultyFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let half = || RealFiles.create(path).map(drop);
        self.step(|| RealFiles.create(path).map(|file| self.wrap(file)), half)
    }

    fn append(&self, path: &Path, length: u64) -> io::Result<Box<dyn AppendFile>> {
        self.step(|| RealFiles.append(path, length).map(|file| self.wrap(file)), || Ok(()))
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        if self.unreadable(path) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        RealFiles.read(path)
    }

    fn open(&self, path: &Path) -> io::Result<Option<Box<dyn Read + Send>>> {
        let file = RealFiles.open(path)?;
        if !self.unreadable(path) {
            return Ok(file);
        }
        // Some of it is read.
        let length = RealFiles.length(path)?.unwrap_or(0);
        Ok(file.map(|file| Box::new(Torn(file.take(length / 2))) as Box<dyn Read + Send>))
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
        // A rename into a folder that is missing is no step yet: the folder is made, and it is tried again.
        if !to.parent().is_some_and(Path::exists) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.step(|| RealFiles.rename(from, to), || Ok(()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|| RealFiles.remove(path), || Ok(()))
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.step(|| RealFiles.create_folder(folder), || Ok(()))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        assert!(folder.is_dir());
        self.step(|| Ok(()), || Ok(()))
    }
}

/// What a run of the script was told, to its end or as far as it came.
#[derive(Debug, Default)]
struct Told {
    /// Commits that were acknowledged.
    acknowledged: u64,
    /// Whether the commit after those was unknown.
    unknown: bool,
    /// The last size that was published for sure.
    published: u64,
}

const STEPS: u64 = 12;
const LEAVES: u64 = 40;

/// Twelve commits of 40 leaves, so that a bundle gets full on the way and a segment after every second; snapshots, of
/// which the first ones go again with the segments before them; four publications.
async fn script(files: Arc<dyn Files>, folder: PathBuf) -> Told {
    let mut told = Told::default();
    let Ok(store) = SledStore::open_on(files, folder.clone(), options()).await else { return told };
    for step in 0..STEPS {
        let failed = match store.commit(store.head(), batch(step, LEAVES)).await {
            Ok(_) => {
                told.acknowledged += 1;
                false
            }
            Err(CommitError::Unknown { reason }) => {
                assert!(names_the_cause(&reason, &folder), "{reason}");
                told.unknown = true;
                true
            }
            Err(CommitError::Poisoned) => true,
            Err(other) => panic!("{other}"),
        };
        store.settle();
        if failed {
            let cause = store.failure().expect("a store that takes no commits says why");
            assert!(names_the_cause(&cause, &folder), "{cause}");
            let again = store.commit(store.head(), batch(step, LEAVES)).await;
            assert_eq!(again, Err(CommitError::Poisoned), "never again on a broken file");
            break;
        }
        if step % 3 == 2 {
            let size = store.head().size;
            // What failed once may be tried again at once.
            for _ in 0..2 {
                let files = vec![("tile/0/000".to_owned(), Bytes::from_static(b"hashes"))];
                let checkpoint = Bytes::from(super::checkpoint(size));
                match store.publish(Publication { size, files, checkpoint }).await {
                    Ok(()) => told.published = size,
                    Err(PublishError::Failed { reason }) => {
                        let cause = store.failure().unwrap_or(reason);
                        assert!(names_the_cause(&cause, &folder), "{cause}");
                        continue;
                    }
                    Err(other) => panic!("{other}"),
                }
                break;
            }
        }
    }
    let seen = store.head();
    assert_eq!(seen.sequence, told.acknowledged, "readers see what was acknowledged, and nothing unknown");
    assert_eq!(store.leaves(0..u64::MAX).await.unwrap().len() as u64, told.acknowledged * LEAVES);
    told
}

/// The operation, the file, and what the system said.
pub(super) fn names_the_cause(text: &str, folder: &Path) -> bool {
    text.contains(folder.to_str().unwrap()) && text.contains("os error")
}

/// Runs the script with a fault at `turn`, opens the store again and judges it. `false` when the script has fewer steps.
async fn check(fault: Fault, turn: u64) -> bool {
    let folder = TempDir::new().unwrap();
    let files = FaultyFiles::new(fault, turn);
    let struck = Arc::clone(&files.struck);
    let told = script(Arc::new(files), folder.path().to_owned()).await;
    let store = SledStore::open_on(Arc::new(FaultyFiles::sound()), folder.path(), options()).await.unwrap();
    let found = store.head().sequence;
    let context = format!("{fault:?} at step {turn}, told {told:?}, found {found}");
    let at_most = told.acknowledged + u64::from(told.unknown);
    assert!((told.acknowledged..=at_most).contains(&found), "{context}");
    let checkpoint = store.file("checkpoint").await.unwrap();
    let size = checkpoint.as_deref().and_then(crate::publishing::checkpoint_size).unwrap_or(0);
    assert!(size >= told.published && size <= store.head().size, "{context}");

    // What is there is what the same commits give where nothing fails; and the store goes on.
    let sound = MemoryStore::new();
    for step in 0..found {
        sound.commit(sound.head(), batch(step, LEAVES)).await.unwrap();
    }
    for step in found..found + 2 {
        store.commit(store.head(), batch(step, LEAVES)).await.unwrap();
        sound.commit(sound.head(), batch(step, LEAVES)).await.unwrap();
    }
    let (mut found, expected) = (content(&store).await, content(&sound).await);
    assert_eq!(found.head.epoch, 1);
    found.head.epoch = expected.head.epoch;
    assert_eq!(found, expected, "{context}");
    assert_eq!(store.failure(), None);
    struck.load(Ordering::SeqCst)
}

/// Every second step: the steps of the other threads fall in between, now here and now there.
async fn check_all(done: Done, errno: i32, lasting: bool) {
    let fault = Fault { done, errno, lasting };
    let mut turn = u64::from(lasting);
    while check(fault, turn).await {
        turn += 2;
    }
    assert!(turn > 150, "the script has more steps than {turn}");
}

#[tokio::test]
async fn steps_that_are_lost_on_a_disk_that_is_gone() {
    check_all(Done::Nothing, EIO, true).await;
}

#[tokio::test]
async fn steps_that_are_lost_once() {
    check_all(Done::Nothing, EIO, false).await;
}

#[tokio::test]
async fn steps_that_are_half_done_on_a_full_disk() {
    check_all(Done::Half, ENOSPC, true).await;
}

#[tokio::test]
async fn steps_that_are_half_done_once() {
    check_all(Done::Half, ENOSPC, false).await;
}

#[tokio::test]
async fn steps_that_are_done_and_denied() {
    check_all(Done::All, EIO, true).await;
}

#[tokio::test]
async fn steps_that_are_done_and_denied_once() {
    check_all(Done::All, EIO, false).await;
}

/// A store with much to recover: sled is gone, so is a bundle, and the newest snapshot is torn.
#[tokio::test]
async fn opening_may_fail_at_any_step_and_is_tried_again() {
    let (model, expected) = snapshots::cleaned().await;
    let newest = snapshots::snapshots(model.path()).pop().unwrap();
    std::fs::write(&newest, b"torn").unwrap();
    std::fs::remove_dir_all(model.path().join("sled")).unwrap();
    let last = (expected.head.size / 256 - 1) as usize;
    std::fs::remove_file(model.path().join(format!("private/entries/{last:03}"))).unwrap();
    for (turn, lasting) in (0..).flat_map(|turn| [(turn, false), (turn, true)]) {
        // One folder further down: the names above the store's folder are made durable too.
        let above = TempDir::new().unwrap();
        let folder = above.path().join("store");
        super::copy(model.path(), &folder);
        let files = FaultyFiles::new(Fault { done: Done::Half, errno: ENOSPC, lasting }, turn);
        let struck = Arc::clone(&files.struck);
        let opened = SledStore::open_on(Arc::new(files), &folder, super::snapshotting()).await;
        if let Err(error) = opened.map(drop) {
            assert!(names_the_cause(&error.to_string(), above.path()), "{error}");
        }
        let store = snapshots::open(&folder).await.unwrap();
        assert_eq!(content(&store).await, expected, "step {turn}");
        if !struck.load(Ordering::SeqCst) {
            assert!(turn > 20, "opening has more steps than {turn}");
            return;
        }
    }
}
