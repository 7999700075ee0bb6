//! Repeats.

use super::*;

fn asking(id: &str, digest: u8) -> Unit {
    Unit { request: Some(request("hopp 1", digest)), ..unit(id) }
}

fn replayed(first_index: u64) -> Outcome {
    Outcome::Replayed { first_index, answer: "answer to hopp 1".into() }
}

#[tokio::test]
async fn a_repeat_is_told_what_the_first_one_became() {
    let (ledger, store) = fresh().await;
    committed(ledger.submit(unit("before")).await);
    committed(ledger.submit(asking("first", 1)).await);
    assert_eq!(ledger.submit(asking("again", 1)).await, Ok(replayed(1)));
    assert_eq!(ledger.submit(asking("other", 2)).await, Ok(Outcome::IdReused));
    assert_eq!(store.head().size, 2);
    ledger.shutdown().await;

    let ledger = open(&store).await;
    assert_eq!(ledger.submit(asking("again", 1)).await, Ok(replayed(1)));
    assert_eq!(ledger.submit(asking("other", 2)).await, Ok(Outcome::IdReused));
}

#[tokio::test]
async fn within_one_batch_as_well() {
    let (ledger, store) = fresh().await;
    let units = vec![asking("first", 1), asking("again", 1), asking("other", 2), unit("neighbour")];
    let outcomes = together(&ledger, units).await;
    committed(outcomes[0].clone());
    assert_eq!(outcomes[1..3], [Ok(replayed(0)), Ok(Outcome::IdReused)]);
    committed(outcomes[3].clone());
    assert_eq!(store.head(), countersign_store::Head { size: 2, epoch: store.head().epoch, sequence: 1 });
}

#[tokio::test]
async fn a_refused_unit_leaves_its_id_free() {
    let (ledger, _) = fresh().await;
    let refused = Unit { ceilings: vec![ceiling("none", 0)], ..asking("refused", 1) };
    assert!(matches!(ledger.submit(refused).await, Ok(Outcome::Ceiling { .. })));
    committed(ledger.submit(asking("other", 2)).await);
}

#[tokio::test]
async fn the_request_is_judged_before_the_conditions() {
    let (ledger, _) = fresh().await;
    let once = || Unit {
        ceilings: vec![ceiling("uses", 1)],
        expected: vec![(b"grant".to_vec(), None)],
        puts: vec![put("grant", "used")],
        ..asking("once", 1)
    };
    committed(ledger.submit(once()).await);
    assert_eq!(ledger.submit(once()).await, Ok(replayed(0)));
}
