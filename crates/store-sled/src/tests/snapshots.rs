//! Snapshots, and the journal behind them.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_store::{RequestRow, Store};
use tempfile::TempDir;

use super::{Content, batch, commit, content, segments, snapshotting};
use crate::errors::Damage;
use crate::files::RealFiles;
use crate::snapshot::{self, Item, Reader};
use crate::{OpenError, SledStore};

pub(super) async fn open(folder: &Path) -> Result<SledStore, OpenError> {
    SledStore::open(folder, snapshotting()).await
}

/// The snapshots, in order.
pub(super) fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let numbers = snapshot::list(&RealFiles, &folder.join("snapshots")).unwrap();
    numbers.iter().rev().map(|number| snapshot::path(&folder.join("snapshots"), *number)).collect()
}

/// The number of the first segment that is there.
pub(super) fn first_segment(folder: &Path) -> u64 {
    segments(folder)[0].file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// Adds steps to a store, so that every snapshot that comes due is made before the next step.
pub(super) async fn grow(store: &SledStore, to: u64) {
    for step in store.head().sequence..to {
        commit(store, step, 29).await;
        store.settle();
    }
}

/// A closed store whose journal doesn't reach back to the beginning, and what it held.
pub(super) async fn cleaned() -> (TempDir, Content) {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await.unwrap();
    grow(&store, 90).await;
    let content = content(&store).await;
    store.close().await.unwrap();
    drop(store);
    assert!(first_segment(folder.path()) > 5);
    assert_eq!(snapshots(folder.path()).len(), 2);
    (folder, content)
}

#[tokio::test]
async fn two_snapshots_are_kept_and_the_journal_from_the_older_one_on() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await.unwrap();
    let mut made = 0;
    for step in 0..120 {
        commit(&store, step, 29).await;
        store.settle();
        let snapshots = snapshots(folder.path());
        assert!(snapshots.len() <= 2);
        let first = first_segment(folder.path());
        if let [older, newer] = &snapshots[..] {
            let number = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
            assert_eq!(first, number(older), "the leaves of these steps always stand in bundles by then");
            assert!(number(newer) > number(older));
            made = made.max(number(newer));
        } else {
            assert_eq!(first, 1);
        }
    }
    assert!(made > 10, "segments up to {made} are covered");
    let before = content(&store).await;
    drop(store);
    let store = open(folder.path()).await.unwrap();
    assert_eq!(content(&store).await, before);
}

#[tokio::test]
async fn a_snapshot_is_the_live_state_in_order_and_without_stale_hours() {
    let (folder, expected) = cleaned().await;
    let id = crate::manifest::read(&RealFiles, &folder.path().join("MANIFEST")).unwrap().unwrap().id;
    let mut number = snapshot::list(&RealFiles, &folder.path().join("snapshots")).unwrap()[0];
    let mut reader = Reader::open(&RealFiles, &folder.path().join("snapshots"), number, id).unwrap();
    let head = reader.header().head;
    assert!(head.sequence < expected.head.sequence);
    let (mut rows, mut hours) = (Vec::new(), Vec::new());
    while let Some(item) = reader.next().unwrap() {
        match item {
            Item::Row { key, version, value } => rows.push((key.to_vec(), (version, value))),
            Item::Request { hour, .. } => hours.push(hour),
        }
    }
    assert!(rows.is_sorted_by(|one, other| one.0 < other.0) && hours.is_sorted());
    assert_eq!(hours.first().map(|hour| hour + 1), hours.last().copied(), "two hours");
    // The same as one that the same steps give without any snapshot before.
    let plain = TempDir::new().unwrap();
    let store = super::open(plain.path()).await.unwrap();
    for step in 0..head.sequence {
        commit(&store, step, 29).await;
    }
    let same = content(&store).await;
    let same: Vec<_> =
        same.rows.into_iter().map(|(key, entry)| (key, (entry.version, entry.value))).collect();
    assert_eq!(rows, same);
    number += 1;
    assert!(Reader::open(&RealFiles, &folder.path().join("snapshots"), number, id).is_err());
}

#[tokio::test]
async fn segments_stay_until_their_leaves_stand_in_bundles() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await.unwrap();
    // Two leaves in all, and the journal grows by rows alone.
    for step in 0..400 {
        let mut batch = batch(step, u64::from(step < 2));
        batch.puts.push((b"large".to_vec(), vec![7; 2_000].into()));
        store.commit(store.head(), batch).await.unwrap();
        store.settle();
    }
    assert_eq!(snapshots(folder.path()).len(), 2);
    assert_eq!(first_segment(folder.path()), 1);
    let before = content(&store).await;
    drop(store);
    fs::remove_dir_all(folder.path().join("sled")).unwrap();
    let store = open(folder.path()).await.unwrap();
    assert_eq!(content(&store).await, before);
    // When the bundle is full, they go with the next snapshots.
    for step in 400..700 {
        let mut batch = batch(step, 9);
        batch.puts.push((b"large".to_vec(), vec![7; 2_000].into()));
        store.commit(store.head(), batch).await.unwrap();
        store.settle();
    }
    assert!(first_segment(folder.path()) > 20);
}

