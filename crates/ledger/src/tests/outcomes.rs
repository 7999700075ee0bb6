//! How units are judged, alone and beside each other.

use super::*;
use crate::{Counter, Housekeeping, HousekeepingKey, UnitError};
use faulty::Faulty;

#[tokio::test]
async fn a_committed_unit_has_its_place_and_its_proof() {
    let (ledger, store) = fresh().await;
    let mut first = unit(1);
    first.puts.push(put("grants/1", "active"));
    first.records.push(draft(2, &[]));
    let done = committed(ledger.submit(first).await);
    assert_eq!((done.receipts.len(), done.time_ms, done.version), (2, START, 1));
    for (index, receipt) in (0..).zip(&done.receipts) {
        assert_eq!(receipt.index, index);
        assert_eq!(verify(receipt).size(), 2);
        assert_eq!(record(receipt).time_ms, START);
    }
    assert_eq!(store.get(b"grants/1").await.unwrap().unwrap().version, 1);
    assert_eq!(ledger.private_parts(0..2).await.unwrap(), ["private 1", "private 2"]);
    check_world(&ledger).await;
}

#[tokio::test]
async fn expected_versions_are_held() {
    let (ledger, store) = fresh().await;
    let expecting = |expected: Option<u64>| {
        let mut unit = unit(0);
        unit.expected.push((b"grants/1".to_vec(), expected));
        unit.puts.push(put("grants/1", "x"));
        unit
    };
    let conflict = Ok(Outcome::Conflict { key: b"grants/1".to_vec() });
    assert_eq!(ledger.submit(expecting(Some(1))).await, conflict, "not there");
    let created = committed(ledger.submit(expecting(None)).await);
    assert_eq!(ledger.submit(expecting(None)).await, conflict, "there already");
    let changed = committed(ledger.submit(expecting(Some(created.version))).await);
    assert_eq!(ledger.submit(expecting(Some(created.version))).await, conflict, "changed since");

    let mut delete = unit(1);
    delete.expected.push((b"grants/1".to_vec(), Some(changed.version)));
    delete.deletes.push(b"grants/1".to_vec());
    committed(ledger.submit(delete).await);
    committed(ledger.submit(expecting(None)).await);
    assert_eq!(store.head().size, 4, "refused units leave no record");
}

#[tokio::test]
async fn counters_stop_at_their_ceilings() {
    let store = Arc::new(MemoryStore::new());
    let clock = TestClock::new();
    let ledger = Ledger::open(store, key(), clock.now()).await.unwrap();
    let using = || Unit {
        ceilings: vec![
            Ceiling { window_ms: Some(1_000), numbers_record: false, ..ceiling("daily", 2) },
            ceiling("ever", 3),
        ],
        ..unit(0)
    };
    let done = committed(ledger.submit(using()).await);
    assert_eq!((done.counts, record(&done.receipts[0]).use_number), (vec![1, 1], 1));
    clock.set(START + 400);
    let done = committed(ledger.submit(using()).await);
    assert_eq!((done.counts, record(&done.receipts[0]).use_number), (vec![2, 2], 2));
    let refused = Outcome::Ceiling { counter: b"daily".to_vec(), retry_after_ms: Some(600) };
    assert_eq!(ledger.submit(using()).await, Ok(refused));
    clock.set(START + 1_000);
    let done = committed(ledger.submit(using()).await);
    assert_eq!(done.counts, [1, 3], "the window has ended, for ever has not");
    let refused = Outcome::Ceiling { counter: b"ever".to_vec(), retry_after_ms: None };
    assert_eq!(ledger.submit(using()).await, Ok(refused));
    let daily = Counter { count: 1, window_start_ms: START + 1_000 };
    assert_eq!(ledger.count(b"daily").await, Ok(daily), "a refused unit raises nothing");
    assert_eq!(ledger.count(b"nobody's").await, Ok(Counter::default()));

    let twice = Unit { ceilings: vec![ceiling("twice", 1), ceiling("twice", 1)], ..unit(0) };
    let refused = Outcome::Ceiling { counter: b"twice".to_vec(), retry_after_ms: None };
    assert_eq!(ledger.submit(twice).await, Ok(refused));
    let never = Unit { ceilings: vec![ceiling("never", 0)], ..unit(0) };
    assert!(matches!(ledger.submit(never).await, Ok(Outcome::Ceiling { .. })));
}

