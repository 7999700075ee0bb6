//! Proof files (C2SP `tlog-proof`): index, inclusion path and checkpoint of one record, in one text file that is
//! verified offline.

use std::fmt;

use bytes::Bytes;

use crate::{
    checkpoint::{SignedCheckpoint, VerifyCheckpointError},
    hash::{Hash, ParseHashError, leaf_hash},
    note::{MAX_NOTE_BYTES, VerifierKey},
    proof::{InclusionError, MAX_INCLUSION_HASHES, verify_inclusion},
    text,
};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The longest extra data: a bound of ours on what is carried along unauthenticated. The longest record fits.
pub const MAX_EXTRA_BYTES: usize = 65_535;

/// The longest proof file: a checkpoint, the extra data in base64 (four characters for three bytes), 64 hashes on lines
/// of 45 bytes, and 256 bytes for the fixed words and the index.
pub const MAX_PROOF_FILE_BYTES: usize =
    MAX_NOTE_BYTES + MAX_EXTRA_BYTES.div_ceil(3) * 4 + MAX_INCLUSION_HASHES * 45 + 256;

/// A proof that nobody has verified yet. Displayed as the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    extra: Option<Bytes>,
    index: u64,
    path: Vec<Hash>,
    checkpoint: String,
}

impl ProofFile {
    /// Puts a file together, without extra data.
    pub fn new(
        index: u64,
        path: Vec<Hash>,
        checkpoint: &SignedCheckpoint,
    ) -> Result<Self, ParseProofFileError> {
        if path.len() > MAX_INCLUSION_HASHES {
            return Err(ParseProofFileError::TooManyHashes);
        }
        let checkpoint = String::from_utf8(checkpoint.as_bytes().to_vec());
        let checkpoint = checkpoint.expect("a signed checkpoint is a note, and notes are UTF-8");
        Ok(Self { extra: None, index, path, checkpoint })
    }

    /// Adds data that the application needs beside the record, such as what the record commits to. Nothing vouches for
    /// it.
    pub fn with_extra(self, extra: impl Into<Bytes>) -> Result<Self, ParseProofFileError> {
        let extra = extra.into();
        if extra.len() > MAX_EXTRA_BYTES {
            return Err(ParseProofFileError::ExtraTooLong { bytes: extra.len() });
        }
        Ok(Self { extra: Some(extra), ..self })
    }

    /// Takes a file apart. It is displayed as exactly the same bytes again.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseProofFileError> {
        if bytes.len() > MAX_PROOF_FILE_BYTES {
            return Err(ParseProofFileError::TooLong { bytes: bytes.len() });
        }
        let file = std::str::from_utf8(bytes)
            .map_err(|error| ParseProofFileError::NotUtf8 { at: error.valid_up_to() })?;
        let (head, checkpoint) = file.split_once("\n\n").ok_or(ParseProofFileError::NoCheckpoint)?;
        let mut lines = head.split('\n').peekable();
        let header = lines.next().unwrap_or_default();
        if header != HEADER {
            return Err(ParseProofFileError::Header { found: text::excerpt(header) });
        }
        let extra = lines.next_if(|line| line.starts_with("extra ")).map(parse_extra).transpose()?;
        let line = lines.next().unwrap_or_default();
        let index = line.strip_prefix("index ").and_then(text::decimal);
        let index = index.ok_or_else(|| ParseProofFileError::Index { found: text::excerpt(line) })?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() == MAX_INCLUSION_HASHES {
                return Err(ParseProofFileError::TooManyHashes);
            }
            let position = path.len();
            let hash = Hash::parse(line);
            path.push(hash.map_err(|source| ParseProofFileError::Hash { position, source })?);
        }
        Ok(Self { extra, index, path, checkpoint: checkpoint.to_owned() })
    }

    /// Verifies that the log whose key this is holds the record where the file says. The record itself is not in the
    /// file: it is the caller's, and what it says is the caller's to check.
    pub fn verify(&self, record: &[u8], log: &VerifierKey) -> Result<ProvenRecord, VerifyProofError> {
        let checkpoint = SignedCheckpoint::verify(self.checkpoint.clone(), log);
        let checkpoint = checkpoint.map_err(VerifyProofError::Checkpoint)?;
        ProvenRecord::verify(record, self.index, &self.path, checkpoint).map_err(VerifyProofError::Inclusion)
    }

    /// The index that the file says the record has.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The inclusion path, the leaf's sibling first.
    pub fn path(&self) -> &[Hash] {
        &self.path
    }

    /// The checkpoint, which nobody has verified yet.
    pub fn unverified_checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// The extra data, for which nothing vouches.
    pub fn extra(&self) -> Option<&Bytes> {
        self.extra.as_ref()
    }
}

