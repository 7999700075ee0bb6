use std::fs;
use std::path::Path;

use bytes::Bytes;
use countersign_store::layout::{bundle, split_bundle};
use countersign_store::{Batch, CommitError, Leaf, Publication, Store};
use tempfile::TempDir;

use super::{Content, batch, commit, content, copy, open, segments};
use crate::errors::Damage;
use crate::files::{Files as _, RealFiles};
use crate::journal::{frame, replay};
use crate::publishing::checkpoint_size;
use crate::{OpenError, SledStore};

/// A closed store of `steps` commits with seven leaves each, and what it held.
async fn closed(steps: u64) -> (TempDir, Content) {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await.unwrap();
    for step in 0..steps {
        commit(&store, step, 7).await;
    }
    let content = content(&store).await;
    store.close().await.unwrap();
    (folder, content)
}

async fn check(folder: &Path, expected: &Content) -> SledStore {
    let store = open(folder).await.unwrap();
    assert_eq!(&content(&store).await, expected);
    store
}

async fn refused(folder: &Path) -> (u64, u64, Damage) {
    match open(folder).await.err().expect("a damaged store isn't opened") {
        OpenError::Corrupt { segment, offset, what } => (segment, offset, what),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_store_that_was_only_dropped_is_found_again() {
    let folder = TempDir::new().unwrap();
    let mut expected = None;
    for round in 0..6 {
        let store = open(folder.path()).await.unwrap();
        if let Some(expected) = &expected {
            assert_eq!(&content(&store).await, expected);
        }
        for step in round * 20..round * 20 + 20 {
            commit(&store, step, step % 9).await;
        }
        expected = Some(content(&store).await);
        drop(store);
    }
    assert!(segments(folder.path()).len() > 2);
}

#[tokio::test]
async fn a_store_is_open_once_at_a_time() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await.unwrap();
    assert!(matches!(open(folder.path()).await, Err(OpenError::Locked { .. })));
    store.close().await.unwrap();
    assert_eq!(store.commit(store.head(), batch(0, 1)).await, Err(CommitError::Poisoned));
    assert!(matches!(open(folder.path()).await, Err(OpenError::Locked { .. })), "it still reads");
    drop(store);
    open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn the_index_follows_from_the_journal() {
    let (folder, expected) = closed(60).await;
    fs::remove_dir_all(folder.path().join("sled")).unwrap();
    drop(check(folder.path(), &expected).await);

    // An index that is behind catches up with whatever it lacks.
    let older = TempDir::new().unwrap();
    copy(&folder.path().join("sled"), older.path());
    let store = open(folder.path()).await.unwrap();
    for step in 60..90 {
        commit(&store, step, 7).await;
    }
    let expected = content(&store).await;
    drop(store);
    fs::remove_dir_all(folder.path().join("sled")).unwrap();
    copy(older.path(), &folder.path().join("sled"));
    drop(check(folder.path(), &expected).await);
}

#[tokio::test]
async fn bundles_follow_from_the_journal() {
    let (folder, expected) = closed(120).await;
    assert_eq!(expected.head.size, 840);
    let entries = folder.path().join("log/tile/entries");
    let names = |folder: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&entries), ["000", "001", "002"]);
    assert_eq!(names(&folder.path().join("private/entries")), ["000", "001", "002"]);
    let second = fs::read(entries.join("001")).unwrap();
    assert_eq!(
        second,
        bundle(&expected.records[256..512]),
        "entry bundles are C2SP's bytes and nothing else"
    );
    let private = Bytes::from(fs::read(folder.path().join("private/entries/001")).unwrap());
    assert_eq!(private.get(..12), Some(b"CSGNPRIV\x01\0\0\0".as_slice()));
    assert_eq!(split_bundle(&private.slice(12..)).unwrap(), expected.private[256..512]);

    for gone in ["log/tile/entries/001", "private/entries/002", "private", "log"] {
        let gone = folder.path().join(gone);
        RealFiles.remove(&gone).unwrap();
        drop(check(folder.path(), &expected).await);
        assert!(gone.exists());
        assert_eq!(fs::read(entries.join("001")).unwrap(), second);
    }
}

