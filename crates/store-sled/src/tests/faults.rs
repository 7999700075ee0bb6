//! Every write, sync and rename of a script fails once, at its turn; after it the store is opened again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use countersign_store::memory::MemoryStore;
use countersign_store::{CommitError, Publication, PublishError, Store};
use tempfile::TempDir;

use super::{batch, content, open, options};
use crate::SledStore;
use crate::files::{AppendFile, Files, RealFiles};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Nothing of it was done.
    Lost,
    /// Half of what was to be written was.
    Half,
    /// All of it was done, and an error returned.
    Persisted,
}

/// Files of which the `turn`-th durable step fails, and every one after it: a disk that is gone.
///
/// Nothing is really synced: that makes a difference to a machine that loses power, not to these tests, and thousands
/// of syncs take long on a busy disk.
pub(super) struct FaultyFiles {
    fault: Fault,
    turn: u64,
    steps: Arc<AtomicU64>,
    struck: Arc<AtomicBool>,
}

struct FaultyFile {
    file: Box<dyn AppendFile>,
    files: FaultyFiles,
}

impl FaultyFiles {
    fn new(fault: Fault, turn: u64) -> FaultyFiles {
        FaultyFiles { fault, turn, steps: Arc::default(), struck: Arc::default() }
    }

    /// Files of which no step fails.
    pub(super) fn sound() -> FaultyFiles {
        FaultyFiles::new(Fault::Lost, u64::MAX)
    }

    fn share(&self) -> FaultyFiles {
        FaultyFiles { steps: Arc::clone(&self.steps), struck: Arc::clone(&self.struck), ..*self }
    }

    /// Does a step, or fails at it. `half` does half of it.
    fn step(
        &self,
        whole: impl FnOnce() -> io::Result<()>,
        half: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let step = self.steps.fetch_add(1, Ordering::SeqCst);
        if step < self.turn {
            return whole();
        }
        if step == self.turn {
            self.struck.store(true, Ordering::SeqCst);
            match self.fault {
                Fault::Lost => {}
                Fault::Half => half()?,
                Fault::Persisted => whole()?,
            }
        }
        Err(io::Error::other("the disk is gone"))
    }

    fn wrap(&self, file: Box<dyn AppendFile>) -> Box<dyn AppendFile> {
        Box::new(FaultyFile { file, files: self.share() })
    }
}

impl AppendFile for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = std::cell::RefCell::new(&mut self.file);
        self.files
            .step(|| file.borrow_mut().write(bytes), || file.borrow_mut().write(&bytes[..bytes.len() / 2]))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.files.step(|| Ok(()), || Ok(()))
    }
}

impl Files for FaultyFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        RealFiles.create(path).map(|file| self.wrap(file))
    }

    fn append(&self, path: &Path, length: u64) -> io::Result<Box<dyn AppendFile>> {
        RealFiles.append(path, length).map(|file| self.wrap(file))
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        RealFiles.read(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealFiles.exists(path)
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
        RealFiles.remove(path)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        RealFiles.create_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        assert!(folder.is_dir());
        self.step(|| Ok(()), || Ok(()))
    }
}

/// What a run of the script was told, before the disk was gone or to its end.
#[derive(Debug, Default)]
struct Told {
    /// Commits that were acknowledged.
    acknowledged: u64,
    /// Whether the commit after those was unknown.
    unknown: bool,
    /// The last size that was published for sure.
    published: u64,
}

const STEPS: u64 = 6;
const LEAVES: u64 = 60;

/// Six commits of 60 leaves, so that a bundle gets full on the way, two publications, several segments.
async fn script(files: Arc<dyn Files>, folder: PathBuf) -> Told {
    let mut told = Told::default();
    let Ok(store) = SledStore::open_on(files, folder, options()).await else { return told };
    for step in 0..STEPS {
        match store.commit(store.head(), batch(step, LEAVES)).await {
            Ok(_) => told.acknowledged += 1,
            Err(CommitError::Unknown { .. }) => {
                told.unknown = true;
                let again = store.commit(store.head(), batch(step, LEAVES)).await;
                assert_eq!(again, Err(CommitError::Poisoned), "never again on a broken file");
                break;
            }
            Err(CommitError::Poisoned) => break,
            Err(other) => panic!("{other}"),
        }
        if step % 3 == 2 {
            let size = store.head().size;
            let files = vec![("tile/0/000".to_owned(), Bytes::from_static(b"hashes"))];
            let checkpoint = Bytes::from(format!("log.example\n{size}\nroot\n"));
            match store.publish(Publication { size, files, checkpoint }).await {
                Ok(()) => told.published = size,
                Err(PublishError::Failed { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
    let seen = store.head();
    assert_eq!(seen.sequence, told.acknowledged, "readers see what was acknowledged, and nothing unknown");
    assert_eq!(store.leaves(0..u64::MAX).await.unwrap().len() as u64, told.acknowledged * LEAVES);
    told
}

/// Runs the script with a fault at `turn`, opens the store again and judges it. `false` when the script has fewer steps.
async fn check(fault: Fault, turn: u64) -> bool {
    let folder = TempDir::new().unwrap();
    let files = FaultyFiles::new(fault, turn);
    let struck = Arc::clone(&files.struck);
    let told = script(Arc::new(files), folder.path().to_owned()).await;
    let store = open(folder.path()).await.unwrap();
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
    struck.load(Ordering::SeqCst)
}

async fn check_all(fault: Fault) {
    let mut turn = 0;
    while check(fault, turn).await {
        turn += 1;
    }
    assert!(turn > 40, "the script has more steps than {turn}");
}

#[tokio::test]
async fn steps_that_are_lost() {
    check_all(Fault::Lost).await;
}

#[tokio::test]
async fn steps_that_are_half_done() {
    check_all(Fault::Half).await;
}

#[tokio::test]
async fn steps_that_are_done_and_denied() {
    check_all(Fault::Persisted).await;
}