#[tokio::test]
async fn a_count_that_is_held_is_neither_passed_nor_raised() {
    let (ledger, _) = fresh().await;
    let holding = |most| Unit { counted: vec![(b"uses".to_vec(), most)], ..unit("holding") };
    let using = || Unit { ceilings: vec![ceiling("uses", 9)], ..unit("using") };
    committed(ledger.submit(holding(0)).await);
    // Side by side: each is judged after the one before it.
    let outcomes = together(&ledger, vec![using(), holding(0), holding(1), using(), holding(1)]).await;
    let went = outcomes.iter().map(|outcome| matches!(outcome, Ok(Outcome::Committed(_))));
    assert_eq!(went.collect::<Vec<_>>(), [true, false, true, true, false]);
    assert_eq!(outcomes[1], Ok(Outcome::Conflict { key: b"uses".to_vec() }));
    assert_eq!(ledger.count(b"uses").await.unwrap().count, 2, "what only looks counts nothing");
    let unnamed = Unit { counted: vec![(Vec::new(), 1)], ..unit("unnamed") };
    let refused = SubmitError::Invalid(UnitError::Unnamed { what: "a counter's name" });
    assert_eq!(ledger.submit(unnamed).await, Err(refused));
}

#[tokio::test]
async fn each_unit_is_judged_after_the_one_before_it_and_hurts_no_neighbour() {
    let (ledger, store) = fresh().await;
    let mut created = unit("created");
    created.puts.push(put("grants/1", "active"));
    created.puts.push(put("grants/2", "active"));
    let version = committed(ledger.submit(created).await).version;

    let expecting = |id: &str, version: Option<u64>| {
        let mut unit = unit(id);
        unit.expected.push((b"grants/1".to_vec(), version));
        unit
    };
    let mut stop = expecting("stop", Some(version));
    stop.puts.push(put("grants/1", "stopped"));
    let mut gone = unit("gone");
    gone.deletes.push(b"grants/2".to_vec());
    let mut there = unit("there");
    there.expected.push((b"grants/2".to_vec(), Some(version)));
    let mut absent = unit("absent");
    absent.expected.push((b"grants/2".to_vec(), None));
    let last_use = |id: &str| Unit { ceilings: vec![ceiling("uses", 1)], ..unit(id) };

    let units = vec![
        expecting("before", Some(version)),
        stop,
        expecting("after", Some(version)),
        gone,
        there,
        absent,
        last_use("last"),
        last_use("one too many"),
        unit("neighbour"),
    ];
    let outcomes = together(&ledger, units).await;
    assert_eq!(store.head().sequence, version + 1, "all of it was one commit");
    let refused = |place: usize| outcomes[place].clone().unwrap();
    assert_eq!(refused(2), Outcome::Conflict { key: b"grants/1".to_vec() });
    assert_eq!(refused(4), Outcome::Conflict { key: b"grants/2".to_vec() });
    assert_eq!(refused(7), Outcome::Ceiling { counter: b"uses".to_vec(), retry_after_ms: None });
    for place in [0, 1, 3, 5, 6, 8] {
        let done = committed(outcomes[place].clone());
        assert_eq!(verify(&done.receipts[0]).size(), 7);
    }
    check_world(&ledger).await;
}

