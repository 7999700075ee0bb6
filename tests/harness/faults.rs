//! A disk that fails under a whole broker.
//!
//! Each durable step of a commit fails, once or for good: the client is told that the log is unavailable, the broker
//! says why and ends, and the next one finds everything that was acknowledged.

use std::{
    fs,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use countersign_broker::{private::Kek, surface::Ended};
use countersign_client::PartnerEvent;
use countersign_proto::v1::Receipt;
use countersign_store::Store;
use countersign_store_sled::{
    Options, SledStore,
    files::{AppendFile, Files, RealFiles},
};
use countersign_tlog::{Hash, KeyName, SignedCheckpoint, SignerKey};
use parking_lot::Mutex;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    restart::{close, open},
    world::{Granted, ORIGIN, PATIENCE, World, bare_fetch, reason_of},
    worldcheck::{self, Keys},
};

/// The thread of the engine that commits: only what it does is a commit's step.
const COMMITS: &str = "store-commits";

/// `ENOSPC` and `EIO`, by their numbers on Linux and the BSDs.
const DISK_FULL: i32 = 28;
const BROKEN: i32 = 5;

/// Segments so short that every commit begins one: then each has all the steps that there are.
const SEGMENT_BYTES: u64 = 64;

/// A step of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A file is made, or opened to append to it.
    Open,
    Write,
    Sync,
    Rename,
    SyncFolder,
}

/// What fails.
#[derive(Clone, Copy, Debug)]
struct Failure {
    step: Step,
    /// Whether it is the journal's own file that it happens to, or a new segment on its way.
    in_journal: bool,
    error: i32,
    /// It fails from here on, and not just this time.
    for_good: bool,
}

/// Files that fail when they are told to.
#[derive(Clone, Default)]
struct FailingFiles(Arc<Mutex<Option<Failure>>>);

struct FailingFile {
    file: Box<dyn AppendFile>,
    in_journal: bool,
    files: FailingFiles,
}

impl FailingFiles {
    fn step(&self, step: Step, in_journal: bool) -> io::Result<()> {
        let mut armed = self.0.lock();
        match *armed {
            Some(failure)
                if failure.step == step
                    && failure.in_journal == in_journal
                    && std::thread::current().name() == Some(COMMITS) =>
            {
                if !failure.for_good {
                    *armed = None;
                }
                Err(io::Error::from_raw_os_error(failure.error))
            }
            _ => Ok(()),
        }
    }

    fn wrap(&self, path: &Path, file: Box<dyn AppendFile>) -> Box<dyn AppendFile> {
        Box::new(FailingFile { file, in_journal: in_journal(path), files: self.clone() })
    }
}

fn in_journal(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "journal")
}

impl Files for FailingFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        self.step(Step::Open, in_journal(path))?;
        RealFiles.create(path).map(|file| self.wrap(path, file))
    }

    fn append(&self, path: &Path, length: u64) -> io::Result<Box<dyn AppendFile>> {
        self.step(Step::Open, in_journal(path))?;
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
        self.step(Step::Rename, in_journal(to))?;
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove(path)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        RealFiles.create_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step(Step::SyncFolder, in_journal(folder))?;
        RealFiles.sync_folder(folder)
    }
}

impl AppendFile for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(full) = self.files.step(Step::Write, self.in_journal) {
            // A disk that gets full takes what still fits.
            self.file.write(&bytes[..bytes.len() / 2])?;
            return Err(full);
        }
        self.file.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.files.step(Step::Sync, self.in_journal)?;
        self.file.sync()
    }
}

/// Lets a disk fail under a broker at work, and judges what everybody saw; then opens it again on a sound one.
async fn check(failure: Failure) {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("store");
    let files = FailingFiles::default();
    let options = Options { segment_bytes: SEGMENT_BYTES, ..Options::default() };
    let store = SledStore::open_on(Arc::new(files.clone()), &folder, options).await.expect("opens");
    let store = Arc::new(store);
    let granted = World::on(Arc::clone(&store) as Arc<dyn Store>).await.with_grant().await;
    let keys = keys(&granted.world);
    let kept = granted.send(&bare_fetch(&granted).await).await.expect("released").receipt.expect("set");
    let channel = tonic::transport::Channel::from_shared(granted.world.trust.address.clone()).expect("a URL");
    let mut health = HealthClient::new(channel.connect().await.expect("connects"));
    let mut health = health.watch(HealthCheckRequest::default()).await.expect("answers").into_inner();
    let first = health.message().await.expect("says").expect("something");
    assert_eq!(first.status(), ServingStatus::Serving);

    *files.0.lock() = Some(failure);
    let said = reason_of(granted.send(&bare_fetch(&granted).await).await);
    assert_eq!((said.code, said.reason.as_str()), (Code::Unavailable, "LOG_UNAVAILABLE"), "{failure:?}");
    // It takes nothing any more, even where the disk is sound again; it says why; and what stands can be read.
    let ledger = granted.world.broker.ledger().clone();
    let why = ledger.failure().expect("it says why");
    assert!(why.contains(&io::Error::from_raw_os_error(failure.error).to_string()), "{failure:?}: {why}");
    assert!(!ledger.is_available());
    let leaves = ledger.leaves(0..u64::MAX).await.expect("reads go on");
    assert_eq!(leaves[usize::try_from(kept.index).expect("small")], kept.record);
    let next = tokio::time::timeout(PATIENCE, health.message()).await.expect("it doesn't hang");
    if let Ok(Some(next)) = next {
        assert_eq!(next.status(), ServingStatus::NotServing, "{failure:?}");
    }
    drop(health);
    let Granted { world, .. } = granted;
    assert_eq!(world.ends().await, Ended::LogUnavailable, "{failure:?}");
    drop(ledger);
    close_failed(store).await;

    let store = open(&folder).await;
    let world = World::on(Arc::clone(&store) as Arc<dyn Store>).await;
    world.brand("chirp").await;
    world.end().await;
    close(store).await;
    let summary =
        worldcheck::disk(&folder, &keys).await.unwrap_or_else(|found| panic!("{failure:?}: {found}"));
    assert_eq!(summary.records[..leaves.len()], leaves, "{failure:?}");
    let handed_out = SignedCheckpoint::verify(kept.checkpoint, &keys.log).expect("signed");
    summary.contains(&handed_out).expect("it is consistent with the log now");
}

