//! Opening a log again.

use std::fs;
use std::path::Path;

use super::*;
use crate::{MAX_STREAM_PAGE, OpenError};
use countersign_store_sled::{Options, SledStore};
use faulty::Faulty;

async fn open_folder(folder: &Path) -> (Ledger, Arc<SledStore>) {
    let store = Arc::new(SledStore::open(folder, Options::default()).await.unwrap());
    (open(&store).await, store)
}

/// All that a caller can read.
async fn all(ledger: &Ledger) -> (SignedCheckpoint, Vec<Bytes>, Vec<crate::StreamItem>, crate::Counter) {
    let size = ledger.latest().size();
    (
        (*ledger.latest()).clone(),
        ledger.leaves(0..size).await.unwrap(),
        ledger.stream(&"partners/hopp".into(), 0, MAX_STREAM_PAGE).await.unwrap(),
        ledger.count(b"uses").await.unwrap(),
    )
}

fn using(id: u32) -> Unit {
    Unit {
        records: vec![Draft { grant: Some("grants/1".into()), ..draft(id, &["partners/hopp"]) }],
        ceilings: vec![ceiling("uses", 10_000)],
        request: Some(request(&id.to_string(), 1)),
        ..Unit::default()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    let (ledger, store) = open_folder(&live).await;
    let mut done = 0;
    for (round, count) in [1, 255, 1, 300].into_iter().enumerate() {
        let outcomes = together(&ledger, (done..done + count).map(using).collect()).await;
        done += count;
        for outcome in outcomes {
            verify(&committed(outcome).receipts[0]);
        }
        // What a process leaves behind that is killed here, before its head is published.
        let killed = folder.path().join(format!("killed {round}"));
        copy(&live, &killed);
        let expected = all(&ledger).await;
        let (reopened, _store) = open_folder(&killed).await;
        assert_eq!(all(&reopened).await, expected);
        assert_eq!(reopened.published().size(), u64::from(done));
        check_world(&reopened).await;
        // It goes on where it was.
        let repeated = reopened.submit(using(0)).await.unwrap();
        assert!(matches!(repeated, Outcome::Replayed { first_index: 0, .. }));
        let next = committed(reopened.submit(using(done)).await);
        assert_eq!(next.counts, [u64::from(done) + 1]);
        assert_eq!(record(&next.receipts[0]).grant_sequence, u64::from(done) + 1);
        let proof = reopened.consistency(u64::from(done), u64::from(done) + 1).await.unwrap();
        let (old, new) = (&expected.0, verify(&next.receipts[0]));
        countersign_tlog::proof::verify_consistency(old.size(), old.root(), new.size(), new.root(), &proof)
            .unwrap();
        reopened.shutdown().await;
        check_world(&reopened).await;
    }
    assert!(store.head().sequence < u64::from(done), "units went out together");

    let expected = all(&ledger).await;
    ledger.shutdown().await;
    store.close().await.unwrap();
    drop((ledger, store));
    let (reopened, _store) = open_folder(&live).await;
    assert_eq!(all(&reopened).await, expected);
    check_world(&reopened).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiles_that_are_gone_or_damaged_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, store) = open_folder(folder.path()).await;
    together(&ledger, (0..1_700).map(using).collect()).await;
    let expected = all(&ledger).await;
    ledger.shutdown().await;
    store.close().await.unwrap();
    drop((ledger, store));
    let tiles = folder.path().join("log/tile");
    let damages: [fn(&Path); 12] = [
        |tiles| fs::remove_file(tiles.join("../checkpoint")).unwrap(),
        |tiles| {
            let checkpoint = tiles.join("../checkpoint");
            let whole = fs::read(&checkpoint).unwrap();
            fs::write(&checkpoint, &whole[..whole.len() - 9]).unwrap();
        },
        |tiles| fs::write(tiles.join("../checkpoint"), b"").unwrap(),
        |tiles| fs::remove_file(tiles.join("0/000")).unwrap(),
        |tiles| fs::write(tiles.join("0/001"), b"short").unwrap(),
        |tiles| fs::remove_file(tiles.join("1/000.p/6")).unwrap(),
        |tiles| fs::write(tiles.join("0/006.p/164"), b"").unwrap(),
        |tiles| {
            fs::remove_file(tiles.join("0/000")).unwrap();
            fs::remove_file(tiles.join("1/000.p/6")).unwrap();
        },
        |tiles| fs::remove_dir_all(tiles.join("0")).unwrap(),
        |tiles| fs::remove_dir_all(tiles.join("1")).unwrap(),
        |tiles| fs::write(tiles.join("0/005"), vec![0; 8_192]).unwrap(),
        |tiles| fs::write(tiles.join("0/006.p/164"), b"short").unwrap(),
    ];
    for damage in damages {
        damage(&tiles);
        let (ledger, store) = open_folder(folder.path()).await;
        assert_eq!(all(&ledger).await, expected);
        check_world(&ledger).await;
        ledger.shutdown().await;
        store.close().await.unwrap();
        drop((ledger, store));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_does_not_hold_is_not_given_out() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, store) = open_folder(folder.path()).await;
    together(&ledger, (0..1_700).map(using).collect()).await;
    ledger.shutdown().await;
    store.close().await.unwrap();
    drop((ledger, store));
    // Of the right length, and so far back that opening doesn't read it.
    let tile = folder.path().join("log/tile/0/000");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[40] ^= 1;
    fs::write(tile, bytes).unwrap();
    let (ledger, _store) = open_folder(folder.path()).await;
    for (index, sound) in [(0, false), (5, false), (255, false), (256, true), (1_699, true)] {
        let proof = ledger.proof(index).await;
        assert_eq!(proof.is_ok(), sound, "{index}: {proof:?}");
    }
}

