//! What every engine must pass. An engine's tests call [`run`] with a way to make an empty one.
//!
//! The suite panics at the first breach of the contract and says which. It wants a tokio runtime, better one with
//! several threads: some checks read while they commit.

mod commits;
mod log;
mod publishing;
mod reads;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::batch::{Batch, Entry, Head, Key, Leaf, RequestRow};
use crate::contract::Store;

/// An engine under test, with the power to close and open its store.
#[async_trait]
pub trait Engine: Send {
    /// The store. The suite gives back every handle that it took before it calls [`reopen`](Engine::reopen).
    fn store(&self) -> Arc<dyn Store>;

    /// Closes the store and opens it again from what it left behind. Returns `false`, having done nothing, if the
    /// engine isn't durable.
    async fn reopen(&mut self) -> bool;
}

/// Runs all of the suite; `make` gives a new empty engine each time.
pub async fn run<E: Engine>(make: impl AsyncFn() -> E) {
    reads::absence_is_no_error(&*make().await.store()).await;
    reads::an_acknowledged_commit_is_seen(&*make().await.store()).await;
    reads::scans_are_ordered_and_limited(&*make().await.store()).await;
    reads::request_rows_go_after_two_hours(&*make().await.store()).await;
    reads::readers_see_whole_commits_meanwhile(&make().await.store()).await;

    commits::versions_name_the_commit(&*make().await.store()).await;
    commits::deletes_come_before_puts(&*make().await.store()).await;
    commits::the_head_is_the_only_condition(&*make().await.store()).await;
    commits::of_two_commits_on_one_head_one_succeeds(&make().await.store()).await;
    commits::a_commit_that_nobody_waits_for_is_whole(&make().await.store()).await;
    commits::a_refused_batch_changes_nothing(&*make().await.store()).await;
    commits::the_largest_items_are_taken(&*make().await.store()).await;

    log::ranges_are_clipped(&*make().await.store()).await;
    log::leaves_keep_their_places_over_many_bundles(&*make().await.store()).await;

    publishing::bundles_follow_the_published_size(&*make().await.store()).await;
    publishing::full_bundles_have_their_long_paths(&*make().await.store()).await;
    publishing::a_refused_publication_changes_nothing(&*make().await.store()).await;
    publishing::the_checkpoint_comes_last(&make().await.store()).await;

    let mut engine = make().await;
    reopening_gives_the_same(&mut engine).await;
}

/// Everything that a store answers about a known content, for comparison before and after it was opened again.
#[derive(Debug, PartialEq)]
struct Seen {
    head: Head,
    rows: Vec<(Key, Entry)>,
    records: Vec<Bytes>,
    private: Vec<Bytes>,
    requests: Vec<Option<Bytes>>,
    files: Vec<Option<Bytes>>,
}

async fn see(store: &dyn Store) -> Seen {
    let mut requests = Vec::new();
    for hour in 0..4 {
        requests.push(store.request(&[hour]).await.expect("requests are read"));
    }
    let mut files = Vec::new();
    for path in ["checkpoint", "tile/0/000", "tile/entries/000", "tile/entries/001.p/44", "tile/entries/002"]
    {
        files.push(store.file(path).await.expect("files are read"));
    }
    Seen {
        head: store.head(),
        rows: store.scan(vec![0]..vec![255; 9], usize::MAX).await.expect("rows are read"),
        records: store.leaves(0..u64::MAX).await.expect("leaves are read"),
        private: store.private_parts(0..u64::MAX).await.expect("private parts are read"),
        requests,
        files,
    }
}

async fn reopening_gives_the_same(engine: &mut impl Engine) {
    let empty = see(&*engine.store()).await;
    if !engine.reopen().await {
        return;
    }
    assert_eq!(see(&*engine.store()).await, empty, "an empty store that is opened again is empty");
    // 40 commits of 10 leaves: a full bundle, a partial one, published at 300, and a tail beyond what is public.
    for step in 0..40_u8 {
        let store = engine.store();
        let mut batch = Batch { leaves: leaves(u64::from(step) * 10, 10), ..Batch::default() };
        batch.puts = vec![(vec![step % 7, 1], vec![step].into()), (vec![step, 2], Bytes::new())];
        batch.deletes = vec![vec![step / 2, 2]];
        let hour = step / 10;
        batch.requests =
            vec![RequestRow { key: vec![hour], hour: u64::from(hour), value: vec![step].into() }];
        commit(&*store, batch).await;
        if store.head().size == 300 {
            publishing::publish(&*store, 300, &["tile/0/000", "tile/0/001.p/44"]).await;
        }
        let before = see(&*store).await;
        drop(store);
        if step % 8 == 7 || step == 29 {
            engine.reopen().await;
            assert_eq!(see(&*engine.store()).await, before, "a store that is opened again at step {step}");
        }
    }
    let head = engine.store().head();
    assert_eq!((head.size, head.sequence), (400, 40));
}

/// Commits at the store's head, which must succeed.
async fn commit(store: &dyn Store, batch: Batch) -> Head {
    let head = store.head();
    let expected = batch.after(head);
    let after = store.commit(head, batch).await.expect("a commit at the head succeeds");
    assert_eq!(after, expected, "the head after a commit follows from the one before it");
    assert_eq!(store.head(), after, "the head is what the commit returned");
    after
}

/// `count` leaves that name the index at which they stand.
fn leaves(from: u64, count: u64) -> Vec<Leaf> {
    let leaf = |index: u64| Leaf { record: record(index), private: private(index) };
    (from..from + count).map(leaf).collect()
}

/// Records of several lengths, the empty one too.
fn record(index: u64) -> Bytes {
    let text = format!("record {index}");
    if index % 10 == 9 { Bytes::new() } else { text.repeat(1 + (index % 5) as usize).into() }
}

fn private(index: u64) -> Bytes {
    format!("sealed {index}").into()
}

fn put(key: &[u8], value: &[u8]) -> Batch {
    Batch { puts: vec![(key.to_vec(), Bytes::copy_from_slice(value))], ..Batch::default() }
}
