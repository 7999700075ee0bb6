use std::fmt;

use super::{KeyId, KeyName, KeyNameError, VerifierKey};
use crate::text;

/// What a signature line begins with: an em dash and a space.
const LINE_PREFIX: &str = "— ";

/// One signature line of a note: `— <name> base64(key id ‖ signature)`. Displayed as that line, without a newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    id: KeyId,
    bytes: Vec<u8>,
}

impl NoteSignature {
    /// Puts a signature together. `None` if there are no signature bytes.
    pub fn new(name: KeyName, id: KeyId, bytes: Vec<u8>) -> Option<Self> {
        (!bytes.is_empty()).then_some(Self { name, id, bytes })
    }

    /// Parses a line without its newline.
    pub fn parse(line: &str) -> Result<Self, ParseSignatureError> {
        let not_a_line = || ParseSignatureError::Line { found: text::excerpt(line) };
        let rest = line.strip_prefix(LINE_PREFIX).ok_or_else(not_a_line)?;
        let (name, encoded) = rest.split_once(' ').ok_or_else(not_a_line)?;
        let name = KeyName::parse(name).map_err(ParseSignatureError::Name)?;
        let decoded = text::unbase64(encoded)
            .ok_or_else(|| ParseSignatureError::Base64 { found: text::excerpt(encoded) })?;
        match decoded.split_first_chunk() {
            Some((id, bytes)) if !bytes.is_empty() => {
                Ok(Self { name, id: KeyId::from_bytes(*id), bytes: bytes.to_vec() })
            }
            _ => Err(ParseSignatureError::TooShort { bytes: decoded.len() }),
        }
    }

    /// The name of the key that is said to have signed.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id of the key that is said to have signed.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The signature itself, whose form depends on the key.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the signature is said to be by this key. Only name and id together name a key.
    pub fn names(&self, key: &VerifierKey) -> bool {
        self.id == key.id() && self.name == *key.name()
    }
}

/// Why a line is no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSignatureError {
    /// A signature line is an em dash, a name and base64, with single spaces between.
    #[error("{found:?} is no signature line")]
    Line {
        /// The start of the line.
        found: String,
    },
    /// What stands in the name's place is no key name.
    #[error(transparent)]
    Name(KeyNameError),
    /// The signature is not canonical base64.
    #[error("{found:?} is not canonical base64")]
    Base64 {
        /// The start of it.
        found: String,
    },
    /// A key id has four bytes, and at least one byte of signature follows.
    #[error("{bytes} bytes are too few for a key id and a signature")]
    TooShort {
        /// How many there are.
        bytes: usize,
    },
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.as_bytes().as_slice(), &self.bytes].concat();
        write!(f, "{LINE_PREFIX}{} {}", self.name, text::base64(&bytes))
    }
}
