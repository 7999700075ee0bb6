//! Statements as they stand in entries.

use bytes::Bytes;
use countersign_grants::{digest::Digest, envelope, id::SubjectHandle, statement::Statement};
use countersign_proto::statement::v1::Envelope;
use prost::Message as _;

/// An envelope as it stands in an entry.
pub(crate) fn envelope_bytes(envelope: &Envelope) -> Vec<u8> {
    envelope.encode_to_vec()
}

/// An envelope from an entry. One that does not read is empty, and fails every check.
pub(crate) fn envelope_of(bytes: &Bytes) -> Envelope {
    Envelope::decode(bytes.clone()).unwrap_or_default()
}

/// Reads a statement that verified before it was entered.
pub(super) fn peek<S: Statement>(bytes: &[u8]) -> Result<(S, Digest), String> {
    let envelope = Envelope::decode(bytes).map_err(|error| error.to_string())?;
    let statement = envelope::peek::<S>(Some(&envelope)).map_err(|error| error.to_string())?;
    Ok((statement, envelope::digest(&envelope)))
}

pub(super) fn handle(subject: &str) -> Result<SubjectHandle, String> {
    SubjectHandle::parse(subject).map_err(|error| error.to_string())
}
