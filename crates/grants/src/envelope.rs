//! DSSE envelopes: the bytes that were signed, kept as they were signed.
//!
//! [`verify`] is the only way to a [`Signed`], and only a [`Signed`] can be acted on.

use bytes::Bytes;
use countersign_proto::statement::v1::{Envelope, Signature};
use prost::Message;

use crate::{
    digest::Digest,
    id::Origin,
    key::{KeyId, PublicKey, SIGNATURE_BYTES, SigningKey},
    statement::{Malformed, Statement},
};

/// The largest payload. The largest statement is an offer with texts in several languages, under 8 KiB.
pub const MAX_PAYLOAD_BYTES: usize = 16 * 1024;

/// The most signatures that an envelope carries: two links, or two operators, and as many again to change keys.
pub const MAX_SIGNATURES: usize = 4;

/// A statement that verified: under which key, and the exact bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed<S> {
    statement: S,
    envelope: Envelope,
    digest: Digest,
    signer: KeyId,
}

impl<S> Signed<S> {
    /// What was signed.
    pub fn statement(&self) -> &S {
        &self.statement
    }

    /// The envelope as it was received.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// SHA-256 of the payload: the name of the statement wherever another builds on it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The key whose signature verified.
    pub fn signer(&self) -> &KeyId {
        &self.signer
    }
}

/// Why an envelope is refused. [`StatementError::check`] names the check for machines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// There is no envelope.
    #[error("the statement is missing")]
    Missing,
    /// Of another type or version than this place asks for.
    #[error("the statement's type is `{found}`, not `{expected}`")]
    Type {
        /// What this place asks for.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// Larger than any statement.
    #[error("the statement has {bytes} bytes; {MAX_PAYLOAD_BYTES} are allowed")]
    TooLarge {
        /// How large.
        bytes: usize,
    },
    /// No or too many signatures.
    #[error("the statement has {found} signatures; 1 to {MAX_SIGNATURES} are allowed")]
    Signatures {
        /// How many.
        found: usize,
    },
    /// A signature or the id of its key is not of its length: what is ignored must not be a place to hide bytes in.
    #[error("a signature has {SIGNATURE_BYTES} bytes, and the id of its key is a thumbprint")]
    SignatureForm,
    /// Nobody of those who may sign here did.
    #[error("the statement is not signed by a key that may sign it here")]
    UnknownKey,
    /// A key that may sign is named, and did not make the signature.
    #[error("the signature of key `{key}` does not verify")]
    Signature {
        /// The key that is named.
        key: KeyId,
    },
    /// The bytes are no message of this type.
    #[error("the statement's payload does not parse")]
    Unparsable,
    /// The bytes carry more than the message says, or say it in another way.
    #[error("the statement's payload is not its canonical encoding: unknown or repeated fields are refused")]
    NotCanonical,
    /// For another broker.
    #[error("the statement is for the broker `{found}`, not `{expected}`")]
    Broker {
        /// Which broker this is.
        expected: Origin,
        /// Which broker it names.
        found: Origin,
    },
    /// A field is missing or not of its form.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl StatementError {
    /// A stable word for the check that failed; the API's `metadata` carries it.
    pub fn check(&self) -> &'static str {
        match self {
            Self::Missing => "present",
            Self::Type { .. } => "payload_type",
            Self::TooLarge { .. } => "size",
            Self::Signatures { .. } => "signature_count",
            Self::SignatureForm => "signature_form",
            Self::UnknownKey => "key",
            Self::Signature { .. } => "signature",
            Self::Unparsable => "parse",
            Self::NotCanonical => "canonical",
            Self::Broker { .. } => "broker",
            Self::Malformed(malformed) => malformed.field,
        }
    }
}

/// DSSE's pre-authentication encoding: what a signature covers.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut encoding =
        format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    encoding.extend_from_slice(payload);
    encoding
}

