//! RFC 6962 hashes: SHA-256, with a prefix that keeps leaves and inner nodes apart.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, digest};

use crate::text;

/// The size of a SHA-256 hash.
pub const HASH_BYTES: usize = 32;

/// RFC 6962 section 2.1: what stands before a record when it is hashed to a leaf.
const LEAF_PREFIX: u8 = 0;

/// RFC 6962 section 2.1: what stands before two child hashes when they are hashed to their parent.
const NODE_PREFIX: u8 = 1;

/// A node of the log's Merkle tree: a leaf, an inner node, or a root. Its text form is base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; HASH_BYTES]);

impl Hash {
    /// The root of a tree without leaves: SHA-256 of nothing.
    pub const EMPTY_ROOT: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
        0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// Takes bytes that are a hash already.
    pub const fn from_bytes(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }

    /// Takes 32 bytes that are a hash already.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, ParseHashError> {
        bytes.try_into().map(Self).map_err(|_| ParseHashError::Length { found: bytes.len() })
    }

    /// Parses the base64 form.
    pub fn parse(text: &str) -> Result<Self, ParseHashError> {
        let bytes =
            text::unbase64(text).ok_or_else(|| ParseHashError::Base64 { found: text::excerpt(text) })?;
        Self::from_slice(&bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

/// The leaf hash of a record: SHA-256(`00` ‖ record).
pub fn leaf_hash(record: &[u8]) -> Hash {
    let mut hash = Context::new(&SHA256);
    hash.update(&[LEAF_PREFIX]);
    hash.update(record);
    taken(&hash.finish())
}

/// The hash of an inner node: SHA-256(`01` ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut input = [NODE_PREFIX; 1 + 2 * HASH_BYTES];
    input[1..=HASH_BYTES].copy_from_slice(&left.0);
    input[1 + HASH_BYTES..].copy_from_slice(&right.0);
    taken(&digest(&SHA256, &input))
}

fn taken(digest: &aws_lc_rs::digest::Digest) -> Hash {
    Hash(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// Joins a run of neighbouring perfect subtrees, largest first, to the hash of the whole. RFC 6962 splits at the
/// largest power of two, so the smallest two are joined first. `None` for no subtrees.
pub(crate) fn join(subtrees: impl DoubleEndedIterator<Item = Hash>) -> Option<Hash> {
    subtrees.rev().reduce(|right, left| node_hash(&left, &right))
}

/// Why some text or bytes are no hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseHashError {
    /// The text is not canonical base64.
    #[error("a hash is not canonical base64: {found:?}")]
    Base64 {
        /// The start of the text.
        found: String,
    },
    /// A hash has 32 bytes.
    #[error("a hash has {HASH_BYTES} bytes, not {found}")]
    Length {
        /// How many bytes there were.
        found: usize,
    },
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::base64(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl std::str::FromStr for Hash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_root_is_the_hash_of_nothing() {
        let computed = taken(&digest(&SHA256, b""));
        assert_eq!(Hash::EMPTY_ROOT, computed);
    }

    #[test]
    fn the_bytes_are_those_of_the_hash() {
        let hash = leaf_hash(b"abc");
        assert_eq!(AsRef::<[u8]>::as_ref(&hash), hash.as_bytes());
    }

    #[test]
    fn prefixes_keep_leaves_and_nodes_apart() {
        let (left, right) = (leaf_hash(b"l"), leaf_hash(b"r"));
        let both = [left.as_bytes().as_slice(), right.as_bytes()].concat();
        assert_ne!(leaf_hash(&both), node_hash(&left, &right));
        assert_ne!(node_hash(&left, &right), node_hash(&right, &left));
    }

    #[test]
    fn text_round_trips_and_bad_text_is_refused() {
        let hash = leaf_hash(b"x");
        assert_eq!(Hash::parse(&hash.to_string()), Ok(hash));
        assert_eq!(Hash::parse("AAAA"), Err(ParseHashError::Length { found: 3 }));
        assert_eq!(Hash::parse("~"), Err(ParseHashError::Base64 { found: "~".to_owned() }));
        assert_eq!(Hash::from_slice(&[0; 33]), Err(ParseHashError::Length { found: 33 }));
    }
}
