//! Many callers at once.

use super::*;
use countersign_store::memory::Breakdown;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_one_gets_the_last_use() {
    let (ledger, _) = fresh().await;
    let units = (0..1_000).map(|id| Unit { ceilings: vec![ceiling("uses", 1)], ..unit(id) }).collect();
    let outcomes = together(&ledger, units).await;
    let (done, refused): (Vec<_>, Vec<_>) =
        outcomes.into_iter().partition(|outcome| matches!(outcome, Ok(Outcome::Committed(_))));
    assert_eq!((done.len(), refused.len()), (1, 999));
    assert!(refused.iter().all(|outcome| matches!(outcome, Ok(Outcome::Ceiling { .. }))));
    check_world(&ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_one_changes_the_grant() {
    let (ledger, _) = fresh().await;
    let change = |id: u32| Unit {
        expected: vec![(b"grant".to_vec(), None)],
        puts: vec![put("grant", &id.to_string())],
        ..unit(id)
    };
    let outcomes = together(&ledger, (0..1_000).map(change).collect()).await;
    let done: Vec<_> =
        outcomes.into_iter().filter(|outcome| matches!(outcome, Ok(Outcome::Committed(_)))).collect();
    assert_eq!(done.len(), 1);
    check_world(&ledger).await;
}

#[tokio::test]
async fn what_waits_goes_out_together_and_each_has_its_proof() {
    let (ledger, store) = fresh().await;
    let entered = |id: u32| Unit {
        records: vec![Draft { grant: Some("grants/1".into()), ..draft(id, &["partners/hopp"]) }],
        ..Unit::default()
    };
    let outcomes = together(&ledger, (0..700).map(entered).collect()).await;
    assert_eq!(store.head().sequence, 2, "two commits of at most 512 units");
    for (place, outcome) in (0..).zip(outcomes) {
        let done = committed(outcome);
        let receipt = &done.receipts[0];
        assert_eq!((receipt.index, record(receipt).grant_sequence), (place, place + 1));
        assert_eq!(verify(receipt).size(), if place < 512 { 512 } else { 700 });
    }
    check_world(&ledger).await;
}

#[tokio::test]
async fn a_batch_holds_no_more_records_than_the_tree_has_paths_for() {
    let (ledger, store) = fresh().await;
    let wide = |id: u32| Unit {
        records: (0..100).map(|n| draft(format!("{id}/{n}"), &[])).collect(),
        ..Unit::default()
    };
    let outcomes = together(&ledger, (0..20).map(wide).collect()).await;
    assert_eq!((store.head().size, store.head().sequence), (2_000, 4), "five units of a hundred a commit");
    for outcome in outcomes {
        committed(outcome).receipts.iter().for_each(|receipt| drop(verify(receipt)));
    }
    check_world(&ledger).await;
}

#[tokio::test]
async fn too_many_waiting_units_are_shed() {
    let (ledger, store) = fresh().await;
    let outcomes = together(&ledger, (0..5_000).map(unit).collect()).await;
    let shed = outcomes.iter().filter(|outcome| **outcome == Err(SubmitError::Overloaded)).count();
    assert_eq!((shed, store.head().size), (5_000 - 4_096, 4_096));
    committed(ledger.submit(unit("later")).await);
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_ends_the_log_until_it_is_opened_again() {
    for (breakdown, stands) in [(Breakdown::Lost, 1), (Breakdown::Persisted, 1 + 512)] {
        let (ledger, store) = fresh().await;
        let before = committed(ledger.submit(unit("before")).await);
        let old = verify(&before.receipts[0]);
        store.break_next_commit(breakdown);
        // More than one batch: those that weren't even judged mustn't wait for ever.
        for outcome in together(&ledger, (0..600).map(unit).collect()).await {
            assert_eq!(outcome, Err(SubmitError::Unavailable));
        }
        assert!(!ledger.is_available());
        assert_eq!(ledger.submit(unit("after")).await, Err(SubmitError::Unavailable));
        assert_eq!(*ledger.latest(), old, "no head was signed after the last acknowledged one");
        verify(&ledger.proof(0).await.unwrap());
        ledger.shutdown().await;

        let recovered = Arc::new(store.recovered());
        let ledger = open(&recovered).await;
        let new = ledger.latest();
        assert_eq!((new.size(), ledger.published().size()), (stands, stands));
        let proof = ledger.consistency(old.size(), new.size()).await.unwrap();
        countersign_tlog::proof::verify_consistency(old.size(), old.root(), new.size(), new.root(), &proof)
            .unwrap();
        committed(ledger.submit(unit("after")).await);
        check_world(&ledger).await;
    }
}

#[tokio::test]
async fn shutting_down_finishes_what_waits() {
    let (ledger, _) = fresh().await;
    let handle = ledger.clone();
    let waiting = tokio::spawn(async move { together(&handle, (0..1_500).map(unit).collect()).await });
    // One turn of the runtime each: the units are queued, and the judge is in the middle of them.
    while ledger.latest().size() == 0 {
        tokio::task::yield_now().await;
    }
    let (first, second) = (ledger.clone(), ledger.clone());
    tokio::join!(first.shutdown(), second.shutdown());
    for outcome in waiting.await.unwrap() {
        committed(outcome);
    }
    assert_eq!(ledger.published().size(), 1_500);
    assert_eq!(ledger.submit(unit("late")).await, Err(SubmitError::Unavailable));
    check_world(&ledger).await;
}
