//! Streams: per party or grant, the records that concern it.

use std::sync::Arc;

use countersign_proto::log::v1::Kind;

/// Names a stream: a partner, a customer, a grant. At most [`MAX_STREAM_BYTES`](crate::MAX_STREAM_BYTES) bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(Arc<[u8]>);

impl StreamKey {
    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for StreamKey {
    fn from(name: &str) -> StreamKey {
        StreamKey(name.as_bytes().into())
    }
}

impl From<String> for StreamKey {
    fn from(name: String) -> StreamKey {
        StreamKey(name.into_bytes().into())
    }
}

impl From<&[u8]> for StreamKey {
    fn from(name: &[u8]) -> StreamKey {
        StreamKey(name.into())
    }
}

/// One record in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamItem {
    /// Its index in the log.
    pub index: u64,
    /// What it says. `Unspecified` for a kind that this version doesn't know.
    pub kind: Kind,
}
