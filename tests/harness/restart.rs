//! A broker that ends and starts again on the same folder: the same log, in which every old proof holds.

use std::{path::Path, sync::Arc};

use countersign_client::Connection;
use countersign_grants::{id::Principal, statement::Fetch};
use countersign_proto::v1::{FetchDataRequest, Receipt};
use countersign_store::Store;
use countersign_store_sled::{Options, SledStore};
use countersign_tlog::{
    SignedCheckpoint,
    hash::{Hash, leaf_hash},
    proof::{verify_consistency, verify_inclusion},
};

use crate::{
    journey::check_world,
    world::{Granted, PATIENCE, World, bare_fetch, reason_of, sign_as},
};

pub(crate) async fn open(folder: &Path) -> Arc<SledStore> {
    Arc::new(SledStore::open(folder, Options::default()).await.expect("opens"))
}

/// Closes the store when nobody holds it but this test.
pub(crate) async fn close(store: Arc<SledStore>) {
    let let_go = async {
        while Arc::strong_count(&store) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, let_go).await.expect("an ended broker holds nothing");
    store.close().await.expect("closes");
}

/// The checkpoint of a receipt, with the record proven in it.
fn proven(world: &World, receipt: &Receipt) -> SignedCheckpoint {
    let head = SignedCheckpoint::verify(receipt.checkpoint.clone(), &world.trust.log_key).expect("signed");
    let path: Vec<_> =
        receipt.path.iter().map(|hash| Hash::from_bytes(hash[..].try_into().expect("32 bytes"))).collect();
    verify_inclusion(receipt.index, head.size(), &leaf_hash(&receipt.record), &path, head.root())
        .expect("the record is in the log");
    head
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_every_record_and_every_proof() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("store");
    let store = open(&folder).await;
    let granted = World::on(Arc::clone(&store) as Arc<dyn Store>).await.with_grant().await;
    let fetch = bare_fetch(&granted).await;
    let mut receipts = Vec::new();
    for fetch in [&fetch, &bare_fetch(&granted).await] {
        let released = granted.send(fetch).await.expect("released");
        receipts.push(released.receipt.expect("set"));
    }
    let Granted { world, hopp, grant, .. } = granted;
    let ledger = world.broker.ledger().clone();
    world.end().await;
    let records = ledger.leaves(0..u64::MAX).await.expect("reads");
    let head = ledger.latest();
    drop(ledger);
    close(store).await;

    let store = open(&folder).await;
    let world = World::on(Arc::clone(&store) as Arc<dyn Store>).await;
    assert_eq!(world.broker.ledger().leaves(0..u64::MAX).await.expect("reads"), records);
    assert_eq!(world.broker.ledger().latest().as_bytes(), head.as_bytes());
    check_world(&world.records().await);
    let stands = world.broker.grant(&grant).await.expect("reads").expect("stands");
    assert_eq!(stands.spent.uses, 2);

    // The log goes on, and begins with what stood in it.
    world.brand("chirp").await;
    let ledger = world.broker.ledger();
    let latest = ledger.latest();
    assert!(latest.size() > head.size());
    for receipt in &receipts {
        let old = proven(&world, receipt);
        let proof = ledger.consistency(old.size(), latest.size()).await.expect("a proof");
        verify_consistency(old.size(), old.root(), latest.size(), latest.root(), &proof).expect("consistent");
        let anew = ledger.proof(receipt.index).await.expect("a proof");
        assert_eq!(anew.record, receipt.record);
        let now = SignedCheckpoint::verify(anew.checkpoint, &world.trust.log_key).expect("signed");
        verify_inclusion(anew.index, now.size(), &leaf_hash(&anew.record), &anew.path, now.root())
            .expect("the record is still in the log");
    }

    // What a request id was used for is not forgotten.
    let principal = Principal::Partner(hopp.name().clone());
    let connection = Connection::open(&world.trust, principal, &hopp.working, Arc::new(world.clock.clone()));
    let mut other = fetch;
    other.fields.pop();
    let statement = Some(sign_as::<Fetch>(&hopp.working, &other));
    let answer = connection.expect("opens").transfers().fetch_data(FetchDataRequest { statement }).await;
    assert_eq!(reason_of(answer).reason, "REQUEST_ID_REUSED");
    world.end().await;
    close(store).await;
}
