//! What was answered to fetches.

use bytes::Bytes;
use countersign_grants::{catalogue::FieldPath, digest::Digest, statement::Fetch, time::Timestamp};

use super::entry::Entry;

/// What was answered to a fetch.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) key: Digest,
    pub(crate) grant: Digest,
    pub(crate) at: Timestamp,
    pub(crate) fetch: Digest,
    /// When the fetch says that it was signed, and what it asks for.
    pub(crate) asked: Timestamp,
    pub(crate) fields: Vec<FieldPath>,
    pub(crate) fetch_bytes: Bytes,
    pub(crate) sealed: Bytes,
    pub(crate) provision: Digest,
    pub(crate) provision_bytes: Bytes,
    /// The customer's tap that it used.
    pub(crate) tap: Option<Digest>,
}

impl Answer {
    pub(crate) fn to_entry(&self) -> Entry {
        Entry::Provided {
            grant: *self.grant.as_bytes(),
            at_ms: self.at.as_millis(),
            fetch: self.fetch_bytes.to_vec(),
            sealed: self.sealed.to_vec(),
            provision: self.provision_bytes.to_vec(),
        }
    }
}

/// The key under which an answer is kept: the recipient and its request id.
pub(crate) fn answer_key(fetch: &Fetch) -> Digest {
    Digest::of_parts(&[fetch.recipient.as_str().as_bytes(), &[0], fetch.request_id.as_bytes()])
}
