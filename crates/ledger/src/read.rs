//! Reading what was committed.

use std::ops::Range;

use bytes::Bytes;
use countersign_proto::log::v1::Record;
use countersign_store::ReadError;
use prost::Message;

use crate::ledger::Ledger;
use crate::rows::{self, KnownRequest};
use crate::shared::damaged;
use crate::stream::{StreamItem, StreamKey};
use crate::tail::{BLOCK_ITEMS, Tail, unpack};
use crate::unit::{Counter, MAX_STREAM_BYTES};

/// Items of a stream in one answer: 16 KiB, and eight rows to read.
pub const MAX_STREAM_PAGE: usize = 1_000;

impl Ledger {
    /// The items of a stream from an index of the log on, in order: at most `limit`, and at most
    /// [`MAX_STREAM_PAGE`]. Fewer than both means that there are no more. A stream that has no items is empty.
    pub async fn stream(
        &self,
        stream: &StreamKey,
        from_index: u64,
        limit: usize,
    ) -> Result<Vec<StreamItem>, ReadError> {
        if !is_stream(stream) {
            return Ok(Vec::new());
        }
        let limit = limit.min(MAX_STREAM_PAGE);
        // The first block may have its last item alone at or after the index.
        let rows = 1 + limit.div_ceil(BLOCK_ITEMS as usize);
        let mut found = Vec::new();
        for (key, entry) in self.store().scan(rows::stream_rows(stream, from_index), rows).await? {
            let items = if rows::is_tail(stream, &key) {
                Tail::decode(&entry.value).and_then(|tail| tail.items())
            } else {
                unpack(&entry.value)
            };
            let items = items.ok_or_else(|| damaged(&key))?;
            found.extend(items.into_iter().filter(|item| item.index >= from_index));
        }
        found.truncate(limit);
        Ok(found)
    }

    /// How many records a stream has.
    pub async fn stream_length(&self, stream: &StreamKey) -> Result<u64, ReadError> {
        Ok(if is_stream(stream) { self.shared().tail(stream).await?.length() } else { 0 })
    }

    /// A counter as it was last written; zero if it never was.
    pub async fn count(&self, counter: &[u8]) -> Result<Counter, ReadError> {
        self.shared().counter(counter).await
    }

    /// What a request id was used for, if it was used within the last hour or two.
    pub async fn request(&self, key: &[u8]) -> Result<Option<KnownRequest>, ReadError> {
        self.shared().request(key).await
    }

    /// The records of `range`, clipped to the log. The caller bounds the range: all of them are in memory at once.
    pub async fn leaves(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        self.store().leaves(range).await
    }

    /// The private parts of `range`, clipped to the log. The caller bounds the range, as with
    /// [`leaves`](Ledger::leaves).
    pub async fn private_parts(&self, range: Range<u64>) -> Result<Vec<Bytes>, ReadError> {
        self.store().private_parts(range).await
    }

    /// The first index whose record is not older than this; the log's size if all are older. Reads one record for
    /// each bit of the size.
    pub async fn index_at(&self, time_ms: u64) -> Result<u64, ReadError> {
        let (mut low, mut high) = (0, self.latest().size());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.time_at(middle).await? < time_ms { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    async fn time_at(&self, index: u64) -> Result<u64, ReadError> {
        let record = self.leaves(index..index + 1).await?.pop();
        let record = record.and_then(|record| Record::decode(record).ok());
        let record = record.ok_or_else(|| ReadError::Damaged { place: format!("leaf {index}") })?;
        Ok(record.time_ms)
    }
}

/// Nothing is ever entered under other names.
fn is_stream(stream: &StreamKey) -> bool {
    (1..=MAX_STREAM_BYTES).contains(&stream.as_bytes().len())
}