/// That a log holds a record, verified: made by verifying, and in no other way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenRecord {
    index: u64,
    leaf: Hash,
    checkpoint: SignedCheckpoint,
}

impl ProvenRecord {
    /// Verifies that a record stands at `index` under a checkpoint that is verified already.
    pub fn verify(
        record: &[u8],
        index: u64,
        path: &[Hash],
        checkpoint: SignedCheckpoint,
    ) -> Result<Self, InclusionError> {
        let leaf = leaf_hash(record);
        verify_inclusion(index, checkpoint.size(), &leaf, path, checkpoint.root())?;
        Ok(Self { index, leaf, checkpoint })
    }

    /// The record's index in the log.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The record's leaf hash.
    pub fn leaf(&self) -> &Hash {
        &self.leaf
    }

    /// The checkpoint under which the record was shown to stand.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }
}

fn parse_extra(line: &str) -> Result<Bytes, ParseProofFileError> {
    let encoded = line.strip_prefix("extra ").unwrap_or_default();
    let extra = text::unbase64(encoded)
        .ok_or_else(|| ParseProofFileError::Extra { found: text::excerpt(encoded) })?;
    if extra.len() > MAX_EXTRA_BYTES {
        return Err(ParseProofFileError::ExtraTooLong { bytes: extra.len() });
    }
    Ok(extra.into())
}

/// Why some bytes are no proof file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseProofFileError {
    /// Longer than [`MAX_PROOF_FILE_BYTES`].
    #[error("a proof file of {bytes} bytes is longer than {MAX_PROOF_FILE_BYTES}")]
    TooLong {
        /// The length.
        bytes: usize,
    },
    /// Proof files are UTF-8.
    #[error("the proof file is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Where it stops being UTF-8.
        at: usize,
    },
    /// No empty line, and so no checkpoint after it.
    #[error("the proof file has no empty line with a checkpoint after it")]
    NoCheckpoint,
    /// The first line says what the file is.
    #[error("a proof file begins with {HEADER:?}, not with {found:?}")]
    Header {
        /// The start of the first line.
        found: String,
    },
    /// The extra data are not canonical base64.
    #[error("the extra data are not canonical base64: {found:?}")]
    Extra {
        /// The start of them.
        found: String,
    },
    /// More extra data than [`MAX_EXTRA_BYTES`].
    #[error("{bytes} bytes of extra data are more than {MAX_EXTRA_BYTES}")]
    ExtraTooLong {
        /// How many there are.
        bytes: usize,
    },
    /// The line with the index is not there, or is no decimal without leading zeros.
    #[error("the proof file has no index where it says {found:?}")]
    Index {
        /// The start of the line.
        found: String,
    },
    /// A line of the path is no hash.
    #[error("hash {position} of the path: {source}")]
    Hash {
        /// Which one, from 0.
        position: usize,
        /// What is wrong with it.
        source: ParseHashError,
    },
    /// No path has more than [`MAX_INCLUSION_HASHES`].
    #[error("the path has more than {MAX_INCLUSION_HASHES} hashes")]
    TooManyHashes,
}

