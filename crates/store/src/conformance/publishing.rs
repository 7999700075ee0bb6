use std::sync::Arc;

use bytes::Bytes;

use super::{commit, leaves, record};
use crate::batch::{Batch, Head, Publication};
use crate::contract::Store;
use crate::errors::PublishError;
use crate::layout::{LogPath, WIDTH, bundle};

/// A checkpoint as far as an engine may read it: the size on the second line, and that it is signed to its end.
fn checkpoint(size: u64) -> Bytes {
    format!("log.example/conformance\n{size}\nroot\n\n\u{2014} log.example/conformance c2lnbmVk\n").into()
}

fn publication(size: u64, tiles: &[&str]) -> Publication {
    let tile = |path: &&str| ((*path).to_owned(), Bytes::from(format!("hashes of {path}")));
    Publication { size, files: tiles.iter().map(tile).collect(), checkpoint: checkpoint(size) }
}

pub(super) async fn publish(store: &dyn Store, size: u64, tiles: &[&str]) {
    store.publish(publication(size, tiles)).await.expect("a publication succeeds");
    check(store, "checkpoint", Some(checkpoint(size))).await;
    for path in tiles {
        check(store, path, Some(format!("hashes of {path}").into())).await;
    }
    if size >= WIDTH {
        check_bundle(store, 0, WIDTH).await;
        check_bundle(store, size / WIDTH - 1, WIDTH).await;
    }
    if !size.is_multiple_of(WIDTH) {
        check_bundle(store, size / WIDTH, size % WIDTH).await;
    }
}

async fn check(store: &dyn Store, path: &str, expected: Option<Bytes>) {
    let length = expected.as_ref().map(|bytes| bytes.len() as u64);
    let paths = vec![path.to_owned(), "tile/63/000".to_owned()];
    assert_eq!(store.file_lengths(paths).await, Ok(vec![length, None]), "the length of {path}");
    assert_eq!(store.file(path).await, Ok(expected), "{path}");
}

async fn check_bundle(store: &dyn Store, number: u64, width: u64) {
    let path =
        LogPath::last_partial(number * WIDTH + width).unwrap_or(LogPath::Entries { number, partial: None });
    let records: Vec<Bytes> = (number * WIDTH..number * WIDTH + width).map(record).collect();
    check(store, &path.to_string(), Some(bundle(&records).into())).await;
}

async fn grow(store: &dyn Store, to: u64) -> Head {
    let size = store.head().size;
    commit(store, Batch { leaves: leaves(size, to - size), ..Batch::default() }).await
}

pub(super) async fn bundles_follow_the_published_size(store: &dyn Store) {
    publish(store, 0, &[]).await;
    grow(store, 5).await;
    check(store, "tile/entries/000.p/5", None).await;
    publish(store, 5, &["tile/0/000.p/5"]).await;
    check(store, "tile/entries/000", None).await;
    publish(store, 5, &[]).await;
    // The published size may lie behind the log.
    grow(store, 200).await;
    publish(store, 150, &["tile/0/000.p/150"]).await;
    check_bundle(store, 0, 5).await;
    check(store, "tile/entries/000.p/200", None).await;
    grow(store, 300).await;
    publish(store, 255, &["tile/0/000.p/255"]).await;
    publish(store, 256, &["tile/0/000", "tile/1/000.p/1"]).await;
    check(store, "tile/entries/001.p/44", None).await;
    publish(store, 300, &["tile/0/001.p/44"]).await;
    grow(store, 1_024).await;
    publish(store, 1_024, &["tile/0/001", "tile/0/002", "tile/0/003", "tile/1/000.p/4"]).await;
    for number in 0..4 {
        check_bundle(store, number, WIDTH).await;
    }
    check(store, "tile/entries/004", None).await;
    check(store, "tile/0/000", Some("hashes of tile/0/000".into())).await;
}

pub(super) async fn full_bundles_have_their_long_paths(store: &dyn Store) {
    let end = 1_001 * WIDTH + 3;
    while store.head().size < end {
        grow(store, end.min(store.head().size + 40_000)).await;
    }
    publish(store, end, &["tile/0/x001/000", "tile/0/x001/001.p/3", "tile/1/003.p/233"]).await;
    check_bundle(store, 999, WIDTH).await;
    check_bundle(store, 1_000, WIDTH).await;
    let last: Vec<Bytes> = (1_001 * WIDTH..end).map(record).collect();
    check(store, "tile/entries/x001/001.p/3", Some(bundle(&last).into())).await;
    check(store, "tile/entries/1000", None).await;
}

pub(super) async fn a_refused_publication_changes_nothing(store: &dyn Store) {
    grow(store, 10).await;
    publish(store, 7, &["tile/0/000.p/7"]).await;
    let refused = async |publication: Publication, expected: PublishError| {
        assert_eq!(store.publish(publication).await, Err(expected));
        check(store, "checkpoint", Some(checkpoint(7))).await;
        check(store, "tile/0/000.p/9", None).await;
    };
    refused(publication(11, &["tile/0/000.p/9"]), PublishError::Beyond { size: 11, head: 10 }).await;
    refused(publication(6, &["tile/0/000.p/9"]), PublishError::Backwards { size: 6, published: 7 }).await;
    for path in ["tile/entries/000.p/9", "checkpoint", "../MANIFEST", "tile/0/000.p/0", "tile/0/0/../9", ""] {
        let expected = PublishError::Path { path: path.to_owned() };
        refused(publication(9, &["tile/0/000.p/9", path]), expected).await;
    }
    publish(store, 10, &["tile/0/000.p/10"]).await;
}

/// A reader that finds a checkpoint finds all that it rests on.
pub(super) async fn the_checkpoint_comes_last(store: &Arc<dyn Store>) {
    const LAST: u64 = 320;
    let reader = tokio::spawn({
        let store = Arc::clone(store);
        async move {
            let mut seen = 0;
            while seen < LAST {
                tokio::task::yield_now().await;
                let Some(found) = store.file("checkpoint").await.expect("the checkpoint is read") else {
                    continue;
                };
                let text = String::from_utf8(found.to_vec()).expect("the checkpoint is whole");
                let size: u64 =
                    text.lines().nth(1).and_then(|size| size.parse().ok()).expect("it has its size");
                assert_eq!(found, checkpoint(size), "the checkpoint is whole");
                assert!(size >= seen, "a checkpoint of {size} came after one of {seen}");
                seen = size;
                for path in LogPath::last_partial(size).into_iter().chain(full_path(size)) {
                    // A partial bundle may go, but only when the full one is there.
                    let bytes = store.file(&path.to_string()).await.expect("a bundle is read");
                    let instead = store.file(&path.full().to_string()).await.expect("a bundle is read");
                    assert!(bytes.or(instead).is_some(), "checkpoint {size} without {path}");
                }
            }
        }
    });
    for size in (16..=LAST).step_by(16) {
        grow(&**store, size).await;
        store.publish(publication(size, &[])).await.expect("a publication succeeds");
    }
    reader.await.expect("the reader finds nothing amiss");
}

fn full_path(size: u64) -> Option<LogPath> {
    Some(LogPath::Entries { number: (size / WIDTH).checked_sub(1)?, partial: None })
}
