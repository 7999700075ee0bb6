use std::ops::Range;

use bytes::Bytes;

use super::{commit, leaves, private, record};
use crate::batch::Batch;
use crate::contract::Store;

async fn check(store: &dyn Store, range: Range<u64>, expected: Range<u64>) {
    let records: Vec<Bytes> = expected.clone().map(record).collect();
    let parts: Vec<Bytes> = expected.map(private).collect();
    assert_eq!(store.leaves(range.clone()).await, Ok(records), "leaves of {range:?}");
    assert_eq!(store.private_parts(range.clone()).await, Ok(parts), "private parts of {range:?}");
}

pub(super) async fn ranges_are_clipped(store: &dyn Store) {
    commit(store, Batch { leaves: leaves(0, 10), ..Batch::default() }).await;
    check(store, 0..10, 0..10).await;
    check(store, 3..5, 3..5).await;
    check(store, 8..20, 8..10).await;
    check(store, 0..u64::MAX, 0..10).await;
    check(store, 10..20, 0..0).await;
    check(store, u64::MAX - 1..u64::MAX, 0..0).await;
    check(store, 4..4, 0..0).await;
    #[expect(clippy::reversed_empty_ranges, reason = "a range that ends before it starts is what is tried")]
    check(store, 5..4, 0..0).await;
}

pub(super) async fn leaves_keep_their_places_over_many_bundles(store: &dyn Store) {
    // Batches that end before, at and after the ends of bundles, and one over several of them.
    let mut size = 0;
    for count in [255, 1, 1, 255, 256, 100, 700, 1] {
        commit(store, Batch { leaves: leaves(size, count), ..Batch::default() }).await;
        size += count;
        check(store, size - 1..size, size - 1..size).await;
        check(store, 0..size + 1, 0..size).await;
    }
    for edge in [256, 512, 768, 1_536] {
        check(store, edge - 1..edge, edge - 1..edge).await;
        check(store, edge..edge + 1, edge..edge + 1).await;
        check(store, edge - 1..edge + 1, edge - 1..edge + 1).await;
    }
    check(store, 200..1_300, 200..1_300).await;
}
