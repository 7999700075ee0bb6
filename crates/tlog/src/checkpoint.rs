//! Checkpoints (C2SP `tlog-checkpoint`): origin, size and root of a log, signed as a note.

use std::fmt;

use bytes::Bytes;

use crate::{
    hash::{Hash, ParseHashError},
    note::{KeyName, KeyNameError, ParseNoteError, SignedNote, SignerKey, VerifierKey, VerifyNoteError},
    text,
};

/// What a checkpoint says. Displayed as the text that is signed: three lines.
///
/// The specification lets an origin be any line, and lets lines follow after the root. Here an origin is a
/// [`KeyName`], since our logs sign under their origin, and there are no further lines: nobody audits those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: KeyName,
    size: u64,
    root: Hash,
}

impl Checkpoint {
    /// Puts a checkpoint together. `None` if the size is zero and the root is not [`Hash::EMPTY_ROOT`].
    pub fn new(origin: KeyName, size: u64, root: Hash) -> Option<Self> {
        (size > 0 || root == Hash::EMPTY_ROOT).then_some(Self { origin, size, root })
    }

    /// Parses the text that is signed.
    pub fn parse(text: &str) -> Result<Self, ParseCheckpointError> {
        let mut lines = text.split('\n');
        let mut line = |name| lines.next().ok_or(ParseCheckpointError::Missing { line: name });
        let (origin, size, root) = (line("origin")?, line("size")?, line("root")?);
        match (lines.next(), lines.next()) {
            (Some(""), None) => {}
            (None, _) => return Err(ParseCheckpointError::Unterminated),
            (Some(found), _) => return Err(ParseCheckpointError::Extension { found: text::excerpt(found) }),
        }
        let origin = KeyName::parse(origin).map_err(ParseCheckpointError::Origin)?;
        let size =
            text::decimal(size).ok_or_else(|| ParseCheckpointError::Size { found: text::excerpt(size) })?;
        let root = Hash::parse(root).map_err(ParseCheckpointError::Root)?;
        Self::new(origin, size, root).ok_or(ParseCheckpointError::EmptyRoot { found: root })
    }

    /// The log's origin, under which it signs.
    pub fn origin(&self) -> &KeyName {
        &self.origin
    }

    /// How many leaves the log has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the log's tree.
    pub fn root(&self) -> &Hash {
        &self.root
    }
}

/// A checkpoint that its log has signed: made by signing or by verifying, and in no other way. Cloning shares the
/// bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    bytes: Bytes,
}

impl SignedCheckpoint {
    /// Signs a head of the log whose key this is. From here on the log is bound to it. `None` if the size is zero and
    /// the root is not [`Hash::EMPTY_ROOT`].
    pub fn sign(key: &SignerKey, size: u64, root: Hash) -> Option<Self> {
        let checkpoint = Checkpoint::new(key.name().clone(), size, root)?;
        let note = SignedNote::sign(&checkpoint.to_string(), &[key]);
        let note = note.expect("a checkpoint is three lines of printable text, and has one signature");
        Some(Self { checkpoint, bytes: note.to_string().into() })
    }

    /// Verifies that a checkpoint is the log's whose key this is. Signatures of keys other than this one are ignored,
    /// and kept in the bytes.
    pub fn verify(bytes: impl Into<Bytes>, log: &VerifierKey) -> Result<Self, VerifyCheckpointError> {
        let bytes = bytes.into();
        let note = SignedNote::parse(&bytes).map_err(VerifyCheckpointError::Note)?;
        let verified = note.verify(std::slice::from_ref(log)).map_err(VerifyCheckpointError::Signature)?;
        let checkpoint = Checkpoint::parse(verified.text()).map_err(VerifyCheckpointError::Text)?;
        if checkpoint.origin != *log.name() {
            let expected = log.name().clone();
            return Err(VerifyCheckpointError::Origin { expected, found: checkpoint.origin });
        }
        Ok(Self { checkpoint, bytes })
    }

    /// What it says.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The log's origin.
    pub fn origin(&self) -> &KeyName {
        &self.checkpoint.origin
    }

    /// How many leaves the log has.
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The root of the log's tree.
    pub fn root(&self) -> &Hash {
        &self.checkpoint.root
    }

    /// The signed note, byte for byte as it was signed or received.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Why a text is no checkpoint of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCheckpointError {
    /// A line is not there.
    #[error("the checkpoint has no line with its {line}")]
    Missing {
        /// What it would say.
        line: &'static str,
    },
    /// The last line ends with a newline.
    #[error("the checkpoint does not end with a newline")]
    Unterminated,
    /// The origin is no key name.
    #[error("the checkpoint's origin: {0}")]
    Origin(KeyNameError),
    /// The size is no decimal without leading zeros.
    #[error("the checkpoint's size is no decimal: {found:?}")]
    Size {
        /// The start of what stood there.
        found: String,
    },
    /// The root is no hash.
    #[error("the checkpoint's root: {0}")]
    Root(ParseHashError),
    /// A log without leaves has one possible root.
    #[error("the checkpoint of a log without leaves has the root {found}")]
    EmptyRoot {
        /// The root that stood there.
        found: Hash,
    },
    /// Something follows after the root.
    #[error("the checkpoint has a line after its root: {found:?}")]
    Extension {
        /// The start of that line.
        found: String,
    },
}

