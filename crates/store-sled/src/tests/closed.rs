//! What opening believes of a store that was closed, and how it is found out when that is not so.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign_store::{CommitError, Store};
use tempfile::TempDir;

use super::damage::put_back;
use super::faults::FaultyFiles;
use super::snapshots::{cleaned, first_segment, grow, open, snapshots};
use super::{batch, commit, content, segments, snapshotting};
use crate::errors::Damage;
use crate::{OpenError, SledStore};

/// Copies a folder with the times of its files.
fn copy_with_times(from: &Path, to: &Path) {
    super::copy(from, to);
    set_times(from, to);
}

fn set_times(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            set_times(&entry.path(), &to);
        } else {
            let time = entry.metadata().unwrap().modified().unwrap();
            File::options().write(true).open(to).unwrap().set_modified(time).unwrap();
        }
    }
}

/// Changes a file and sets its time back: what a disk does that has forgotten, or a bit that flipped.
fn rot(path: &Path, harm: impl FnOnce(&mut Vec<u8>)) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    harm(&mut bytes);
    fs::write(path, bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[tokio::test]
async fn a_store_that_was_closed_is_believed_and_goes_on() {
    let (folder, mut expected) = cleaned().await;
    for round in 0..4 {
        let store = open(folder.path()).await.unwrap();
        assert!(store.believed, "round {round}");
        assert_eq!(content(&store).await, expected);
        // With what was read of it in the background, and without.
        if round % 2 == 0 {
            store.settle();
        }
        grow(&store, expected.head.sequence + 11 * round).await;
        expected = content(&store).await;
        assert_eq!(store.failure(), None);
        store.close().await.unwrap();
    }
    // And what was believed all the time is what it was.
    fs::remove_file(folder.path().join("CLOSED")).unwrap();
    fs::remove_dir_all(folder.path().join("sled")).unwrap();
    let store = open(folder.path()).await.unwrap();
    assert!(!store.believed);
    assert_eq!(content(&store).await, expected);
}

#[tokio::test]
async fn an_empty_store_and_one_whose_last_segment_is_empty_are_believed() {
    let folder = TempDir::new().unwrap();
    open(folder.path()).await.unwrap().close().await.unwrap();
    let store = open(folder.path()).await.unwrap();
    assert!(store.believed);
    for step in 0..3 {
        commit(&store, step, 29).await;
    }
    // Begins a segment, and leaves of the ones before it no more than their leaves.
    store.scrub(Arc::new(|_: &[u8], _: &dyn Fn(&[u8]) -> _| Ok(None))).await.unwrap();
    let expected = content(&store).await;
    store.close().await.unwrap();
    drop(store);
    let store = open(folder.path()).await.unwrap();
    assert!(store.believed);
    assert_eq!(content(&store).await, expected);
    store.settle();
    assert_eq!(store.failure(), None);
    commit(&store, 3, 29).await;
}

#[tokio::test]
async fn a_store_that_was_not_closed_or_has_changed_since_is_read_whole() {
    let (folder, expected) = cleaned().await;
    let all = TempDir::new().unwrap();
    copy_with_times(folder.path(), all.path());
    let newest = snapshots(folder.path()).pop().unwrap();
    let [first, .., last] = &segments(folder.path())[..] else { panic!("there are segments") };
    let later = |path: &Path| {
        let time = fs::metadata(path).unwrap().modified().unwrap() + std::time::Duration::from_nanos(1);
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    };
    let mark = folder.path().join("CLOSED");
    let harms: [(&str, &dyn Fn()); 9] = [
        ("unchanged", &|| ()),
        ("the first segment is newer", &|| later(first)),
        ("the last segment is newer", &|| later(last)),
        ("the newest snapshot is newer", &|| later(&newest)),
        ("the oldest snapshot is missing", &|| fs::remove_file(&snapshots(folder.path())[0]).unwrap()),
        ("a segment came back", &|| fs::write(folder.path().join("journal/000000000001.seg"), "").unwrap()),
        ("there is no mark", &|| fs::remove_file(&mark).unwrap()),
        ("a bit of the mark flipped", &|| rot(&mark, |bytes| bytes[30] ^= 1)),
        ("the mark is torn", &|| rot(&mark, |bytes| bytes.truncate(99))),
    ];
    for (name, harm) in harms {
        fs::remove_dir_all(folder.path()).unwrap();
        copy_with_times(all.path(), folder.path());
        harm();
        let store = open(folder.path()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(store.believed, name == "unchanged", "{name}");
        assert_eq!(content(&store).await, expected, "{name}");
        assert!(!mark.exists(), "a store that is open isn't closed");
        drop(store);
        let store = open(folder.path()).await.unwrap();
        assert!(!store.believed, "{name}, and it was only dropped");
    }
    // A copy that took no times along.
    put_back(all.path(), folder.path());
    let store = open(folder.path()).await.unwrap();
    assert!(!store.believed);
    assert_eq!(content(&store).await, expected);
}

/// A disk that said that the mark is gone, and it comes back.
#[tokio::test]
async fn a_mark_that_survives_commits_is_not_believed() {
    let (folder, _) = cleaned().await;
    let mark = folder.path().join("CLOSED");
    let marked = fs::read(&mark).unwrap();
    let (older, sled) = (TempDir::new().unwrap(), folder.path().join("sled"));
    copy_with_times(&sled, older.path());
    for to in [91, 100, 150] {
        let store = open(folder.path()).await.unwrap();
        grow(&store, to).await;
        let expected = content(&store).await;
        drop(store);
        for as_marked in [false, true] {
            if as_marked {
                // The index too is what it was then.
                fs::remove_dir_all(&sled).unwrap();
                copy_with_times(older.path(), &sled);
            }
            fs::write(&mark, &marked).unwrap();
            let store = open(folder.path()).await.unwrap();
            assert!(!store.believed, "at {to}");
            assert_eq!(content(&store).await, expected, "at {to}");
        }
    }
}

/// The mark holds, and sled doesn't: all of snapshot and journal is needed, so all of it is read.
#[tokio::test]
async fn a_believed_store_whose_index_breaks_is_read_whole() {
    let (folder, expected) = cleaned().await;
    for harmed in [false, true] {
        let index = folder.path().join("sled/1/db");
        rot(&index, |bytes| bytes.fill(0x5a));
        if harmed {
            let newest = snapshots(folder.path()).pop().unwrap();
            rot(&newest, |bytes| *bytes.last_mut().unwrap() ^= 1);
        }
        let store = open(folder.path()).await.unwrap();
        assert!(!store.believed, "it was, until the index broke");
        assert_eq!(content(&store).await, expected, "the snapshot is harmed: {harmed}");
        store.settle();
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_segment_that_rots_while_the_store_is_closed_is_found_while_it_is_open() {
    let (folder, expected) = cleaned().await;
    let first = first_segment(folder.path());
    let all = segments(folder.path());
    let saved = TempDir::new().unwrap();
    copy_with_times(folder.path(), saved.path());
    for (number, path) in (first..).zip(&all[..all.len() - 1]) {
        // Behind the first frame, which opening reads.
        rot(path, |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        });
        let store = open(folder.path()).await.unwrap();
        assert!(store.believed);
        store.settle();
        let cause = store.failure().expect("it takes no commits any more");
        assert!(cause.contains(&format!("in segment {number} at byte ")), "{cause}");
        let refused = store.commit(store.head(), batch(expected.head.sequence, 1)).await;
        assert_eq!(refused, Err(CommitError::Poisoned));
        assert_eq!(content(&store).await, expected, "reads go on");
        store.close().await.unwrap_err();
        drop(store);
        assert!(!folder.path().join("CLOSED").exists());
        match open(folder.path()).await.err().unwrap() {
            OpenError::Corrupt { segment, offset, what: Damage::Checksum } => {
                assert!(segment == number && cause.contains(&format!("at byte {offset}:")), "{cause}");
            }
            other => panic!("{other}"),
        }
        fs::remove_dir_all(folder.path()).unwrap();
        copy_with_times(saved.path(), folder.path());
    }
    // The last one, which is to grow, is read at once.
    rot(all.last().unwrap(), |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    match open(folder.path()).await.err().unwrap() {
        OpenError::Corrupt { segment, what: Damage::Short { journal: 89, beyond: 90 }, .. } => {
            assert_eq!(segment, first + all.len() as u64 - 1);
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_snapshot_that_rots_while_the_store_is_closed_is_made_again_or_named() {
    let (folder, _) = cleaned().await;
    let newest = snapshots(folder.path()).pop().unwrap();
    let sound = fs::read(&newest).unwrap();
    rot(&newest, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let store = open(folder.path()).await.unwrap();
    assert!(store.believed);
    store.settle();
    assert_eq!(store.failure(), None);
    assert!(fs::read(&newest).unwrap() == sound, "it is made of the same");
    grow(&store, 120).await;
    let expected = crate::tests::Content { head: store.head(), ..content(&store).await };
    drop(store);
    fs::remove_dir_all(folder.path().join("sled")).unwrap();
    let store = open(folder.path()).await.unwrap();
    assert_eq!(content(&store).await, expected);

    // The only one, before which the journal doesn't reach.
    store.scrub(Arc::new(|_: &[u8], _: &dyn Fn(&[u8]) -> _| Ok(None))).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let [only] = &snapshots(folder.path())[..] else { panic!("a scrub leaves one") };
    rot(only, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let store = open(folder.path()).await.unwrap();
    assert!(store.believed);
    store.settle();
    let cause = store.failure().expect("it takes no commits any more");
    assert!(cause.contains(only.file_name().unwrap().to_str().unwrap()), "{cause}");
    drop(store);
    assert!(matches!(open(folder.path()).await.err(), Some(OpenError::Snapshot { .. })));
}

/// Whatever step of taking and placing the mark fails, the store that is opened after it is what it was.
#[tokio::test]
async fn a_mark_that_is_placed_or_taken_in_part_is_none() {
    let (model, expected) = cleaned().await;
    let mut believed = [0, 0];
    for turn in 0.. {
        let folder = TempDir::new().unwrap();
        copy_with_times(model.path(), folder.path());
        let (files, struck) = FaultyFiles::stopping(turn);
        if let Ok(store) = SledStore::open_on(Arc::new(files), folder.path(), snapshotting()).await {
            // Closed with an error or without.
            let _ = store.close().await;
        }
        let struck = struck.load(Ordering::SeqCst);
        let store = open(folder.path()).await.unwrap();
        assert_eq!(content(&store).await, expected, "step {turn}");
        store.settle();
        assert_eq!(store.failure(), None, "step {turn}");
        believed[usize::from(store.believed)] += 1;
        if !struck {
            assert!(store.believed && turn > 10, "turn {turn}");
            break;
        }
    }
    assert!(believed.iter().all(|times| *times > 2), "both are tried: {believed:?}");
}