/// Signs a statement once with each of the keys.
pub fn sign<S: Statement>(message: &S::Message, keys: &[&SigningKey]) -> Envelope {
    let payload = message.encode_to_vec();
    let encoding = pre_authentication_encoding(S::PAYLOAD_TYPE, &payload);
    let signatures = keys
        .iter()
        .map(|key| Signature {
            key_id: key.id().as_str().to_owned(),
            signature: Bytes::copy_from_slice(&key.sign(&encoding)),
        })
        .collect();
    Envelope { payload_type: S::PAYLOAD_TYPE.to_owned(), payload: payload.into(), signatures }
}

/// The digest by which other statements name this one. Says nothing about who signed.
pub fn digest(envelope: &Envelope) -> Digest {
    Digest::of(&envelope.payload)
}

/// The ids of the keys that claim to have signed, as far as they are ids.
pub fn claimed_signers(envelope: &Envelope) -> impl Iterator<Item = KeyId> + '_ {
    envelope
        .signatures
        .iter()
        .take(MAX_SIGNATURES)
        .filter_map(|signature| KeyId::parse(&signature.key_id).ok())
}

/// Verifies the bytes as received, then parses them, then refuses what would be encoded in another way.
///
/// One signature by one of `keys` is needed. A signature by any other key is ignored; a wrong one under one of
/// `keys` is not.
pub fn verify<S: Statement>(
    envelope: Option<&Envelope>,
    keys: &[&PublicKey],
    broker: &Origin,
) -> Result<Signed<S>, StatementError> {
    let envelope = envelope.ok_or(StatementError::Missing)?;
    bounded::<S>(envelope)?;
    let encoding = pre_authentication_encoding(&envelope.payload_type, &envelope.payload);
    let mut signer = None;
    for signature in &envelope.signatures {
        let Some(key) = keys.iter().find(|key| key.id().as_str() == signature.key_id) else { continue };
        if !key.verifies(&encoding, &signature.signature) {
            return Err(StatementError::Signature { key: key.id().clone() });
        }
        signer.get_or_insert_with(|| key.id().clone());
    }
    let signer = signer.ok_or(StatementError::UnknownKey)?;
    let statement = read::<S>(envelope)?;
    if statement.broker() != broker {
        return Err(StatementError::Broker { expected: broker.clone(), found: statement.broker().clone() });
    }
    Ok(Signed { statement, envelope: envelope.clone(), digest: digest(envelope), signer })
}

/// Reads a statement *without* verifying it, to learn which key must have signed it. Act on nothing it says.
pub fn peek<S: Statement>(envelope: Option<&Envelope>) -> Result<S, StatementError> {
    let envelope = envelope.ok_or(StatementError::Missing)?;
    bounded::<S>(envelope)?;
    read::<S>(envelope)
}

fn bounded<S: Statement>(envelope: &Envelope) -> Result<(), StatementError> {
    if envelope.payload_type != S::PAYLOAD_TYPE {
        /// Longer than any of our types, and short enough for a message.
        const SHOWN_CHARS: usize = 80;
        let found = envelope.payload_type.chars().take(SHOWN_CHARS).collect();
        return Err(StatementError::Type { expected: S::PAYLOAD_TYPE, found });
    }
    if envelope.payload.len() > MAX_PAYLOAD_BYTES {
        return Err(StatementError::TooLarge { bytes: envelope.payload.len() });
    }
    if !(1..=MAX_SIGNATURES).contains(&envelope.signatures.len()) {
        return Err(StatementError::Signatures { found: envelope.signatures.len() });
    }
    let formed = |signature: &Signature| {
        signature.signature.len() == SIGNATURE_BYTES && KeyId::parse(&signature.key_id).is_ok()
    };
    if !envelope.signatures.iter().all(formed) {
        return Err(StatementError::SignatureForm);
    }
    Ok(())
}

fn read<S: Statement>(envelope: &Envelope) -> Result<S, StatementError> {
    let message = S::Message::decode(envelope.payload.clone()).map_err(|_| StatementError::Unparsable)?;
    // Parsers drop unknown fields silently: hidden terms must not verify.
    if message.encode_to_vec() != envelope.payload {
        return Err(StatementError::NotCanonical);
    }
    Ok(S::parse(message)?)
}