#[tokio::test]
async fn a_checkpoint_that_the_leaves_do_not_carry_stops_the_opening() {
    async fn check(store: &Arc<Faulty>, expected: impl Fn(&OpenError) -> bool) {
        let dynamic: Arc<dyn Store> = store.clone();
        let error = Ledger::open(dynamic, key(), TestClock::new().now()).await.err().unwrap();
        assert!(expected(&error), "{error}");
    }
    let (mine, other) = (Arc::new(Faulty::default()), Arc::new(Faulty::default()));
    for (store, name) in [(&mine, "mine"), (&other, "other")] {
        let ledger = open(store).await;
        together(&ledger, (0..300).map(|id| unit(format!("{name} {id}"))).collect()).await;
        ledger.shutdown().await;
    }
    let checkpoint = |bytes: Option<Bytes>| *mine.checkpoint.lock() = bytes;

    let of_other = other.file("checkpoint").await.unwrap();
    checkpoint(of_other);
    check(&mine, |error| matches!(error, OpenError::Forked { size: 300, .. })).await;

    let longer = SignedCheckpoint::sign(&key(), 301, leaf_hash(b"whatever")).unwrap();
    checkpoint(Some(longer.as_bytes().clone()));
    check(&mine, |error| *error == OpenError::Short { published: 301, size: 300 }).await;

    let another = SignerKey::from_seed(KeyName::parse("log.example/1").unwrap(), &[8; 32]);
    let foreign = SignedCheckpoint::sign(&another, 1, leaf_hash(b"whatever")).unwrap();
    checkpoint(Some(foreign.as_bytes().clone()));
    check(&mine, |error| matches!(error, OpenError::Checkpoint(_))).await;

    checkpoint(None);
    let ledger = open(&mine).await;
    check_world(&ledger).await;
}

#[tokio::test]
async fn a_log_without_a_checkpoint_is_published_from_its_leaves() {
    let store = Arc::new(MemoryStore::new());
    let mut batch = countersign_store::Batch::default();
    for id in 0..5_000_u32 {
        let record = draft(id, &[]).record.encode_to_vec().into();
        batch.leaves.push(countersign_store::Leaf { record, private: Bytes::new() });
    }
    store.commit(store.head(), batch).await.unwrap();
    let ledger = open(&store).await;
    assert_eq!(ledger.published().size(), 5_000);
    check_world(&ledger).await;
}