/// Why a proof file does not show that a log holds a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyProofError {
    /// The checkpoint is not the log's.
    #[error(transparent)]
    Checkpoint(VerifyCheckpointError),
    /// The record is not shown to be under the checkpoint.
    #[error(transparent)]
    Inclusion(InclusionError),
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", text::base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        note::{KeyName, SEED_BYTES, SignerKey},
        tree::Tree,
    };

    fn key(seed: u8) -> SignerKey {
        SignerKey::from_seed(KeyName::parse("log.example/a").unwrap(), &[seed; SEED_BYTES])
    }

    fn proof(index: u64, size: u64) -> ProofFile {
        let mut tree = Tree::new();
        (0..size).for_each(|n| tree.append(leaf_hash(format!("record {n}").as_bytes())));
        let checkpoint = SignedCheckpoint::sign(&key(1), size, tree.root()).unwrap();
        ProofFile::new(index, tree.inclusion(index).unwrap(), &checkpoint).unwrap()
    }

    #[test]
    fn files_round_trip_and_verify() {
        for (index, size) in [(0, 1), (0, 2), (5, 7), (299, 300)] {
            let made = proof(index, size);
            for made in [made.clone(), made.clone().with_extra("").unwrap(), made.with_extra("data").unwrap()]
            {
                let text = made.to_string();
                let parsed = ProofFile::parse(text.as_bytes()).unwrap();
                assert_eq!((&parsed, parsed.to_string()), (&made, text));
                assert_eq!((parsed.index(), parsed.path()), (index, &made.path[..]));
                assert_eq!(
                    (parsed.extra(), parsed.unverified_checkpoint()),
                    (made.extra.as_ref(), &*made.checkpoint)
                );
                let record = format!("record {index}");
                let proven = parsed.verify(record.as_bytes(), key(1).verifier()).unwrap();
                assert_eq!((proven.index(), proven.checkpoint().size()), (index, size));
                assert_eq!(*proven.leaf(), leaf_hash(record.as_bytes()));
            }
        }
    }

    #[test]
    fn the_form_is_the_specified_one() {
        let text = proof(1, 2).with_extra("x").unwrap().to_string();
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines[..3], ["c2sp.org/tlog-proof@v1", "extra eA==", "index 1"]);
        assert_eq!(lines[3], leaf_hash(b"record 0").to_string());
        assert_eq!(lines[4..7], ["", "log.example/a", "2"]);
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn another_record_index_key_or_path_is_refused() {
        let good = proof(5, 7);
        let record = b"record 5";
        let check = |file: &ProofFile, record: &[u8], key: &SignerKey| {
            assert!(file.verify(record, key.verifier()).is_err());
        };
        assert!(good.verify(record, key(1).verifier()).is_ok());
        check(&good, b"record 4", &key(1));
        check(&good, record, &key(2));
        for index in [0, 4, 6, 7, u64::MAX] {
            check(&ProofFile { index, ..good.clone() }, record, &key(1));
        }
        let mut longer = good.clone();
        longer.path.push(leaf_hash(b""));
        check(&longer, record, &key(1));
        for bit in 0..good.path.len() * 256 {
            let mut bent = good.clone();
            let mut bytes = *bent.path[bit / 256].as_bytes();
            bytes[bit % 256 / 8] ^= 1 << (bit % 8);
            bent.path[bit / 256] = Hash::from_bytes(bytes);
            check(&bent, record, &key(1));
        }
    }

    #[test]
    fn malformed_files_are_refused_with_the_reason() {
        let check = |file: &str, expected: ParseProofFileError| {
            assert_eq!(ProofFile::parse(file.as_bytes()), Err(expected), "{file:?}");
        };
        let index = |found: &str| ParseProofFileError::Index { found: found.to_owned() };
        check("", ParseProofFileError::NoCheckpoint);
        check(HEADER, ParseProofFileError::NoCheckpoint);
        check("x\n\n", ParseProofFileError::Header { found: "x".to_owned() });
        check(&format!("{HEADER}\n\n"), index(""));
        for bad in ["index", "index ", "index 01", "index -1", "index  1", "Index 1", "extra", "index 1 "] {
            check(&format!("{HEADER}\n{bad}\n\n"), index(bad));
        }
        check(
            &format!("{HEADER}\nindex 1\nextra AA==\n\n"),
            ParseProofFileError::Hash { position: 0, source: Hash::parse("extra AA==").unwrap_err() },
        );
        check(
            &format!("{HEADER}\nextra AA\nindex 1\n\n"),
            ParseProofFileError::Extra { found: "AA".to_owned() },
        );
        let hash = leaf_hash(b"");
        let many = |count| format!("{HEADER}\nindex 1\n{}\n", format!("{hash}\n").repeat(count));
        assert!(ProofFile::parse(many(64).as_bytes()).is_ok());
        check(&many(65), ParseProofFileError::TooManyHashes);
        // A note of 524,288 bytes, 87,380 of base64, 64 lines of 45, and 256.
        check(&"x".repeat(614_804), ParseProofFileError::NoCheckpoint);
        check(&"x".repeat(614_805), ParseProofFileError::TooLong { bytes: 614_805 });
        assert_eq!(ProofFile::parse(b"\xff"), Err(ParseProofFileError::NotUtf8 { at: 0 }));
        let largest = proof(0, 1).with_extra(vec![0; 65_535]).unwrap();
        assert_eq!(ProofFile::parse(largest.to_string().as_bytes()), Ok(largest));
        let long = ParseProofFileError::ExtraTooLong { bytes: 65_536 };
        assert_eq!(proof(0, 1).with_extra(vec![0; 65_536]).as_ref(), Err(&long));
        check(&format!("{HEADER}\nextra {}\nindex 1\n\n", text::base64(&vec![0; 65_536])), long);
    }
}
