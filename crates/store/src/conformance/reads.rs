use std::sync::Arc;

use bytes::Bytes;

use super::{commit, leaves, put};
use crate::batch::{Batch, Entry, Head, Key, RequestRow};
use crate::contract::Store;

pub(super) async fn absence_is_no_error(store: &dyn Store) {
    let head = store.head();
    assert_eq!((head.size, head.sequence), (0, 0), "a new store is empty");
    assert_eq!(store.get(b"nobody").await, Ok(None));
    assert_eq!(store.get(b"").await, Ok(None), "the engine's own key is nobody's");
    assert_eq!(store.request(b"nobody").await, Ok(None));
    assert_eq!(store.scan(vec![0]..vec![255; 300], 10).await, Ok(Vec::new()));
    assert_eq!(store.leaves(0..10).await, Ok(Vec::new()));
    assert_eq!(store.private_parts(3..10).await, Ok(Vec::new()));
    for path in ["checkpoint", "tile/0/000", "tile/entries/000", "../MANIFEST", "tile/../MANIFEST", ""] {
        assert_eq!(store.file(path).await, Ok(None), "{path}");
    }
}

pub(super) async fn an_acknowledged_commit_is_seen(store: &dyn Store) {
    let mut batch = put(b"a", b"one");
    batch.puts.push((b"b".to_vec(), Bytes::new()));
    batch.leaves = leaves(0, 1);
    batch.requests = vec![RequestRow { key: b"a".to_vec(), hour: 9, value: "answer".into() }];
    commit(store, batch).await;
    assert_eq!(store.get(b"a").await, Ok(Some(Entry { value: "one".into(), version: 1 })));
    assert_eq!(
        store.get(b"b").await,
        Ok(Some(Entry { value: Bytes::new(), version: 1 })),
        "empty isn't absent"
    );
    assert_eq!(store.get(b"ab").await, Ok(None));
    assert_eq!(store.request(b"a").await, Ok(Some("answer".into())), "requests have a space of their own");
    assert_eq!(store.request(b"b").await, Ok(None), "requests have a space of their own");
    assert_eq!(store.leaves(0..1).await, Ok(vec![super::record(0)]));
    assert_eq!(store.private_parts(0..1).await, Ok(vec![super::private(0)]));

    commit(store, Batch { deletes: vec![b"a".to_vec(), b"nobody".to_vec()], ..Batch::default() }).await;
    assert_eq!(store.get(b"a").await, Ok(None), "what was deleted is absent");
    assert_eq!(store.request(b"a").await, Ok(Some("answer".into())), "a delete is of rows alone");
}

pub(super) async fn scans_are_ordered_and_limited(store: &dyn Store) {
    let keys: [&[u8]; 7] = [b"\x00", b"a", b"a\x00", b"ab", b"b", b"b\xff", b"\xff\xff"];
    let mut batch = Batch::default();
    for key in [3, 0, 6, 2, 5, 1, 4] {
        batch.puts.push((keys[key].to_vec(), vec![key as u8].into()));
    }
    commit(store, batch).await;
    let check = async |range: std::ops::Range<&[u8]>, limit, expected: &[&[u8]]| {
        let range = range.start.to_vec()..range.end.to_vec();
        let rows = store.scan(range.clone(), limit).await.expect("a scan succeeds");
        let found: Vec<&[u8]> = rows.iter().map(|(key, _)| key.as_slice()).collect();
        assert_eq!(found, expected, "scan of {range:?}, limit {limit}");
        assert!(rows.iter().all(|(_, entry)| entry.version == 1));
    };
    check(b"".as_slice()..&[255; 3], usize::MAX, &keys).await;
    check(b"a".as_slice()..b"b", 10, &[b"a", b"a\x00", b"ab"]).await;
    check(b"a\x00".as_slice()..b"b\xff", 10, &[b"a\x00", b"ab", b"b"]).await;
    check(b"a".as_slice()..b"b", 2, &[b"a", b"a\x00"]).await;
    check(b"a".as_slice()..b"b", 0, &[]).await;
    check(b"c".as_slice()..b"d", 10, &[]).await;
    check(b"a".as_slice()..b"a", 10, &[]).await;
    check(b"b".as_slice()..b"a", 10, &[]).await;
    check(b"".as_slice()..b"", 10, &[]).await;
}

pub(super) async fn request_rows_go_after_two_hours(store: &dyn Store) {
    let row = |key: &str, hour, value: &'static str| RequestRow {
        key: key.as_bytes().to_vec(),
        hour,
        value: value.into(),
    };
    let commit_rows = async |requests| {
        commit(store, Batch { requests, ..Batch::default() }).await;
    };
    let check = async |key: &str, expected: Option<&'static str>| {
        assert_eq!(store.request(key.as_bytes()).await, Ok(expected.map(Bytes::from)), "{key}");
    };
    commit_rows(vec![row("first", 100, "1"), row("both", 100, "of 100")]).await;
    commit_rows(vec![row("second", 101, "2"), row("both", 101, "of 101")]).await;
    check("first", Some("1")).await;
    check("second", Some("2")).await;
    check("both", Some("of 101")).await;
    commit_rows(vec![row("second", 101, "2 again"), row("late", 100, "late")]).await;
    check("second", Some("2 again")).await;
    check("late", Some("late")).await;
    commit_rows(vec![row("third", 102, "3")]).await;
    check("first", None).await;
    check("late", None).await;
    check("both", Some("of 101")).await;
    commit_rows(vec![row("stale", 100, "gone at once")]).await;
    check("stale", None).await;
    commit_rows(vec![row("fourth", 200, "4")]).await;
    check("second", None).await;
    check("third", None).await;
    check("fourth", Some("4")).await;
}

/// How many commits go by while readers look on.
const WATCHED_COMMITS: u64 = 200;

/// The two rows and the leaf of a commit are there together or not at all, and no reader ever goes back in time.
pub(super) async fn readers_see_whole_commits_meanwhile(store: &Arc<dyn Store>) {
    let readers: Vec<_> = (0..3).map(|_| tokio::spawn(watch(Arc::clone(store)))).collect();
    for step in 0..WATCHED_COMMITS {
        let mut batch = put(b"left", &step.to_be_bytes());
        batch.puts.push((b"right".to_vec(), Bytes::copy_from_slice(&step.to_be_bytes())));
        batch.leaves = leaves(step, 1);
        commit(&**store, batch).await;
        tokio::task::yield_now().await;
    }
    for reader in readers {
        reader.await.expect("a reader finds nothing amiss");
    }
}

async fn watch(store: Arc<dyn Store>) {
    let mut last = Head::default();
    while last.sequence < WATCHED_COMMITS {
        let head = store.head();
        assert!(head.sequence >= last.sequence && head.size >= last.size, "{head:?} came after {last:?}");
        let rows = store.scan(b"left".to_vec()..b"right\x00".to_vec(), 2).await.expect("a scan succeeds");
        let newest = rows.first().map_or(0, |(_, entry)| entry.version);
        assert!(newest >= head.sequence, "a scan sees the commits before it");
        assert!(
            rows.iter().all(|(_, entry): &(Key, Entry)| entry.version == newest),
            "half a commit: {rows:?}"
        );
        assert!(rows.len() != 1, "half a commit: {rows:?}");
        let end = head.size.max(newest);
        let leaves = store.leaves(end.saturating_sub(1)..end).await.expect("leaves are read");
        assert_eq!(leaves.len(), usize::from(end > 0), "a row of commit {newest} is there without its leaf");
        last = head;
        tokio::task::yield_now().await;
    }
}
