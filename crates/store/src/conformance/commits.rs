use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;

use super::{commit, leaves, put};
use crate::batch::{
    Batch, Head, Leaf, MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_PRIVATE_BYTES, MAX_RECORD_BYTES, MAX_VALUE_BYTES,
    RequestRow,
};
use crate::contract::Store;
use crate::errors::{CommitError, Limit};

pub(super) async fn versions_name_the_commit(store: &dyn Store) {
    let version = async |key: &[u8]| store.get(key).await.expect("a row is read").map(|entry| entry.version);
    commit(store, put(b"a", b"same")).await;
    commit(store, Batch::default()).await;
    commit(store, put(b"b", b"same")).await;
    assert_eq!((version(b"a").await, version(b"b").await), (Some(1), Some(3)));
    commit(store, put(b"a", b"same")).await;
    assert_eq!((version(b"a").await, version(b"b").await), (Some(4), Some(3)), "each put makes a version");
    commit(store, Batch { deletes: vec![b"a".to_vec()], ..Batch::default() }).await;
    commit(store, put(b"a", b"same")).await;
    assert_eq!(version(b"a").await, Some(6), "no version comes twice");
}

pub(super) async fn deletes_come_before_puts(store: &dyn Store) {
    commit(store, put(b"a", b"old")).await;
    let mut batch = put(b"a", b"first");
    batch.puts.push((b"a".to_vec(), "last".into()));
    batch.deletes.push(b"a".to_vec());
    commit(store, batch).await;
    let row = store.get(b"a").await.expect("a row is read").expect("a put stands against a delete");
    assert_eq!((row.value, row.version), (Bytes::from("last"), 2));
}

pub(super) async fn the_head_is_the_only_condition(store: &dyn Store) {
    let mut batch = put(b"a", b"one");
    batch.leaves = leaves(0, 2);
    let current = commit(store, batch).await;
    let Head { size, epoch, sequence } = current;
    for wrong in [
        Head { size: size - 1, ..current },
        Head { size: size + 1, ..current },
        Head { epoch: epoch + 1, ..current },
        Head { sequence: sequence - 1, ..current },
        Head { sequence: sequence + 1, ..current },
    ] {
        let mut batch = put(b"a", b"two");
        batch.leaves = leaves(2, 1);
        assert_eq!(store.commit(wrong, batch).await, Err(CommitError::Raced { current }), "{wrong:?}");
    }
    assert_eq!(store.failure(), None, "a refused commit breaks nothing");
    assert_eq!(store.head(), current);
    assert_eq!(store.leaves(0..9).await.expect("leaves are read").len(), 2);
    assert_eq!(store.get(b"a").await.expect("a row is read").expect("the row is there").value, "one");
    commit(store, put(b"a", b"two")).await;
}

pub(super) async fn of_two_commits_on_one_head_one_succeeds(store: &Arc<dyn Store>) {
    for round in 0..20_u64 {
        let head = store.head();
        let rivals: Vec<_> = (0..4_u8)
            .map(|rival| {
                let store = Arc::clone(store);
                tokio::spawn(async move { store.commit(head, put(b"winner", &[rival])).await })
            })
            .collect();
        let mut winners = Vec::new();
        for (rival, task) in (0_u8..).zip(rivals) {
            match task.await.expect("a commit doesn't panic") {
                Ok(after) => winners.push((rival, after)),
                Err(CommitError::Raced { current }) => assert_eq!(current.sequence, round + 1),
                Err(other) => panic!("a raced commit says so, not {other}"),
            }
        }
        let [(winner, after)] = winners[..] else { panic!("one rival wins, not {}", winners.len()) };
        assert_eq!(after, store.head());
        let row = store.get(b"winner").await.expect("a row is read").expect("the row is there");
        assert_eq!((&row.value[..], row.version), (&[winner][..], round + 1));
    }
}

/// A caller that goes away in the middle leaves a commit that stands whole or not at all, and for good once the next one
/// has succeeded.
pub(super) async fn a_commit_that_nobody_waits_for_is_whole(store: &Arc<dyn Store>) {
    for round in 0..20_u8 {
        let mut batch = put(b"left", &[round]);
        batch.puts.push((b"right".to_vec(), vec![round].into()));
        batch.leaves = leaves(store.head().size, 1);
        let before = store.head();
        let mut abandoned = store.commit(before, batch);
        let _ = std::future::poll_fn(|context| Poll::Ready(abandoned.as_mut().poll(context))).await;
        drop(abandoned);
        let mut head = before;
        while let Err(error) = store.commit(head, put(b"next", &[round])).await {
            match error {
                CommitError::Raced { current } => head = current,
                other => panic!("a commit after an abandoned one: {other}"),
            }
        }
        let stands = head != before;
        assert_eq!(head.size - before.size, u64::from(stands));
        let mut found = Vec::new();
        for key in [b"left".as_slice(), b"right"] {
            let row = store.get(key).await.expect("a row is read");
            found.push(row.is_some_and(|row| row.version == head.sequence && row.value == [round][..]));
        }
        assert_eq!(found, [stands, stands], "round {round}");
    }
}