/// Why some bytes are no checkpoint by a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyCheckpointError {
    /// They are no signed note.
    #[error("the checkpoint is no signed note: {0}")]
    Note(ParseNoteError),
    /// The log did not sign it.
    #[error("the checkpoint is not signed by the log: {0}")]
    Signature(VerifyNoteError),
    /// The log signed something else than a checkpoint of ours.
    #[error(transparent)]
    Text(ParseCheckpointError),
    /// The log signed for another origin than its own.
    #[error("the checkpoint is of {found}, not of {expected}")]
    Origin {
        /// The log whose key was given.
        expected: KeyName,
        /// The origin in the checkpoint.
        found: KeyName,
    },
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hash::leaf_hash, note::SEED_BYTES};

    // The log of the Go checksum database.
    const SUM_KEY: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    // The example of C2SP tlog-checkpoint, whose signature is no real one.
    const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn key(name: &str) -> SignerKey {
        SignerKey::from_seed(KeyName::parse(name).unwrap(), &[7; SEED_BYTES])
    }

    #[test]
    fn the_published_example_parses() {
        let checkpoint = Checkpoint::parse(EXAMPLE).unwrap();
        assert_eq!(checkpoint.origin().as_str(), "example.com/behind-the-sofa");
        assert_eq!(checkpoint.size(), 20_852_163);
        assert_eq!(checkpoint.to_string(), EXAMPLE);
    }

    #[test]
    fn other_texts_are_refused_with_the_line() {
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        let check = |text: &str, expected: ParseCheckpointError| {
            assert_eq!(Checkpoint::parse(text), Err(expected), "{text:?}");
        };
        let size = |found: &str| ParseCheckpointError::Size { found: found.to_owned() };
        check("", ParseCheckpointError::Missing { line: "size" });
        check("a\n1", ParseCheckpointError::Missing { line: "root" });
        check(&format!("a\n1\n{root}"), ParseCheckpointError::Unterminated);
        check(&format!("\n1\n{root}\n"), ParseCheckpointError::Origin(KeyNameError::Empty));
        for bad in ["01", "-1", "+1", "", " 1", "18446744073709551616"] {
            check(&format!("a\n{bad}\n{root}\n"), size(bad));
        }
        check("a\n1\nAAAA\n", ParseCheckpointError::Root(ParseHashError::Length { found: 3 }));
        let found = Hash::parse(root).unwrap();
        check(&format!("a\n0\n{root}\n"), ParseCheckpointError::EmptyRoot { found });
        for extra in ["x", ""] {
            let found = extra.to_owned();
            check(&format!("a\n1\n{root}\n{extra}\n"), ParseCheckpointError::Extension { found });
        }
    }

    #[test]
    fn signing_and_verifying_agree() {
        let key = key("log.example/a");
        for (size, root) in [(0, Hash::EMPTY_ROOT), (1, leaf_hash(b"")), (u64::MAX, leaf_hash(b"x"))] {
            let signed = SignedCheckpoint::sign(&key, size, root).unwrap();
            assert_eq!((signed.size(), signed.root()), (size, &root));
            let verified = SignedCheckpoint::verify(signed.as_bytes().clone(), key.verifier()).unwrap();
            assert_eq!(verified, signed);
        }
        assert_eq!(SignedCheckpoint::sign(&key, 0, leaf_hash(b"")), None);
    }

    #[test]
    fn another_origin_is_refused_even_if_signed() {
        let log = key("log.example/a");
        let other = Checkpoint::new(KeyName::parse("log.example/b").unwrap(), 1, leaf_hash(b"")).unwrap();
        let note = SignedNote::sign(&other.to_string(), &[&log]).unwrap().to_string();
        let refused = SignedCheckpoint::verify(note, log.verifier());
        let expected = log.name().clone();
        assert_eq!(refused, Err(VerifyCheckpointError::Origin { expected, found: other.origin }));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let key = key("log.example/a");
        let signed = SignedCheckpoint::sign(&key, 300, leaf_hash(b"")).unwrap();
        for bit in 0..signed.as_bytes().len() * 8 {
            let mut bytes = signed.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(SignedCheckpoint::verify(bytes, key.verifier()).is_err(), "bit {bit}");
        }
        for length in 0..signed.as_bytes().len() {
            assert!(SignedCheckpoint::verify(signed.as_bytes().slice(..length), key.verifier()).is_err());
        }
    }

    /// Its origin has spaces, so as a note it verifies, and as a checkpoint of ours it is refused.
    #[test]
    fn a_real_checkpoint_of_another_log_verifies_as_a_note() {
        let bytes = include_bytes!("../tests/vectors/sum.golang.org.checkpoint");
        let key = VerifierKey::parse(SUM_KEY).unwrap();
        let note = SignedNote::parse(bytes).unwrap();
        let verified = note.verify(std::slice::from_ref(&key)).unwrap();
        assert!(verified.text().starts_with("go.sum database tree\n"));
        assert_eq!(note.to_string().as_bytes(), bytes);
        let refused = SignedCheckpoint::verify(bytes.as_slice(), &key);
        assert!(matches!(refused, Err(VerifyCheckpointError::Text(ParseCheckpointError::Origin(_)))));
    }
}