#[tokio::test]
async fn partial_and_full_bundles_stand_right_after_reopening() {
    let folder = TempDir::new().unwrap();
    let publish = async |store: &SledStore, size: u64| {
        let checkpoint = Bytes::from(super::checkpoint(size));
        store.publish(Publication { size, files: Vec::new(), checkpoint }).await.unwrap();
    };
    let leaves = |count: usize| Batch {
        leaves: vec![Leaf { record: "r".into(), private: "p".into() }; count],
        ..Batch::default()
    };
    let file = async |store: &SledStore, path: &str| store.file(path).await.unwrap();
    let some = |count| Some(Bytes::from(bundle(&vec![Bytes::from_static(b"r"); count])));

    let store = open(folder.path()).await.unwrap();
    let head = store.commit(store.head(), leaves(300)).await.unwrap();
    publish(&store, 300).await;
    drop(store);
    let store = open(folder.path()).await.unwrap();
    assert_eq!(file(&store, "tile/entries/000").await, some(256));
    assert_eq!(file(&store, "tile/entries/001.p/44").await, some(44));
    assert_eq!(file(&store, "tile/entries/001").await, None);

    // The growing bundle goes on where it was, over the reopening.
    let head = store.commit(head, leaves(10)).await.unwrap();
    publish(&store, 305).await;
    assert_eq!(file(&store, "tile/entries/001.p/49").await, some(49));
    store.commit(head, leaves(202)).await.unwrap();
    drop(store);
    let store = open(folder.path()).await.unwrap();
    publish(&store, 512).await;
    assert_eq!(file(&store, "tile/entries/001").await, some(256));
    assert!(!folder.path().join("log/tile/entries/001.p").exists(), "superseded partials go");
    assert_eq!(fs::read_dir(folder.path().join("scratch")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_torn_last_frame_is_cut_off_wherever_it_is_torn() {
    let (folder, expected) = closed(5).await;
    let mut last = Vec::new();
    frame::encode(batch(5, 1).after(expected.head), &batch(5, 1), &mut last);
    let segment = segments(folder.path()).pop().unwrap();
    let sound = fs::read(&segment).unwrap();
    // Every byte, through the journal alone; some of them through the whole engine.
    let tear = |tail: &[u8]| fs::write(&segment, [&sound, tail].concat()).unwrap();
    let end = || {
        let journal = folder.path().join("journal");
        let segments = replay::contiguous(&RealFiles, &journal, 1).unwrap();
        let read = replay::read_all(&RealFiles, &journal, segments, |_| None, |_| Ok(())).unwrap();
        let last = read.last().unwrap();
        (last.after.sequence, last.length)
    };
    for cut in 0..last.len() {
        tear(&last[..cut]);
        assert_eq!(end(), (5, sound.len() as u64), "cut at {cut}");
        // The same, where the length was written and not all of the bytes.
        tear(&[&last[..cut], &vec![0; last.len() - cut]].concat());
        assert_eq!(end(), (5, sound.len() as u64), "zeros from {cut}");
    }
    tear(&last);
    assert_eq!(end(), (6, (sound.len() + last.len()) as u64));

    for cut in [1, 11, 12, 13, last.len() / 2, last.len() - 1] {
        tear(&last[..cut]);
        let store = check(folder.path(), &expected).await;
        assert_eq!(fs::metadata(&segment).unwrap().len(), sound.len() as u64);
        drop(store);
    }
    // A frame that is whole was written, acknowledged or not: it stands. And the journal goes on after a cut.
    tear(&last);
    let store = open(folder.path()).await.unwrap();
    assert_eq!(store.head(), batch(5, 1).after(expected.head));
    commit(&store, 6, 3).await;
    let expected = content(&store).await;
    drop(store);
    drop(check(folder.path(), &expected).await);
}

#[tokio::test]
async fn damage_anywhere_else_is_refused_with_its_place() {
    let (folder, expected) = closed(100).await;
    let segments = segments(folder.path());
    assert!(segments.len() >= 3);
    // Of each segment: the header, every part of the frame in its middle, and the last byte.
    for (number, path) in (1_u64..).zip(&segments) {
        let sound = Bytes::from(fs::read(path).unwrap());
        let mut frames = Vec::new();
        let mut at = 32;
        while let frame::Found::Body(body) = frame::look(&sound, at) {
            frames.push(at);
            at += frame::PREFIX_BYTES + body.len();
        }
        let middle = frames[frames.len() / 2 - 1];
        for (flip, offset, what) in [
            (0, 0, Damage::Header),
            (20, 0, Damage::Header),
            (32, 32, Damage::Checksum),
            (middle, middle, Damage::Checksum),
            (middle + 3, middle, Damage::Checksum),
            (middle + 5, middle, Damage::Checksum),
            (middle + 9, middle, Damage::Checksum),
            (middle + 40, middle, Damage::Checksum),
        ] {
            let mut flipped = sound.to_vec();
            flipped[flip] ^= 0x20;
            fs::write(path, &flipped).unwrap();
            assert_eq!(
                refused(folder.path()).await,
                (number, offset as u64, what),
                "byte {flip} of {number}"
            );
            assert_eq!(fs::read(path).unwrap(), flipped, "what is refused is left as it is");
        }
        // The last frame of the last segment looks torn; but what follows from it knows that it was acknowledged.
        let last = *frames.last().unwrap() as u64;
        let mut flipped = sound.to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(path, &flipped).unwrap();
        let short = Damage::Short { journal: 99, beyond: 100 };
        let what = if number == segments.len() as u64 { short } else { Damage::Checksum };
        assert_eq!(refused(folder.path()).await, (number, last, what));
        assert_eq!(fs::read(path).unwrap(), flipped, "what is refused is left as it is");
        fs::write(path, &sound).unwrap();
    }
    drop(check(folder.path(), &expected).await);
}

#[tokio::test]
async fn a_missing_part_is_refused_with_its_place() {
    let (folder, expected) = closed(100).await;
    let segments = segments(folder.path());
    for (number, path) in (1_u64..).zip(&segments[..segments.len() - 1]) {
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        assert_eq!(refused(folder.path()).await, (number, 0, Damage::Missing));
        fs::write(path, bytes).unwrap();
    }
    // Without its last segment the journal is whole, and shorter than what follows from it.
    let last = segments.last().unwrap();
    let bytes = fs::read(last).unwrap();
    fs::remove_file(last).unwrap();
    let (segment, _, what) = refused(folder.path()).await;
    assert_eq!(segment, segments.len() as u64 - 1);
    assert!(matches!(what, Damage::Short { beyond: 100, .. }), "{what}");
    fs::write(last, bytes).unwrap();

    let manifest = folder.path().join("MANIFEST");
    let bytes = fs::read(&manifest).unwrap();
    fs::remove_file(&manifest).unwrap();
    assert!(matches!(open(folder.path()).await, Err(OpenError::Manifest { .. })));
    fs::write(&manifest, bytes).unwrap();
    drop(check(folder.path(), &expected).await);
}

#[tokio::test]
async fn a_checkpoint_beyond_the_journal_is_refused() {
    let (folder, _) = closed(3).await;
    fs::write(folder.path().join("log/checkpoint"), super::checkpoint(22)).unwrap();
    let (_, _, what) = refused(folder.path()).await;
    assert_eq!(what, Damage::Short { journal: 21, beyond: 22 });
}

#[tokio::test]
async fn a_torn_checkpoint_says_nothing() {
    let whole = super::checkpoint(1_234);
    assert_eq!(checkpoint_size(whole.as_bytes()), Some(1_234));
    for cut in 0..whole.len() {
        assert_eq!(checkpoint_size(&whole.as_bytes()[..cut]), None, "cut at {cut}");
    }
    let (folder, expected) = closed(3).await;
    fs::write(folder.path().join("log/checkpoint"), &super::checkpoint(22)[..20]).unwrap();
    drop(check(folder.path(), &expected).await);
}

#[tokio::test]
async fn an_unknown_version_is_refused_by_its_number() {
    let (folder, _) = closed(1).await;
    for name in ["journal/000000000001.seg", "MANIFEST"] {
        let path = folder.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] = 2;
        fs::write(&path, bytes).unwrap();
        match open(folder.path()).await.err() {
            Some(OpenError::Version { path: named, found: 2, known: 1 }) => assert_eq!(named, path),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_interrupted_beginning_begins_again() {
    let (folder, _) = closed(0).await;
    fs::remove_file(folder.path().join("MANIFEST")).unwrap();
    let store = open(folder.path()).await.unwrap();
    commit(&store, 0, 1).await;
}