pub(super) async fn a_refused_batch_changes_nothing(store: &dyn Store) {
    let current = commit(store, put(b"a", b"one")).await;
    let check = async |batch: Batch, expected: Limit| {
        // All else in the batch is sound; none of it may be done.
        let mut whole = put(b"a", b"two");
        whole.puts.extend(batch.puts);
        whole.deletes.extend(batch.deletes);
        whole.leaves.extend(leaves(0, 1));
        whole.leaves.extend(batch.leaves);
        whole.requests.push(RequestRow { key: b"a".to_vec(), hour: 1, value: Bytes::new() });
        whole.requests.extend(batch.requests);
        assert_eq!(store.commit(current, whole).await, Err(CommitError::TooLarge(expected)));
    };
    let zeros = |length: usize| Bytes::from(vec![0; length]);
    let long_key = vec![1; MAX_KEY_BYTES + 1];
    let (no_key, too_long) = (Limit::Key { bytes: 0 }, Limit::Key { bytes: MAX_KEY_BYTES + 1 });
    let large = MAX_VALUE_BYTES + 1;
    let batch = Batch::default;
    check(put(b"", b""), no_key).await;
    check(put(&long_key, b""), too_long).await;
    check(put(b"b", &vec![0; large]), Limit::Value { bytes: large }).await;
    check(Batch { deletes: vec![Vec::new()], ..batch() }, no_key).await;
    check(Batch { deletes: vec![long_key.clone()], ..batch() }, too_long).await;
    let leaf = |record, private| Leaf { record: zeros(record), private: zeros(private) };
    let bytes = MAX_RECORD_BYTES + 1;
    check(Batch { leaves: vec![leaf(bytes, 0)], ..batch() }, Limit::Record { bytes }).await;
    let bytes = MAX_PRIVATE_BYTES + 1;
    check(Batch { leaves: vec![leaf(0, bytes)], ..batch() }, Limit::Private { bytes }).await;
    let row = |key: &[u8], value: usize| RequestRow { key: key.to_vec(), hour: 1, value: zeros(value) };
    check(Batch { requests: vec![row(b"", 0)], ..batch() }, no_key).await;
    check(Batch { requests: vec![row(&long_key, 0)], ..batch() }, too_long).await;
    check(Batch { requests: vec![row(b"b", large)], ..batch() }, Limit::Value { bytes: large }).await;

    let heavy =
        Batch { leaves: vec![leaf(MAX_RECORD_BYTES, 0); MAX_BATCH_BYTES / MAX_RECORD_BYTES], ..batch() };
    let bytes = heavy.weight();
    assert_eq!(store.commit(current, heavy).await, Err(CommitError::TooLarge(Limit::Batch { bytes })));

    assert_eq!(store.head(), current);
    assert_eq!(store.leaves(0..9).await, Ok(Vec::new()));
    assert_eq!(store.request(b"a").await, Ok(None));
    assert_eq!(store.get(b"a").await.expect("a row is read").expect("the row is there").value, "one");
    commit(store, put(b"a", b"two")).await;
}

pub(super) async fn the_largest_items_are_taken(store: &dyn Store) {
    let key = vec![0xff; MAX_KEY_BYTES];
    let value: Bytes = (0..MAX_VALUE_BYTES).map(|i| i as u8).collect();
    let long: Bytes = (0..MAX_RECORD_BYTES).map(|i| (i / 7) as u8).collect();
    let mut batch = put(&key, &value);
    batch.requests = vec![RequestRow { key: key.clone(), hour: 1, value: value.clone() }];
    batch.leaves = vec![Leaf { record: long.clone(), private: long.clone() }; 3];
    commit(store, batch).await;
    let row = store.get(&key).await.expect("a row is read").expect("the row is there");
    assert_eq!(row.value, value);
    assert_eq!(store.request(&key).await, Ok(Some(value)));
    assert_eq!(store.leaves(1..3).await, Ok(vec![long.clone(); 2]));
    assert_eq!(store.private_parts(0..2).await, Ok(vec![long; 2]));
}