#[tokio::test]
async fn requests_are_found_after_a_rebuild_and_stale_ones_are_not() {
    let (folder, _) = cleaned().await;
    let store = open(folder.path()).await.unwrap();
    let head = store.head();
    let row = |key: &str, hour| RequestRow { key: key.into(), hour, value: format!("of {hour}").into() };
    let newest = head.sequence / 8 + 1;
    let requests =
        vec![row("both", newest), row("both", newest - 1), row("late", newest - 1), row("stale", 1)];
    let batch = countersign_store::Batch { requests, ..Default::default() };
    store.commit(head, batch).await.unwrap();
    let before = content(&store).await;
    drop(store);
    fs::remove_dir_all(folder.path().join("sled")).unwrap();
    let store = open(folder.path()).await.unwrap();
    assert_eq!(content(&store).await, before);
    for (key, found) in [("both", Some(newest)), ("late", Some(newest - 1)), ("stale", None)] {
        let expected = found.map(|hour| format!("of {hour}").into());
        assert_eq!(store.request(key.as_bytes()).await.unwrap(), expected, "{key}");
    }
}

#[tokio::test]
async fn a_torn_or_flipped_snapshot_is_not_used_and_the_one_before_it_is() {
    let (folder, expected) = cleaned().await;
    let newest = snapshots(folder.path()).pop().unwrap();
    let sound = fs::read(&newest).unwrap();
    let length = sound.len();
    let mut harms: Vec<Vec<u8>> =
        [0, 1, 71, 72, 83, length / 2, length - 1].map(|cut| sound[..cut].to_vec()).into();
    for at in [0, 8, 13, 30, 60, 70, 72, 80, 90, length / 2, length - 15, length - 1] {
        let mut flipped = sound.clone();
        flipped[at] ^= 4;
        harms.push(flipped);
    }
    harms.push([&sound[..], &[0]].concat());
    harms.push(vec![0; length]);
    for (turn, harm) in harms.into_iter().enumerate() {
        fs::write(&newest, &harm).unwrap();
        if turn % 2 == 0 {
            fs::remove_dir_all(folder.path().join("sled")).unwrap();
        }
        match open(folder.path()).await {
            Ok(store) => {
                assert_eq!(content(&store).await, expected, "harm {turn}");
                store.settle();
                store.close().await.unwrap();
                // What is of no use goes, and another may have been made of the same segments.
                assert!(!newest.exists() || fs::read(&newest).unwrap().len() == length);
            }
            Err(OpenError::Version { .. }) if harm.get(8) != sound.get(8) => {}
            Err(error) => panic!("harm {turn}: {error}"),
        }
        fs::write(&newest, &sound).unwrap();
    }
    // The next one is made from the older one, and all goes on.
    fs::write(&newest, &sound[..length / 2]).unwrap();
    let store = open(folder.path()).await.unwrap();
    grow(&store, 140).await;
    let expected = content(&store).await;
    drop(store);
    assert_eq!(snapshots(folder.path()).len(), 2);
    fs::remove_dir_all(folder.path().join("sled")).unwrap();
    assert_eq!(content(&open(folder.path()).await.unwrap()).await, expected);
}

#[tokio::test]
async fn a_snapshot_that_is_harmed_while_the_store_is_open_is_passed_over() {
    let (folder, _) = cleaned().await;
    let store = open(folder.path()).await.unwrap();
    let newest = snapshots(folder.path()).pop().unwrap();
    let sound = fs::read(&newest).unwrap();
    fs::write(&newest, &sound[..sound.len() / 2]).unwrap();
    grow(&store, 160).await;
    let expected = content(&store).await;
    drop(store);
    assert!(!newest.exists());
    fs::remove_dir_all(folder.path().join("sled")).unwrap();
    assert_eq!(content(&open(folder.path()).await.unwrap()).await, expected);
}

#[tokio::test]
async fn without_any_snapshot_the_journal_must_reach_back_to_its_beginning() {
    let (folder, _) = cleaned().await;
    for path in snapshots(folder.path()) {
        let sound = fs::read(&path).unwrap();
        fs::write(&path, &sound[..sound.len() - 3]).unwrap();
    }
    assert!(matches!(open(folder.path()).await.err(), Some(OpenError::Snapshot { .. })));
    for path in snapshots(folder.path()) {
        fs::remove_file(path).unwrap();
    }
    let first = first_segment(folder.path());
    match open(folder.path()).await.err().unwrap() {
        OpenError::Corrupt { segment, offset: 0, what: Damage::Missing } => assert_eq!(segment, first - 1),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn another_stores_snapshot_is_of_no_use() {
    let (folder, expected) = cleaned().await;
    let (other, _) = cleaned().await;
    let [newest, others] = [&folder, &other].map(|folder| snapshots(folder.path()).pop().unwrap());
    assert_eq!(newest.file_name(), others.file_name());
    fs::copy(others, newest).unwrap();
    fs::remove_dir_all(folder.path().join("sled")).unwrap();
    assert_eq!(content(&open(folder.path()).await.unwrap()).await, expected);
}

#[tokio::test]
async fn what_interrupted_cleaning_left_is_no_gap() {
    let (folder, expected) = cleaned().await;
    let first = first_segment(folder.path());
    let journal = folder.path().join("journal");
    // Segments that were removed and came back, since the folder wasn't synced: any of them, with gaps.
    let rubbish = |number: u64| journal.join(format!("{number:012}.seg"));
    for number in [1, first - 2] {
        fs::write(rubbish(number), b"what it was").unwrap();
    }
    // An older snapshot is removed and synced before, so it can't come back; a third newer one can be there.
    let store = open(folder.path()).await.unwrap();
    assert_eq!(content(&store).await, expected);
    drop(store);
    assert_eq!(first_segment(folder.path()), first);
    assert!(!rubbish(1).exists());
}
