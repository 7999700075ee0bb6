//! The ledger's own rows: their keys and bytes.

/// What counters' keys begin with.
pub(crate) const COUNTERS: &[u8] = b"c/";

/// What keys of streams begin with.
pub(crate) const STREAMS: &[u8] = b"s/";

/// What housekeeping keys begin with.
pub(crate) const HOUSEKEEPING: &[u8] = b"h/";

/// The longest value of a counter: two varints.
pub(crate) const COUNTER_BYTES: usize = 20;

/// What stands before the answer in a request row: the digest, and the first index.
pub(crate) const REQUEST_HEAD_BYTES: usize = 32 + 8;

/// Whether a key is one that only the ledger writes.
pub(crate) fn is_ours(key: &[u8]) -> bool {
    key.starts_with(COUNTERS) || key.starts_with(STREAMS)
}
