//! What was deleted is on no disk once it was scrubbed, wherever the scrub is interrupted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use countersign_store::{Batch, Leaf, ReadError, Store};
use tempfile::TempDir;

use super::faults::FaultyFiles;
use super::{Content, batch, commit, content, copy, segments, snapshots::snapshots, snapshotting};
use crate::files::Files;
use crate::scrub::{Left, Scrubbed, scrub, scrub_on};
use crate::{Options, SledStore};

/// In a row that is deleted, in one that is written anew, and in private parts of the bundles that are full and of the one
/// that grows.
const MARKER: &[u8] = b"mei, by a name that nothing else has";

/// The row by which private parts with a marker are told from others.
const KEY: &[u8] = b"the key of the marked ones";

fn left() -> Arc<Left> {
    Arc::new(|part: &[u8], stands: &dyn Fn(&[u8]) -> Result<bool, ReadError>| {
        let marked = part.windows(MARKER.len()).any(|window| window == MARKER);
        Ok(if marked && !stands(KEY)? { Some(vec![0; part.len()]) } else { None })
    })
}

/// A store that has deleted what is marked, closed; and what it holds.
async fn deleted(folder: &Path, options: Options) -> Content {
    let store = SledStore::open(folder, options.clone()).await.unwrap();
    let put = |key: &[u8], value: &[u8]| (key.to_vec(), Bytes::copy_from_slice(value));
    let marked = |puts, leaves: usize| {
        let leaf = Leaf { record: "a record".into(), private: [b"sealed ", MARKER].concat().into() };
        Batch { puts, leaves: vec![leaf; leaves], ..Batch::default() }
    };
    let mut step = 0;
    let mut head = store.commit(store.head(), marked(vec![put(KEY, MARKER), put(b"row", MARKER)], 3)).await;
    while step < 40 {
        assert!(head.is_ok());
        head = store.commit(store.head(), batch(step, 29)).await;
        store.settle();
        step += 1;
    }
    // Closed, so that all of it has reached sled.
    store.close().await.unwrap();
    drop(store);
    let store = SledStore::open(folder, options).await.unwrap();
    let last = marked(vec![put(MARKER, b"a key"), put(b"row", b"anew")], 2);
    store.commit(store.head(), last).await.unwrap();
    let gone = Batch { deletes: vec![KEY.to_vec(), MARKER.to_vec()], ..Batch::default() };
    store.commit(store.head(), gone).await.unwrap();
    let found = content(&store).await;
    assert!(found.head.size % 256 > 2, "some of it is in the bundle that grows");
    store.close().await.unwrap();
    found
}

/// The files that hold the marker.
fn marked(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(marked(&entry.path()));
        } else if fs::read(entry.path()).unwrap().windows(MARKER.len()).any(|window| window == MARKER) {
            found.push(entry.path());
        }
    }
    found
}

/// Opens the store, and holds it against what it held: all of it, but private parts that may be blank by now.
async fn check(folder: &Path, expected: &Content) {
    let store = SledStore::open(folder, snapshotting()).await.unwrap();
    let found = content(&store).await;
    let blank = |part: &Bytes| part.iter().all(|byte| *byte == 0);
    for (found, expected) in found.private.iter().zip(&expected.private) {
        assert!(found == expected || (blank(found) && found.len() == expected.len()), "{found:?}");
    }
    let private = expected.private.clone();
    assert_eq!(&Content { private, ..found }, expected);
    store.close().await.unwrap();
}

#[tokio::test]
async fn nothing_that_was_deleted_is_in_any_file_afterwards() {
    for options in [snapshotting(), super::options()] {
        let folder = TempDir::new().unwrap();
        let expected = deleted(folder.path(), options.clone()).await;
        let folders: Vec<_> = marked(folder.path());
        for part in ["journal", "private", "sled"] {
            assert!(
                folders.iter().any(|path| path.starts_with(folder.path().join(part))),
                "{part}: {folders:?}"
            );
        }
        let done = scrub(folder.path(), options.clone(), left()).await.unwrap();
        assert_eq!(marked(folder.path()), Vec::<PathBuf>::new());
        assert!(done.blanked == 3 && done.stripped >= 1 && done.removed >= 1, "{done:?}");
        assert_eq!(snapshots(folder.path()).len(), 1);
        check(folder.path(), &expected).await;

        // Again there is nothing left to do, and the store goes on as ever.
        let again = scrub(folder.path(), options.clone(), left()).await.unwrap();
        assert_eq!((again.blanked, again.removed), (0, 0));
        let store = SledStore::open(folder.path(), options).await.unwrap();
        for step in store.head().sequence..expected.head.sequence + 60 {
            commit(&store, step, 29).await;
            store.settle();
        }
        let grown = content(&store).await;
        drop(store);
        assert!(!segments(folder.path()).is_empty());
        check(folder.path(), &grown).await;
    }
}

#[tokio::test]
async fn an_empty_store_is_scrubbed_too() {
    let folder = TempDir::new().unwrap();
    SledStore::open(folder.path(), snapshotting()).await.unwrap().close().await.unwrap();
    assert_eq!(scrub(folder.path(), snapshotting(), left()).await.unwrap(), Scrubbed::default());
    SledStore::open(folder.path(), snapshotting()).await.unwrap();
}

#[tokio::test]
async fn a_scrub_that_is_interrupted_anywhere_leaves_a_store_that_opens_and_is_scrubbed_again() {
    let (whole, mut turn) = (TempDir::new().unwrap(), 0);
    let expected = deleted(whole.path(), snapshotting()).await;
    loop {
        let folder = TempDir::new().unwrap();
        copy(whole.path(), folder.path());
        let (files, struck) = FaultyFiles::stopping(turn);
        let files: Arc<dyn Files> = Arc::new(files);
        let done = scrub_on(files, folder.path().to_owned(), snapshotting(), left()).await;
        if !struck.load(Ordering::SeqCst) {
            assert!(done.is_ok() && turn > 20, "{turn}: {done:?}");
            return;
        }
        check(folder.path(), &expected).await;
        scrub(folder.path(), snapshotting(), left()).await.unwrap();
        assert_eq!(marked(folder.path()), Vec::<PathBuf>::new(), "{turn}");
        check(folder.path(), &expected).await;
        turn += 1;
    }
}