/// Closes a store that failed when nobody holds it any more. That it can't close cleanly is no wonder.
async fn close_failed(store: Arc<SledStore>) {
    let let_go = async {
        while Arc::strong_count(&store) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, let_go).await.expect("an ended broker holds nothing");
    // The journal has everything.
    drop(store.close().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_acknowledges_nothing() {
    check(Failure { step: Step::Write, in_journal: true, error: DISK_FULL, for_good: true }).await;
    check(Failure { step: Step::Write, in_journal: false, error: DISK_FULL, for_good: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_acknowledges_nothing() {
    check(Failure { step: Step::Sync, in_journal: true, error: BROKEN, for_good: false }).await;
    check(Failure { step: Step::Sync, in_journal: false, error: DISK_FULL, for_good: true }).await;
    check(Failure { step: Step::SyncFolder, in_journal: true, error: BROKEN, for_good: true }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_or_a_file_that_cant_be_made_acknowledges_nothing() {
    check(Failure { step: Step::Rename, in_journal: true, error: DISK_FULL, for_good: false }).await;
    check(Failure { step: Step::Open, in_journal: false, error: DISK_FULL, for_good: true }).await;
    check(Failure { step: Step::Open, in_journal: true, error: BROKEN, for_good: false }).await;
}

/// What checks the disk of every [`World`].
fn keys(world: &World) -> Keys {
    Keys { log: world.trust.log_key.clone(), broker: Some(Kek::new([4; 32])) }
}

/// Makes the folder of a broker that ended, after one of nearly everything. Returns the keys that check it, and a receipt
/// that was handed out on the way.
async fn lived_in(folder: &Path) -> (Keys, Receipt) {
    let store = open(folder).await;
    let granted = World::on(Arc::clone(&store) as Arc<dyn Store>).await.with_grant().await;
    let Granted { skylark, mei, grant, .. } = &granted;
    for _ in 0..3 {
        granted.fetch().await.expect("flows");
    }
    mei.pause(grant).await.expect("pauses");
    granted.fetch().await.expect_err("paused");
    mei.resume(grant).await.expect("resumes");
    skylark.hears(|event| matches!(event, PartnerEvent::Resumed { .. }).then_some(())).await;
    let fetch = bare_fetch(&granted).await;
    let released = granted.send(&fetch).await.expect("released");
    granted.send(&fetch).await.expect("repeated");
    mei.stop(grant, false).await.expect("stops");
    granted.approve_one().await;
    granted.world.suspend(&granted.hopp).await;
    let keys = keys(&granted.world);
    granted.world.end().await;
    close(store).await;
    (keys, released.receipt.expect("set"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copies");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_world_check_passes_a_sound_disk_and_finds_what_is_harmed() {
    let folders = tempfile::tempdir().expect("a folder");
    let sound = folders.path().join("sound");
    let (keys, receipt) = Box::pin(lived_in(&sound)).await;
    let check = async |name: &str, harm: &dyn Fn(&Path)| {
        let folder = folders.path().join(name);
        copy(&sound, &folder);
        harm(&folder);
        worldcheck::disk(&folder, &keys).await
    };
    let summary = check("copy", &|_| {}).await.expect("all of it holds");
    assert!(summary.published == summary.head.size && summary.head.size > 20);
    assert_eq!(summary.records[usize::try_from(receipt.index).expect("small")], receipt.record);
    let handed_out = SignedCheckpoint::verify(receipt.checkpoint, &keys.log).expect("signed");
    summary.contains(&handed_out).expect("it is consistent with the log now");
    let log_key = SignerKey::from_seed(KeyName::parse(ORIGIN).expect("a name"), &[1; 32]);
    let forked = SignedCheckpoint::sign(&log_key, handed_out.size(), Hash::from_bytes([7; 32]));
    summary.contains(&forked.expect("not empty")).expect_err("another root");

    let flip = |path: &Path| {
        let mut bytes = fs::read(path).expect("it is there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).expect("writes");
    };
    let size = summary.head.size;
    let (tile, bundle) = (format!("log/tile/0/000.p/{size}"), format!("log/tile/entries/000.p/{size}"));
    for (name, said) in [("log/checkpoint", "checkpoint"), (&tile, "tile/0"), (&bundle, "entries")] {
        let found = check(name, &|folder| flip(&folder.join(name))).await.err().expect("found");
        assert!(found.0.contains(said), "{name}: {found}");
    }
    let missing = check("missing", &|folder| fs::remove_file(folder.join(&tile)).expect("removes")).await;
    assert!(missing.err().expect("found").0.contains("is missing"));
    let stray = |folder: &Path| fs::write(folder.join("log/tile/0/000"), [0; 8_192]).expect("writes");
    assert!(check("stray", &stray).await.err().expect("found").0.contains("is beyond"));
}
