//! From messages to domain values: what a field must be, once for all statements.

use bytes::Bytes;
use prost::Message;

use crate::{digest::Digest, id::Origin, key::PublicKey, time::Timestamp};

/// The largest checkpoint that a statement carries: an origin, three short lines, and a few signatures.
const MAX_CHECKPOINT_BYTES: usize = 2048;

/// A kind of statement: its type, its message, and how the message is read.
pub trait Statement: Sized {
    /// The protobuf message.
    type Message: Message + Default;

    /// The DSSE payload type, which carries the version.
    const PAYLOAD_TYPE: &'static str;

    /// Reads the message; refuses what is missing or not of its form.
    fn parse(message: Self::Message) -> Result<Self, Malformed>;

    /// The broker for which the statement was made.
    fn broker(&self) -> &Origin;

    /// The checkpoint that it carries, as all that a partner's working key signs does.
    fn checkpoint(&self) -> Option<&Checkpoint>;
}

/// A field that is missing or not of its form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {problem}")]
pub struct Malformed {
    /// The field.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Malformed {
    pub(crate) fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

/// The newest published checkpoint that a signer verified: a signed note, to be compared with one's own.
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoint(pub Bytes);

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkpoint({:?})", String::from_utf8_lossy(&self.0))
    }
}

pub(super) fn name<T>(
    field: &'static str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, crate::id::NotAName>,
) -> Result<T, Malformed> {
    parse(text).map_err(|error| Malformed::new(field, error.to_string()))
}

pub(super) fn origin(text: &str) -> Result<Origin, Malformed> {
    name("broker", text, Origin::parse)
}

pub(super) fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, Malformed> {
    Digest::from_slice(bytes).ok_or_else(|| Malformed::new(field, "must be the 32 bytes of a SHA-256"))
}

/// A hash that may be absent.
pub(super) fn digest_or_none(field: &'static str, bytes: &[u8]) -> Result<Option<Digest>, Malformed> {
    if bytes.is_empty() { Ok(None) } else { digest(field, bytes).map(Some) }
}

pub(super) fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| Malformed::new(field, format!("must be {N} bytes")))
}

pub(super) fn key(field: &'static str, bytes: &[u8]) -> Result<PublicKey, Malformed> {
    PublicKey::from_slice(bytes).map_err(|error| Malformed::new(field, error.to_string()))
}

pub(super) fn time(field: &'static str, millis: u64) -> Result<Timestamp, Malformed> {
    if millis == 0 {
        return Err(Malformed::new(field, "must be set, in Unix milliseconds"));
    }
    Ok(Timestamp::from_millis(millis))
}

pub(super) fn checkpoint(bytes: Bytes) -> Result<Checkpoint, Malformed> {
    if bytes.is_empty() || bytes.len() > MAX_CHECKPOINT_BYTES {
        return Err(Malformed::new(
            "checkpoint",
            format!("must be the newest published checkpoint, 1 to {MAX_CHECKPOINT_BYTES} bytes"),
        ));
    }
    Ok(Checkpoint(bytes))
}

pub(super) fn text(field: &'static str, text: String, max_chars: usize) -> Result<String, Malformed> {
    let count = text.chars().count();
    if text.trim().is_empty() {
        return Err(Malformed::new(field, "must not be empty"));
    }
    if count > max_chars {
        return Err(Malformed::new(field, format!("has {count} characters; {max_chars} are allowed")));
    }
    if text.chars().any(char::is_control) {
        return Err(Malformed::new(field, "must not contain control characters"));
    }
    Ok(text)
}
