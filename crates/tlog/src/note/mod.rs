//! Signed notes (C2SP `signed-note`): a text, an empty line, and one line for each signature.
//!
//! The text of a note is nobody's word until a signature of a known key has been verified; that is why
//! [`SignedNote::verify`] gives a new type.

mod key;
mod name;
mod signature;

pub use key::{KeyId, ParseKeyError, SEED_BYTES, SignerKey, VerifierKey};
pub use name::{KeyName, KeyNameError, MAX_NAME_BYTES};
pub use signature::{NoteSignature, ParseSignatureError};

use std::fmt;

/// The most signatures of a note. The specification asks for at least 16; this bounds what verifying one note costs.
pub const MAX_SIGNATURES: usize = 64;

/// The longest note: [`MAX_SIGNATURES`] lines of 7 KiB (a post-quantum signature of nearly 5 kB in base64, and a
/// name), and 64 KiB of text. Our own checkpoints have about 250 bytes.
pub const MAX_NOTE_BYTES: usize = MAX_SIGNATURES * 7 * 1024 + 64 * 1024;

/// A note whose signatures nobody has verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// Signs a text, which must end with a newline.
    pub fn sign(text: &str, keys: &[&SignerKey]) -> Result<Self, ParseNoteError> {
        check_text(text)?;
        let mut note = Self { text: text.to_owned(), signatures: Vec::new() };
        for key in keys {
            note.add(key.sign(text.as_bytes()))?;
        }
        if note.signatures.is_empty() { Err(ParseNoteError::Unsigned) } else { Ok(note) }
    }

    /// Takes a note apart. It is displayed as exactly the same bytes again.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseNoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(ParseNoteError::TooLong { bytes: bytes.len() });
        }
        let note = std::str::from_utf8(bytes)
            .map_err(|error| ParseNoteError::NotUtf8 { at: error.valid_up_to() })?;
        // The text can hold empty lines itself: the last one in the note is what ends it.
        let (text, lines) = note.rsplit_once("\n\n").ok_or(ParseNoteError::NoEmptyLine)?;
        let text = &note[..=text.len()];
        check_text(text)?;
        let lines = lines.strip_suffix('\n').ok_or(match lines {
            "" => ParseNoteError::Unsigned,
            _ => ParseNoteError::Unterminated,
        })?;
        let mut signatures = Vec::new();
        for (position, line) in lines.split('\n').enumerate() {
            if position == MAX_SIGNATURES {
                return Err(ParseNoteError::TooManySignatures);
            }
            let signature = NoteSignature::parse(line);
            signatures.push(signature.map_err(|source| ParseNoteError::Signature { position, source })?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Verifies every signature that names one of the keys, and ignores the others.
    ///
    /// Refused if none names one, or if one that does is wrong: a known key under a text that it did not sign is a sign
    /// of tampering, even beside a good signature.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<VerifiedNote<'_, 'k>, VerifyNoteError> {
        let mut signers: Vec<&VerifierKey> = Vec::new();
        for signature in &self.signatures {
            let mut known = keys.iter().filter(|key| signature.names(key));
            let Some(key) = known.next() else { continue };
            if known.any(|other| other != key) {
                return Err(VerifyNoteError::Ambiguous { name: key.name().clone(), id: key.id() });
            }
            if !key.verify(self.text.as_bytes(), signature.bytes()) {
                return Err(VerifyNoteError::WrongSignature { name: key.name().clone(), id: key.id() });
            }
            if !signers.contains(&key) {
                signers.push(key);
            }
        }
        if signers.is_empty() {
            Err(VerifyNoteError::NoKnownSignature)
        } else {
            Ok(VerifiedNote { text: &self.text, signers })
        }
    }

    /// Adds a signature, such as a witness's.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), ParseNoteError> {
        if self.signatures.len() == MAX_SIGNATURES {
            return Err(ParseNoteError::TooManySignatures);
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// The text, which nobody may have signed.
    pub fn unverified_text(&self) -> &str {
        &self.text
    }

    /// The signatures in order, none of them verified.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }
}

/// A note's text, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedNote<'n, 'k> {
    text: &'n str,
    signers: Vec<&'k VerifierKey>,
}

impl<'n, 'k> VerifiedNote<'n, 'k> {
    /// The text, with its final newline.
    pub fn text(&self) -> &'n str {
        self.text
    }

    /// The known keys that signed the text: at least one, each once.
    pub fn signers(&self) -> &[&'k VerifierKey] {
        &self.signers
    }
}

fn check_text(text: &str) -> Result<(), ParseNoteError> {
    if let Some(at) = text.bytes().position(|byte| byte < b' ' && byte != b'\n') {
        return Err(ParseNoteError::ControlCharacter { at });
    }
    if text.ends_with('\n') { Ok(()) } else { Err(ParseNoteError::Unterminated) }
}

/// Why some bytes are no signed note, or a text cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseNoteError {
    /// Longer than [`MAX_NOTE_BYTES`].
    #[error("a note of {bytes} bytes is longer than {MAX_NOTE_BYTES}")]
    TooLong {
        /// The length.
        bytes: usize,
    },
    /// Notes are UTF-8.
    #[error("the note is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Where it stops being UTF-8.
        at: usize,
    },
    /// Notes have no control characters but newlines.
    #[error("the note has a control character at byte {at}")]
    ControlCharacter {
        /// Where.
        at: usize,
    },
    /// No empty line ends the text.
    #[error("the note has no empty line between text and signatures")]
    NoEmptyLine,
    /// The text, and each signature, ends with a newline.
    #[error("the note does not end with a newline")]
    Unterminated,
    /// Nothing follows after the text.
    #[error("the note has no signatures")]
    Unsigned,
    /// More than [`MAX_SIGNATURES`].
    #[error("the note has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// A line after the text is no signature.
    #[error("signature {position} of the note: {source}")]
    Signature {
        /// Which of the signature lines, from 0.
        position: usize,
        /// What is wrong with it.
        source: ParseSignatureError,
    },
}

/// Why a note does not count as signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyNoteError {
    /// No signature names a known key.
    #[error("no known key signed the note")]
    NoKnownSignature,
    /// A signature names a known key, and that key did not make it.
    #[error("the note's signature by {name} ({id}) is wrong")]
    WrongSignature {
        /// The key's name.
        name: KeyName,
        /// The key's id.
        id: KeyId,
    },
    /// Two known keys share name and id, so it is not clear which one a signature names.
    #[error("two known keys are called {name} ({id})")]
    Ambiguous {
        /// The keys' name.
        name: KeyName,
        /// The keys' id.
        id: KeyId,
    },
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

#[cfg(test)]
mod tests;