#[tokio::test]
async fn no_two_units_of_one_commit_write_one_row() {
    let (ledger, store) = fresh().await;
    let writing = |value: &str| Unit { puts: vec![put("row", value)], ..unit(value) };
    let outcomes = together(&ledger, vec![writing("a"), writing("b"), unit("c"), writing("d")]).await;
    let versions: Vec<u64> = outcomes.into_iter().map(|outcome| committed(outcome).version).collect();
    assert_eq!(versions, [1, 2, 2, 3]);
    let row = store.get(b"row").await.unwrap().unwrap();
    assert_eq!((&row.value[..], row.version), (&b"d"[..], 3));
    check_world(&ledger).await;
}

#[tokio::test]
async fn what_breaks_a_bound_is_refused_before_it_is_queued() {
    let (ledger, store) = fresh().await;
    let unrecorded = Unit { puts: vec![put("grants/1", "active")], ..Unit::default() };
    assert_eq!(ledger.submit(unrecorded).await, Err(SubmitError::Invalid(UnitError::NoRecord)));
    let ours = Unit { puts: vec![put("c/uses", "0")], ..unit(0) };
    let reserved = UnitError::Reserved { key: b"c/uses".to_vec() };
    assert_eq!(ledger.submit(ours).await, Err(SubmitError::Invalid(reserved)));
    assert_eq!(store.head().sequence, 0);
}

#[tokio::test]
async fn housekeeping_reaches_its_own_keys_and_the_log_stays_as_it_is() {
    let (ledger, store) = fresh().await;
    let key = HousekeepingKey::new("sweeper");
    let puts = vec![(key.clone(), Bytes::from_static(b"17"))];
    ledger.housekeep(Housekeeping { puts, deletes: Vec::new() }).await.unwrap();
    assert_eq!(store.get(key.as_bytes()).await.unwrap().unwrap().value, "17");
    assert_eq!((store.head().size, ledger.latest().size()), (0, 0));
    ledger.housekeep(Housekeeping { puts: Vec::new(), deletes: vec![key.clone()] }).await.unwrap();
    assert_eq!(store.get(key.as_bytes()).await.unwrap(), None);
    committed(ledger.submit(unit(0)).await);
    check_world(&ledger).await;
}

#[tokio::test]
async fn time_never_runs_backwards() {
    let store = Arc::new(MemoryStore::new());
    let clock = TestClock::new();
    let ledger = Ledger::open(store.clone(), key(), clock.now()).await.unwrap();
    let mut times = Vec::new();
    for time_ms in [START, START + 500, START - 10_000, START + 499, START + 501, 0, START + 501] {
        clock.set(time_ms);
        times.push(committed(ledger.submit(unit(time_ms)).await).time_ms - START);
    }
    assert_eq!(times, [0, 500, 500, 500, 501, 501, 501]);
    for (time_ms, index) in [(0, 0), (START, 0), (START + 1, 1), (START + 501, 4), (START + 502, 7)] {
        assert_eq!(ledger.index_at(time_ms).await, Ok(index));
    }
    check_world(&ledger).await;
    ledger.shutdown().await;

    clock.set(START);
    let ledger = Ledger::open(store, key(), clock.now()).await.unwrap();
    assert_eq!(committed(ledger.submit(unit("reopened")).await).time_ms, START + 501);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_fails_its_unit_alone() {
    let store = Arc::new(Faulty::default());
    let ledger = open(&store).await;
    let reading = || {
        let mut unit = unit("reads");
        unit.expected.push((b"grants/1".to_vec(), None));
        unit
    };
    store.reads_fail.store(true, Ordering::SeqCst);
    let outcomes = together(&ledger, vec![unit(1), reading(), unit(2)]).await;
    assert!(matches!(outcomes[1], Err(SubmitError::Unreadable(_))));
    store.reads_fail.store(false, Ordering::SeqCst);
    for place in [0, 2] {
        assert_eq!(verify(&committed(outcomes[place].clone()).receipts[0]).size(), 2);
    }
    committed(ledger.submit(reading()).await);
    check_world(&ledger).await;
}
