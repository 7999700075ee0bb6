//! Streams: entering, paging, waiting.

use super::*;
use crate::{Closed, Erasure, MAX_ROWS, MAX_STREAM_PAGE, StreamItem, UnitError};

async fn page(ledger: &Ledger, stream: &str, from: u64, limit: usize) -> Vec<u64> {
    let items = ledger.stream(&stream.into(), from, limit).await.unwrap();
    assert!(items.iter().all(|item| item.kind == Kind::Transfer));
    items.into_iter().map(|item| item.index).collect()
}

#[tokio::test]
async fn streams_are_read_in_pages_from_any_cursor() {
    let (ledger, store) = fresh().await;
    // Every record concerns the source, every second one the recipient, and every third one a grant.
    let entered = |id: usize| {
        let mut draft = draft(id, if id.is_multiple_of(2) { &["source", "recipient"] } else { &["source"] });
        draft.grant = id.is_multiple_of(3).then(|| "grant".into());
        Unit { records: vec![draft], ..Unit::default() }
    };
    for batch in 0..25 {
        together(&ledger, (batch * 50..batch * 50 + 50).map(entered).collect()).await;
    }
    let expected: [(&str, usize); 3] = [("source", 1), ("recipient", 2), ("grant", 3)];
    for ledger in [ledger.clone(), {
        ledger.shutdown().await;
        open(&store).await
    }] {
        for (stream, step) in expected {
            let all: Vec<u64> = (0..1_250).step_by(step).collect();
            assert_eq!(ledger.stream_length(&stream.into()).await, Ok(all.len() as u64));
            for from in [0, 1, 2, 100, 127, 128, 129, 255, 256, 383, 384, 767, 1_200, 1_249, 1_250, u64::MAX]
            {
                for limit in [0, 1, 2, 127, 128, 129, 300, MAX_STREAM_PAGE, usize::MAX] {
                    let found = page(&ledger, stream, from, limit).await;
                    let all = all.iter().copied().filter(|index| *index >= from);
                    let expected: Vec<u64> = all.take(limit.min(MAX_STREAM_PAGE)).collect();
                    assert_eq!(found, expected, "{stream} from {from}, at most {limit}");
                }
            }
            let (mut cursor, mut walked) = (0, Vec::new());
            while let Some(last) = page(&ledger, stream, cursor, 7).await.last() {
                walked.extend(page(&ledger, stream, cursor, 7).await);
                cursor = last + 1;
            }
            assert_eq!(walked, all);
        }
    }
    let grant = ledger.stream(&"grant".into(), 0, MAX_STREAM_PAGE).await.unwrap();
    for (number, StreamItem { index, .. }) in (1..).zip(grant) {
        let record = Record::decode(ledger.leaves(index..index + 1).await.unwrap().remove(0)).unwrap();
        assert_eq!(record.grant_sequence, number);
    }
    assert_eq!(page(&ledger, "nobody's", 0, 10).await, []);
    assert_eq!(ledger.stream_length(&"".into()).await, Ok(0));
    assert_eq!(page(&ledger, &"x".repeat(300), 0, 10).await, []);
}

#[tokio::test]
async fn a_record_is_entered_in_a_stream_once_and_numbered_within_its_unit() {
    let (ledger, _) = fresh().await;
    let granted = |id| Draft { grant: Some("grant".into()), ..draft(id, &["a", "grant", "a"]) };
    let unit = Unit { records: vec![granted(1), draft(2, &["a"]), granted(3)], ..Unit::default() };
    let done = committed(ledger.submit(unit).await);
    let numbers: Vec<u64> = done.receipts.iter().map(|receipt| record(receipt).grant_sequence).collect();
    assert_eq!(numbers, [1, 0, 2]);
    assert_eq!(page(&ledger, "a", 0, 10).await, [0, 1, 2]);
    assert_eq!(page(&ledger, "grant", 0, 10).await, [0, 2]);
}

