//! The ledger's own rows: their keys and bytes.
//!
//! | key | value |
//! |---|---|
//! | `c/` counter | count, start of the window, as varints |
//! | `s/` length of the name, name, `b`, index of the last item | a full block of a stream, see [`Tail`](crate::tail::Tail) |
//! | `s/` length of the name, name, `t` | the tail of a stream: its length, and the items that fill no block yet |
//!
//! A full block is keyed by its *last* item: so the first block at or after `b` and an index is the one that a reader
//! at that index begins with, the blocks after it follow in order, and the tail comes last. One scan reads them all.
//!
//! Request rows stand in the store's own space for them: digest, index of the first record, answer.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};
use countersign_store::Key;
use prost::encoding::{decode_varint, encode_varint};

use crate::stream::StreamKey;
use crate::unit::{Counter, Request};

/// What counters' keys begin with.
pub(crate) const COUNTERS: &[u8] = b"c/";

/// What keys of streams begin with.
pub(crate) const STREAMS: &[u8] = b"s/";

/// What housekeeping keys begin with.
pub(crate) const HOUSEKEEPING: &[u8] = b"h/";

/// The longest value of a counter: two varints.
pub(crate) const COUNTER_BYTES: usize = 20;

/// What stands before the answer in a request row: the digest, and the first index.
pub(crate) const REQUEST_HEAD_BYTES: usize = DIGEST_BYTES + 8;

const DIGEST_BYTES: usize = 32;

const BLOCK: u8 = b'b';
const TAIL: u8 = b't';
const AFTER_TAIL: u8 = b'u';

/// Whether a key is one that only the ledger writes.
pub(crate) fn is_ours(key: &[u8]) -> bool {
    key.starts_with(COUNTERS) || key.starts_with(STREAMS)
}

/// Where a counter stands.
pub(crate) fn counter_key(counter: &[u8]) -> Key {
    [COUNTERS, counter].concat()
}

pub(crate) fn encode_counter(counter: Counter) -> Bytes {
    let mut value = Vec::with_capacity(COUNTER_BYTES);
    encode_varint(counter.count, &mut value);
    encode_varint(counter.window_start_ms, &mut value);
    value.into()
}

pub(crate) fn decode_counter(mut value: &[u8]) -> Option<Counter> {
    let count = decode_varint(&mut value).ok()?;
    let window_start_ms = decode_varint(&mut value).ok()?;
    value.is_empty().then_some(Counter { count, window_start_ms })
}

/// Where the full block stands whose last item has this index.
pub(crate) fn block_key(stream: &StreamKey, last_index: u64) -> Key {
    let mut key = stream_key(stream, BLOCK);
    key.put_u64(last_index);
    key
}

/// Where the tail stands.
pub(crate) fn tail_key(stream: &StreamKey) -> Key {
    stream_key(stream, TAIL)
}

/// Whether a key of a stream is that of its tail.
pub(crate) fn is_tail(stream: &StreamKey, key: &[u8]) -> bool {
    key == tail_key(stream)
}

/// The blocks that hold items at `from_index` and after, and the tail.
pub(crate) fn stream_rows(stream: &StreamKey, from_index: u64) -> Range<Key> {
    block_key(stream, from_index)..stream_key(stream, AFTER_TAIL)
}

/// The length before the name keeps one stream's rows apart from those of a stream whose name goes on.
fn stream_key(stream: &StreamKey, row: u8) -> Key {
    let name = stream.as_bytes();
    let mut key = Vec::with_capacity(STREAMS.len() + 1 + name.len() + 9);
    key.put_slice(STREAMS);
    key.put_u8(name.len() as u8); // at most MAX_STREAM_BYTES, which every caller has checked
    key.put_slice(name);
    key.put_u8(row);
    key
}

/// What a request id was used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRequest {
    /// What was asked, hashed.
    pub digest: [u8; DIGEST_BYTES],
    /// The index of the first record that came of it.
    pub first_index: u64,
    /// The [answer](crate::Request::answer) that was kept with it.
    pub answer: Bytes,
}

impl KnownRequest {
    pub(crate) fn new(request: &Request, first_index: u64) -> KnownRequest {
        KnownRequest { digest: request.digest, first_index, answer: request.answer.clone() }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut value = Vec::with_capacity(REQUEST_HEAD_BYTES + self.answer.len());
        value.put_slice(&self.digest);
        value.put_u64(self.first_index);
        value.put_slice(&self.answer);
        value.into()
    }

    pub(crate) fn decode(mut value: Bytes) -> Option<KnownRequest> {
        if value.len() < REQUEST_HEAD_BYTES {
            return None;
        }
        let mut digest = [0; DIGEST_BYTES];
        value.copy_to_slice(&mut digest);
        Some(KnownRequest { digest, first_index: value.get_u64(), answer: value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        for counter in [
            Counter::default(),
            Counter { count: 1, window_start_ms: 1_700_000_000_000 },
            Counter { count: u64::MAX, window_start_ms: u64::MAX },
        ] {
            let value = encode_counter(counter);
            assert!(value.len() <= COUNTER_BYTES);
            assert_eq!(decode_counter(&value), Some(counter));
            assert_eq!(decode_counter(&value[..value.len() - 1]), None);
            assert_eq!(decode_counter(&[&value[..], &[0]].concat()), None);
        }
        let remembered = KnownRequest { digest: [7; 32], first_index: 9, answer: "grants/1".into() };
        assert_eq!(KnownRequest::decode(remembered.encode()), Some(remembered.clone()));
        assert_eq!(KnownRequest::decode(remembered.encode().slice(..39)), None);
    }

    #[test]
    fn rows_of_a_stream_are_in_order_and_apart_from_other_streams() {
        let stream = StreamKey::from("partners/hopp");
        let range = stream_rows(&stream, 7);
        assert!(!range.contains(&block_key(&stream, 6)));
        for inside in [block_key(&stream, 7), block_key(&stream, u64::MAX), tail_key(&stream)] {
            assert!(range.contains(&inside));
        }
        assert!(block_key(&stream, 255) < block_key(&stream, 256));
        assert!(block_key(&stream, u64::MAX) < tail_key(&stream));
        for other in ["partners/hop", "partners/hoppb", "partners/hoppt"] {
            let other = StreamKey::from(other);
            assert!(!range.contains(&block_key(&other, 7)));
            assert!(!range.contains(&tail_key(&other)));
        }
        assert!(is_tail(&stream, &tail_key(&stream)) && !is_tail(&stream, &block_key(&stream, 1)));
    }
}
