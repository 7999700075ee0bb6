//! The ledger over the memory engine, and where it has to be opened again over the embedded one.

mod concurrency;
mod faulty;
mod outcomes;
mod proofs;
mod publishing;
mod recovery;
mod requests;
mod streams;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use countersign_proto::log::v1::{Kind, Record};
use countersign_store::Store;
use countersign_store::memory::MemoryStore;
use countersign_tlog::hash::leaf_hash;
use countersign_tlog::{KeyName, ProvenRecord, SignedCheckpoint, SignerKey, TileStream};
use prost::Message;
use tokio::task::JoinSet;

use crate::{
    Ceiling, Committed, Draft, Ledger, Now, Outcome, Receipt, Request, StreamKey, SubmitError, Unit,
};

const START: u64 = 1_700_000_000_000;

fn key() -> SignerKey {
    SignerKey::from_seed(KeyName::parse("log.example/1").unwrap(), &[7; 32])
}

/// A clock that stands still until it is set.
#[derive(Clone)]
struct TestClock(Arc<AtomicU64>);

impl TestClock {
    fn new() -> TestClock {
        TestClock(Arc::new(AtomicU64::new(START)))
    }

    fn set(&self, time_ms: u64) {
        self.0.store(time_ms, Ordering::SeqCst);
    }

    fn now(&self) -> Now {
        let clock = self.0.clone();
        Arc::new(move || clock.load(Ordering::SeqCst))
    }
}

async fn open(store: &Arc<impl Store>) -> Ledger {
    let store: Arc<dyn Store> = store.clone();
    Ledger::open(store, key(), TestClock::new().now()).await.unwrap()
}

async fn fresh() -> (Ledger, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new());
    (open(&store).await, store)
}

/// A unit with one record that no other has.
fn unit(id: impl ToString) -> Unit {
    Unit { records: vec![draft(id, &[])], ..Unit::default() }
}

#[expect(clippy::needless_pass_by_value, reason = "ids are literals and loop counters")]
fn draft(id: impl ToString, streams: &[&str]) -> Draft {
    let record = Record {
        version: 1,
        kind: Kind::Transfer.into(),
        record_id: id.to_string().into(),
        ..Record::default()
    };
    let streams = streams.iter().map(|stream| StreamKey::from(*stream)).collect();
    Draft { record, private: Bytes::from(format!("private {}", id.to_string())), streams, grant: None }
}

fn ceiling(counter: &str, at_most: u64) -> Ceiling {
    Ceiling { counter: counter.into(), window_ms: None, at_most, numbers_record: true }
}

fn request(key: &str, digest: u8) -> Request {
    Request { key: key.into(), digest: [digest; 32], answer: Bytes::from(format!("answer to {key}")) }
}

fn put(key: &str, value: &str) -> (Vec<u8>, Bytes) {
    (key.into(), Bytes::copy_from_slice(value.as_bytes()))
}

#[track_caller]
fn committed(outcome: Result<Outcome, SubmitError>) -> Committed {
    match outcome {
        Ok(Outcome::Committed(committed)) => committed,
        other => panic!("not committed: {other:?}"),
    }
}

fn record(receipt: &Receipt) -> Record {
    Record::decode(receipt.record.clone()).unwrap()
}

/// Submits all at once, so that on a runtime of one thread one batch takes them up, in this order.
async fn together(ledger: &Ledger, units: Vec<Unit>) -> Vec<Result<Outcome, SubmitError>> {
    let mut tasks = JoinSet::new();
    for (place, unit) in units.into_iter().enumerate() {
        let ledger = ledger.clone();
        tasks.spawn(async move { (place, ledger.submit(unit).await) });
    }
    let mut outcomes = tasks.join_all().await;
    outcomes.sort_by_key(|(place, _)| *place);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Verifies a receipt as its holder would, and gives the checkpoint.
#[track_caller]
fn verify(receipt: &Receipt) -> SignedCheckpoint {
    let checkpoint = SignedCheckpoint::verify(receipt.checkpoint.clone(), key().verifier()).unwrap();
    ProvenRecord::verify(&receipt.record, receipt.index, &receipt.path, checkpoint.clone()).unwrap();
    checkpoint
}

/// Recomputes from the leaves all that follows from them: heads, tiles, times.
async fn check_world(ledger: &Ledger) {
    let store = ledger.store();
    let size = store.head().size;
    let leaves = ledger.leaves(0..size).await.unwrap();
    assert_eq!(ledger.private_parts(0..size).await.unwrap().len() as u64, size);
    let (latest, published) = (ledger.latest(), ledger.published());
    let on_disk = store.file("checkpoint").await.unwrap().unwrap();
    assert_eq!(SignedCheckpoint::verify(on_disk, ledger.verifier()).unwrap(), *published);
    assert!(published.size() <= latest.size() && latest.size() == size);

    let mut tiles = TileStream::new();
    let mut files = Vec::new();
    let mut time_ms = 0;
    for leaf in &leaves {
        if tiles.size() == published.size() {
            files.extend(tiles.partial_tiles());
            assert_eq!(tiles.root(), *published.root());
        }
        let full = tiles.append(leaf_hash(leaf));
        if tiles.size() <= published.size() {
            files.extend(full);
        }
        let record = Record::decode(leaf.clone()).unwrap();
        assert!(record.time_ms >= time_ms, "time runs backwards");
        time_ms = record.time_ms;
    }
    assert_eq!(tiles.root(), *latest.root());
    if tiles.size() == published.size() {
        files.extend(tiles.partial_tiles());
    }
    for (coord, tile) in files {
        let file = store.file(&coord.path()).await.unwrap();
        assert_eq!(file.as_ref(), Some(tile.as_bytes()), "{coord}");
    }
}
