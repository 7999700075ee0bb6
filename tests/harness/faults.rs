//! A disk that fails under a whole broker.
//!
//! Each durable step of a commit fails, once or for good: the client is told that the log is unavailable, the broker
//! says why and ends, and the next one finds everything that was acknowledged. The steps that nobody waits for are in
//! [`background`].

mod background;
mod files;

use std::{fs, path::Path, sync::Arc};

use countersign_broker::{private::Kek, surface::Ended};
use countersign_client::PartnerEvent;
use countersign_proto::v1::Receipt;
use countersign_store::Store;
use countersign_store_sled::{Options, SledStore};
use countersign_tlog::{Hash, KeyName, SignedCheckpoint, SignerKey};
use tonic::{Code, Streaming};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

use self::files::{BROKEN, DISK_FULL, FailingFiles, Failure, Step, Within, Writer};
use crate::{
    restart::{close, open},
    world::{Granted, ORIGIN, PATIENCE, World, bare_fetch, reason_of},
    worldcheck::{self, Keys},
};

/// Segments so short that every commit begins one: then each has all the steps that there are.
const SEGMENT_BYTES: u64 = 64;

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
    let health = watch_health(&granted.world).await;

    files.fail(failure);
    let said = reason_of(granted.send(&bare_fetch(&granted).await).await);
    assert_eq!((said.code, said.reason.as_str()), (Code::Unavailable, "LOG_UNAVAILABLE"), "{failure:?}");
    // It takes nothing any more, even where the disk is sound again; it says why; and what stands can be read.
    let ledger = granted.world.broker.ledger().clone();
    let why = ledger.failure().expect("it says why");
    assert!(why.contains(&failure.cause()), "{failure:?}: {why}");
    assert!(!ledger.is_available());
    let leaves = ledger.leaves(0..u64::MAX).await.expect("reads go on");
    assert_eq!(leaves[usize::try_from(kept.index).expect("small")], kept.record);
    says_that_it_does_not_serve(health).await;
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

/// What the broker says of its health from here on, now that it serves.
async fn watch_health(world: &World) -> Streaming<HealthCheckResponse> {
    let channel = tonic::transport::Channel::from_shared(world.trust.address.clone()).expect("a URL");
    let mut health = HealthClient::new(channel.connect().await.expect("connects"));
    let mut health = health.watch(HealthCheckRequest::default()).await.expect("answers").into_inner();
    let first = health.message().await.expect("says").expect("something");
    assert_eq!(first.status(), ServingStatus::Serving);
    health
}

/// It says so, or is gone before it could.
async fn says_that_it_does_not_serve(mut health: Streaming<HealthCheckResponse>) {
    let next = tokio::time::timeout(PATIENCE, health.message()).await.expect("it doesn't hang");
    if let Ok(Some(next)) = next {
        assert_eq!(next.status(), ServingStatus::NotServing);
    }
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

/// A step of a commit: in the journal's own files, or in a new segment on its way.
fn commits(step: Step, within: Within, error: i32, for_good: bool) -> Failure {
    Failure { writer: Writer::Commits, step, within, error, for_good }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_acknowledges_nothing() {
    check(commits(Step::Write, Within::Journal, DISK_FULL, true)).await;
    check(commits(Step::Write, Within::Scratch, DISK_FULL, false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_acknowledges_nothing() {
    check(commits(Step::Sync, Within::Journal, BROKEN, false)).await;
    check(commits(Step::Sync, Within::Scratch, DISK_FULL, true)).await;
    check(commits(Step::SyncFolder, Within::Journal, BROKEN, true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_or_a_file_that_cant_be_made_acknowledges_nothing() {
    check(commits(Step::Rename, Within::Journal, DISK_FULL, false)).await;
    check(commits(Step::Open, Within::Scratch, DISK_FULL, true)).await;
    check(commits(Step::Open, Within::Journal, BROKEN, false)).await;
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

pub(crate) fn copy(from: &Path, to: &Path) {
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
