//! What stands on disks: frames of the journal, snapshots, a partner's book.

use bytes::Bytes;
use countersign_client::doors as client;
use countersign_store_sled::doors as engine;

/// A frame of the journal after a zero; a frame's body after anything else. What reads is written as the same bytes.
pub(super) fn journal(data: &[u8]) {
    let Some((what, bytes)) = data.split_first() else { return };
    let framed = if *what == 0 { Bytes::copy_from_slice(bytes) } else { engine::journal_framed(bytes) };
    if let Some((_, batch, again)) = engine::journal_frame(&framed) {
        assert!(framed.starts_with(&again));
        let items = batch.puts.len() + batch.deletes.len() + batch.leaves.len() + batch.requests.len();
        assert!(2 * items <= framed.len(), "an item takes at least the two bytes of its length");
        let lengths = batch.leaves.iter().map(|leaf| (leaf.record.len(), leaf.private.len())).collect();
        assert_eq!(engine::journal_leaf_lengths(&framed), Some(lengths));
    }
    // Behind a byte that is no frame, the frame is found again if there is one.
    let behind = Bytes::from([&[0xa5], framed.as_ref()].concat());
    if *what != 0 {
        assert!(engine::journal_any_after(&behind, 0));
    }
}

/// A snapshot's file after a zero; its items, after their number and that of the leaves, after anything else. What is read
/// to its end has no more items than it has bytes for.
pub(super) fn snapshot(data: &[u8]) {
    let [what, leaves, said, items @ ..] = data else { return };
    let framed = engine::snapshot_framed(u64::from(*leaves), u64::from(*said), items);
    let read = if *what == 0 { engine::snapshot(&data[1..]) } else { engine::snapshot(&framed) };
    if let (Some((bundles, rows)), true) = (read, *what != 0) {
        assert_eq!(bundles + rows, usize::from(*said));
        assert_eq!(bundles, usize::from(*leaves).div_ceil(256));
        assert!(9 * (bundles + rows) <= items.len());
    }
}

/// A book's file. What is whole of it is written as the same bytes.
pub(super) fn book(data: &[u8]) {
    if let Some((good, again)) = client::read_frames(data) {
        assert_eq!(&data[..good], again);
    }
}