#[tokio::test]
async fn who_watches_misses_nothing_and_leaves_nothing_behind() {
    let (ledger, _) = fresh().await;
    let entered = |stream: &str| Unit { records: vec![draft(stream, &[stream])], ..Unit::default() };
    let hub = &ledger.shared().hub;
    let (mut a, mut again, mut b) =
        (ledger.watch(&"a".into()), ledger.watch(&"a".into()), ledger.watch(&"b".into()));
    assert_eq!(hub.watched(), 2);
    committed(ledger.submit(entered("a")).await);
    committed(ledger.submit(entered("a")).await);
    // Growth before the call counts, and wakes everybody once.
    a.changed().await.unwrap();
    again.changed().await.unwrap();
    tokio::select! {
        biased;
        _ = a.changed() => panic!("nothing new"),
        _ = b.changed() => panic!("another stream's"),
        () = tokio::task::yield_now() => {}
    }
    let waiting = tokio::spawn(async move { a.changed().await });
    committed(ledger.submit(entered("a")).await);
    assert_eq!(waiting.await.unwrap(), Ok(()));
    assert_eq!(hub.watched(), 2, "one of two has gone");
    drop((again, b));
    assert_eq!(hub.watched(), 0);

    let mut last = ledger.watch(&"a".into());
    let (woken, ()) = tokio::join!(last.changed(), ledger.shutdown());
    assert_eq!(woken, Err(Closed));
    assert_eq!(ledger.watch(&"a".into()).changed().await, Err(Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_follower_sees_every_record_of_a_busy_stream() {
    let (ledger, _) = fresh().await;
    let (follower, stream) = (ledger.clone(), StreamKey::from("busy"));
    let following = tokio::spawn(async move {
        let mut watch = follower.watch(&stream);
        let (mut cursor, mut seen) = (0, 0);
        while seen < 1_000 {
            let items = follower.stream(&stream, cursor, 10).await.unwrap();
            match items.last() {
                Some(last) => cursor = last.index + 1,
                None => watch.changed().await.unwrap(),
            }
            seen += items.len();
        }
        seen
    });
    for round in 0..100 {
        let busy = |id: u32| Unit { records: vec![draft(round * 10 + id, &["busy"])], ..Unit::default() };
        together(&ledger, (0..10).map(busy).collect()).await;
    }
    assert_eq!(following.await.unwrap(), 1_000);
}

#[tokio::test]
async fn a_stream_goes_whole_after_the_record_that_says_so_and_begins_anew() {
    let (ledger, store) = fresh().await;
    let entered = |id: usize| Unit { records: vec![draft(id, &["mei", "hopp"])], ..Unit::default() };
    together(&ledger, (0..300).map(entered).collect()).await;
    let mut says = draft("erased", &["mei"]);
    says.record.set_kind(Kind::CustomerErased);
    let erased = Unit { records: vec![says], puts: vec![put("b/mei", "a row")], ..Unit::default() };
    let index = committed(ledger.submit(erased).await).receipts[0].index;

    let erasure = |record, deletes| Erasure { record, deletes, stream: Some("mei".into()) };
    for other in [index - 1, index + 1] {
        let refused = ledger.erase(erasure(other, Vec::new())).await;
        assert_eq!(refused, Err(SubmitError::Invalid(UnitError::NoRecord)), "{other}");
    }
    let ours = ledger.erase(erasure(index, vec![b"s/x".to_vec()])).await;
    assert!(matches!(ours, Err(SubmitError::Invalid(UnitError::Reserved { .. }))), "{ours:?}");

    // With room for one row at a time, it takes as many units as it has rows: two blocks, and the tail.
    let mut deletes: Vec<Vec<u8>> = (0..MAX_ROWS - 2).map(|n| format!("none/{n}").into_bytes()).collect();
    deletes.push(b"b/mei".to_vec());
    for gone in [false, false, true] {
        assert_eq!(ledger.erase(erasure(index, deletes.clone())).await, Ok(gone));
        assert_eq!(store.get(b"b/mei").await.unwrap(), None);
    }
    assert_eq!(ledger.erase(erasure(index, deletes)).await, Ok(true), "again, it changes nothing");
    assert_eq!(page(&ledger, "hopp", 0, 1_000).await.len(), 300, "another's stream stays");

    // One that comes after, in the same commit even, begins the stream anew.
    let (dropped, later) = tokio::join!(
        ledger.erase(Erasure { record: index, deletes: Vec::new(), stream: Some("hopp".into()) }),
        ledger.submit(entered(301)),
    );
    let anew = committed(later).receipts[0].index;
    assert_eq!(dropped, Ok(false), "what came after it stands");
    for ledger in [ledger.clone(), {
        ledger.shutdown().await;
        open(&store).await
    }] {
        for stream in ["mei", "hopp"] {
            assert_eq!(page(&ledger, stream, 0, 1_000).await, [anew]);
            assert_eq!(ledger.stream_length(&stream.into()).await, Ok(1));
        }
    }
}
