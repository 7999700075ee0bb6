//! What was deleted is on no disk once it was scrubbed, while the store is in use, and wherever the scrub is interrupted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use countersign_store::memory::MemoryStore;
use countersign_store::{Batch, CommitError, Leaf, ReadError, Store};
use tempfile::TempDir;

use super::damage::put_back;
use super::faults::{FaultyFiles, Turns, names_the_cause};
use super::{Content, batch, commit, content, copy, segments, snapshots::snapshots, snapshotting};
use crate::errors::Damage;
use crate::scrub::{Left, ScrubError, Scrubbed};
use crate::{OpenError, Options, SledStore};

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

/// Holds a store against what it held: all of it, but private parts that may be blank by now.
async fn check_open(store: &SledStore, expected: &Content) {
    let found = content(store).await;
    let blank = |part: &Bytes| part.iter().all(|byte| *byte == 0);
    for (found, expected) in found.private.iter().zip(&expected.private) {
        assert!(found == expected || (blank(found) && found.len() == expected.len()), "{found:?}");
    }
    let private = expected.private.clone();
    assert_eq!(&Content { private, ..found }, expected);
}

/// The same with a store that was dropped or closed.
async fn check(folder: &Path, expected: &Content) {
    let store = SledStore::open(folder, snapshotting()).await.unwrap();
    check_open(&store, expected).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn nothing_that_was_deleted_is_in_any_file_afterwards() {
    for (options, closes) in [(snapshotting(), true), (super::options(), false)] {
        let folder = TempDir::new().unwrap();
        let expected = deleted(folder.path(), options.clone()).await;
        let folders: Vec<_> = marked(folder.path());
        for part in ["journal", "private", "sled"] {
            assert!(
                folders.iter().any(|path| path.starts_with(folder.path().join(part))),
                "{part}: {folders:?}"
            );
        }
        let store = SledStore::open(folder.path(), options.clone()).await.unwrap();
        let done = store.scrub(left()).await.unwrap();
        assert_eq!(marked(folder.path()), Vec::<PathBuf>::new(), "while it is open");
        assert!(done.blanked == 3 && done.stripped >= 1 && done.removed >= 1, "{done:?}");
        assert_eq!(snapshots(folder.path()).len(), 1);
        check_open(&store, &expected).await;
        if closes {
            store.close().await.unwrap();
        }
        drop(store);
        check(folder.path(), &expected).await;

        // Again there is nothing left to blank, and the store goes on as ever.
        let store = SledStore::open(folder.path(), options).await.unwrap();
        let again = store.scrub(left()).await.unwrap();
        assert_eq!((again.blanked, again.removed), (0, 0));
        for step in store.head().sequence..expected.head.sequence + 60 {
            commit(&store, step, 29).await;
            store.settle();
        }
        // Full bundles are written from memory, where their private parts were blanked too.
        assert_eq!(marked(folder.path()), Vec::<PathBuf>::new());
        let grown = content(&store).await;
        drop(store);
        assert!(!segments(folder.path()).is_empty());
        check(folder.path(), &grown).await;
    }
}

#[tokio::test]
async fn an_empty_store_is_scrubbed_too() {
    let folder = TempDir::new().unwrap();
    let store = SledStore::open(folder.path(), snapshotting()).await.unwrap();
    assert_eq!(store.scrub(left()).await.unwrap(), Scrubbed::default());
    commit(&store, 0, 3).await;
    let found = content(&store).await;
    drop(store);
    check(folder.path(), &found).await;
}

#[tokio::test]
async fn a_store_that_is_closed_is_not_scrubbed() {
    let folder = TempDir::new().unwrap();
    let store = SledStore::open(folder.path(), snapshotting()).await.unwrap();
    commit(&store, 0, 3).await;
    store.close().await.unwrap();
    assert!(matches!(store.scrub(left()).await, Err(ScrubError::Ended)));
}

/// Commits and reads go on while one scrub follows the other, and none of them is lost or sees another state than its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_scrubbed_while_it_is_in_use() {
    const STEPS: u64 = 400;
    const SCRUBS: u64 = 3;
    let (folder, model) = (TempDir::new().unwrap(), MemoryStore::new());
    let store = Arc::new(SledStore::open(folder.path(), snapshotting()).await.unwrap());
    for step in 0..40 {
        commit(&store, step, 29).await;
        model.commit(model.head(), batch(step, 29)).await.unwrap();
    }
    let scrubs = Arc::new(AtomicU64::new(0));
    let scrubbing = tokio::spawn({
        let (store, scrubs) = (Arc::clone(&store), Arc::clone(&scrubs));
        async move {
            loop {
                store.scrub(left()).await.unwrap();
                scrubs.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let mut step = 40;
    while step < STEPS || scrubs.load(Ordering::SeqCst) < SCRUBS {
        commit(&store, step, 7).await;
        model.commit(model.head(), batch(step, 7)).await.unwrap();
        for key in [format!("row {}", step % 5), format!("once {step}"), format!("row {}", (step + 1) % 5)] {
            let (found, expected) = (store.get(key.as_bytes()).await, model.get(key.as_bytes()).await);
            assert_eq!(found.unwrap(), expected.unwrap(), "{key} at {step}");
        }
        let request = format!("request {}", step - 3);
        let (found, expected) =
            (store.request(request.as_bytes()).await, model.request(request.as_bytes()).await);
        assert_eq!(found.unwrap(), expected.unwrap(), "{request} at {step}");
        step += 1;
    }
    // One that is under way goes on: what is read then is the same.
    scrubbing.abort();
    // A store that was opened has an epoch of its own.
    let expected = Content { head: store.head(), ..content(&model).await };
    assert_eq!((expected.head.size, expected.head.sequence), (model.head().size, step));
    assert!(content(&*store).await == expected, "it holds what a store holds that nobody scrubbed");
    assert_eq!(store.failure(), None);
    drop(store);
    check(folder.path(), &expected).await;
}

/// The rows of a stripped segment are nowhere else once the snapshot is gone: to open would be to lose them silently.
#[tokio::test]
async fn without_its_snapshot_a_scrubbed_store_is_refused() {
    let folder = TempDir::new().unwrap();
    let store = SledStore::open(folder.path(), super::options()).await.unwrap();
    for step in 0..3 {
        commit(&store, step, 29).await;
    }
    let done = store.scrub(left()).await.unwrap();
    assert!(done.stripped > 0 && done.removed == 0, "the journal reaches back to its beginning: {done:?}");
    let expected = content(&store).await;
    store.close().await.unwrap();
    drop(store);
    let snapshot = snapshots(folder.path()).remove(0);
    let bytes = fs::read(&snapshot).unwrap();
    let broken = TempDir::new().unwrap();
    for harm in ["a flipped bit", "cut", "gone"] {
        put_back(folder.path(), broken.path());
        let snapshot = broken.path().join(snapshot.strip_prefix(folder.path()).unwrap());
        let mut harmed = bytes.clone();
        match harm {
            "a flipped bit" => harmed[bytes.len() / 2] ^= 1,
            "cut" => harmed.truncate(bytes.len() - 1),
            _ => harmed.clear(),
        }
        if harmed.is_empty() {
            fs::remove_file(&snapshot).unwrap();
        } else {
            fs::write(&snapshot, &harmed).unwrap();
        }
        let error = SledStore::open(broken.path(), super::options()).await.err().expect(harm);
        match harm {
            "gone" => {
                assert!(
                    matches!(error, OpenError::Corrupt { what: Damage::Stripped, .. }),
                    "{harm}: {error}"
                );
            }
            _ => assert!(matches!(error, OpenError::Snapshot { .. }), "{harm}: {error}"),
        }
        // Put back, nothing was lost by the try.
        fs::write(&snapshot, &bytes).unwrap();
        check(broken.path(), &expected).await;
    }
}

#[tokio::test]
async fn an_index_that_was_being_made_is_given_up() {
    let folder = TempDir::new().unwrap();
    let expected = deleted(folder.path(), snapshotting()).await;
    let sled = folder.path().join("sled");
    copy(&sled.join("1"), &sled.join("2"));
    fs::write(sled.join("2/db"), "half").unwrap();
    check(folder.path(), &expected).await;
    assert!(sled.join("1").exists() && !sled.join("2").exists());

    let store = SledStore::open(folder.path(), snapshotting()).await.unwrap();
    store.scrub(left()).await.unwrap();
    assert!(!sled.join("1").exists() && sled.join("2").exists());
    check_open(&store, &expected).await;
}

#[tokio::test]
async fn a_scrub_that_is_interrupted_anywhere_leaves_a_store_that_opens_and_is_scrubbed_again() {
    let (whole, mut turn) = (TempDir::new().unwrap(), 0);
    let expected = deleted(whole.path(), snapshotting()).await;
    loop {
        let folder = TempDir::new().unwrap();
        copy(whole.path(), folder.path());
        let (files, struck) = FaultyFiles::stopping(turn);
        if let Ok(store) = SledStore::open_on(Arc::new(files), folder.path(), snapshotting()).await {
            let done = store.scrub(left()).await;
            assert_eq!(done.is_err(), struck.load(Ordering::SeqCst), "{turn}: {done:?}");
        }
        if !struck.load(Ordering::SeqCst) {
            assert!(turn > 20, "{turn}");
            return;
        }
        check(folder.path(), &expected).await;
        let store = SledStore::open(folder.path(), snapshotting()).await.unwrap();
        store.scrub(left()).await.unwrap();
        assert_eq!(marked(folder.path()), Vec::<PathBuf>::new(), "{turn}");
        drop(store);
        check(folder.path(), &expected).await;
        turn += 1;
    }
}

/// Scrubs a copy of a store in which something fails once the scrub has begun: nothing is lost, it is said what was wrong,
/// and the same again goes on, on the store that is open or on one that is opened anew. `false` if nothing failed.
async fn goes_on(whole: &Path, expected: &Content, lasting: bool, fail: impl FnOnce(&Turns)) -> bool {
    let folder = TempDir::new().unwrap();
    copy(whole, folder.path());
    let (files, turns, struck) = FaultyFiles::failing(lasting);
    let store = SledStore::open_on(Arc::new(files), folder.path(), snapshotting()).await.unwrap();
    fail(&turns);
    let done = store.scrub(left()).await;
    if !struck.load(Ordering::SeqCst) {
        done.unwrap();
        return false;
    }
    match &done {
        // What failed once was tried again.
        Ok(_) => assert_eq!(marked(folder.path()), Vec::<PathBuf>::new()),
        Err(error) => assert!(names_the_cause(&error.to_string(), folder.path()), "{error}"),
    }
    turns.mend();
    check_open(&store, expected).await;
    let step = store.head().sequence;
    if let Some(cause) = store.failure() {
        assert!(names_the_cause(&cause, folder.path()), "{cause}");
        assert_eq!(store.commit(store.head(), batch(step, 3)).await, Err(CommitError::Poisoned));
    } else {
        store.commit(store.head(), batch(step, 3)).await.unwrap();
        store.scrub(left()).await.unwrap();
        assert_eq!(marked(folder.path()), Vec::<PathBuf>::new(), "the same again");
    }
    let grown = content(&store).await;
    drop(store);
    check(folder.path(), &grown).await;
    let store = SledStore::open(folder.path(), snapshotting()).await.unwrap();
    store.scrub(left()).await.unwrap();
    assert_eq!(marked(folder.path()), Vec::<PathBuf>::new(), "once it was opened again");
    drop(store);
    check(folder.path(), &grown).await;
    true
}

#[tokio::test]
async fn a_disk_that_is_full_at_any_step_of_a_scrub_costs_nothing() {
    let whole = TempDir::new().unwrap();
    let expected = deleted(whole.path(), snapshotting()).await;
    for lasting in [false, true] {
        let mut turn = 0;
        while goes_on(whole.path(), &expected, lasting, |turns| turns.fail_step(turn)).await {
            turn += 1;
        }
        assert!(turn > 20, "{turn}");
    }
}

/// A bundle, a segment, a snapshot that the next one is made of or that is read back: whichever it is.
#[tokio::test]
async fn a_file_that_cannot_be_read_at_any_moment_of_a_scrub_costs_nothing() {
    let whole = TempDir::new().unwrap();
    let expected = deleted(whole.path(), snapshotting()).await;
    let mut turn = 0;
    while goes_on(whole.path(), &expected, false, |turns| turns.fail_read(turn)).await {
        turn += 1;
    }
    assert!(turn > 8, "{turn}");
    for part in ["private/entries/000", "snapshots/"] {
        assert!(goes_on(whole.path(), &expected, false, |turns| turns.fail_reads_of(part)).await, "{part}");
    }
}

#[tokio::test]
async fn a_sole_snapshot_that_cannot_be_read_is_named_and_stays() {
    let folder = TempDir::new().unwrap();
    deleted(folder.path(), snapshotting()).await;
    let (files, turns, _) = FaultyFiles::failing(false);
    let files = Arc::new(files);
    let store = SledStore::open_on(Arc::clone(&files) as _, folder.path(), snapshotting()).await.unwrap();
    store.scrub(left()).await.unwrap();
    let sole = snapshots(folder.path());
    assert_eq!(sole.len(), 1);
    let step = store.head().sequence;
    commit(&store, step, 3).await;
    turns.fail_reads_of("snapshots/");
    let error = store.scrub(left()).await.unwrap_err();
    assert!(matches!(error, ScrubError::Io(_)) && names_the_cause(&error.to_string(), &sole[0]), "{error}");
    assert_eq!(store.failure(), None, "it may be read another time");
    commit(&store, step + 1, 3).await;
    assert_eq!(snapshots(folder.path()), sole);
    let expected = content(&store).await;
    drop(store);
    match SledStore::open_on(Arc::clone(&files) as _, folder.path(), snapshotting()).await {
        Ok(store) => check_open(&store, &expected).await,
        Err(error) => assert!(names_the_cause(&error.to_string(), &sole[0]), "{error}"),
    }
    assert_eq!(snapshots(folder.path()), sole);
    turns.mend();
    let store = SledStore::open_on(files, folder.path(), snapshotting()).await.unwrap();
    check_open(&store, &expected).await;
    store.scrub(left()).await.unwrap();
    drop(store);
    check(folder.path(), &expected).await;
}

/// Wherever the making of a snapshot fails that still has what is deleted later.
#[tokio::test]
async fn a_snapshot_that_failed_half_way_hides_nothing_from_a_scrub() {
    let options = Options { snapshot_bytes: 1, ..snapshotting() };
    let mut turn = 0;
    loop {
        let folder = TempDir::new().unwrap();
        let (files, turns, struck) = FaultyFiles::failing(false);
        let store = SledStore::open_on(Arc::new(files), folder.path(), options.clone()).await.unwrap();
        let puts = vec![(KEY.to_vec(), Bytes::from_static(MARKER))];
        store.commit(store.head(), Batch { puts, ..Batch::default() }).await.unwrap();
        turns.fail_step(turn);
        for step in 0..10 {
            if store.commit(store.head(), batch(step, 29)).await.is_err() {
                break;
            }
            store.settle();
        }
        turns.mend();
        if !struck.load(Ordering::SeqCst) {
            break;
        }
        turn += 1;
        // It was a commit's own step, and the store is to be opened again.
        if store.failure().is_some() {
            continue;
        }
        let deletes = vec![KEY.to_vec()];
        store.commit(store.head(), Batch { deletes, ..Batch::default() }).await.unwrap();
        commit(&store, store.head().sequence, 29).await;
        store.scrub(left()).await.unwrap();
        assert_eq!(snapshots(folder.path()).len(), 1, "after step {turn}");
        assert_eq!(marked(folder.path()), Vec::<PathBuf>::new(), "after step {turn}");
    }
    assert!(turn > 20, "{turn}");
}
