//! What a record says only to those who hold the salt.

use crate::{catalogue::FieldPath, digest::Digest, id::CustomerName};

/// The length of a salt in bytes.
pub const SALT_BYTES: usize = 32;

/// SHA-256(label ‖ 00 ‖ salt ‖ bytes).
fn commit(label: &str, salt: &[u8; SALT_BYTES], bytes: &[u8]) -> Digest {
    Digest::of_parts(&[label.as_bytes(), &[0], salt, bytes])
}

/// Commits to the customer.
pub fn subject(salt: &[u8; SALT_BYTES], customer: &CustomerName) -> Digest {
    commit("countersign/v1 subject", salt, customer.as_str().as_bytes())
}

/// Commits to the fields, in order: of each, its length in two bytes and its path.
pub fn fields(salt: &[u8; SALT_BYTES], fields: &[FieldPath]) -> Digest {
    commit("countersign/v1 fields", salt, &field_list(fields))
}

/// Commits to the digests of the statements on which a record rests, in order.
pub fn evidence(salt: &[u8; SALT_BYTES], statements: &[Digest]) -> Digest {
    let bytes: Vec<u8> = statements.iter().flat_map(|digest| *digest.as_bytes()).collect();
    commit("countersign/v1 evidence", salt, &bytes)
}

/// The ordered field names as one sequence of bytes that reads in one way alone.
pub fn field_list(fields: &[FieldPath]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        let path = field.as_str().as_bytes();
        let length = u16::try_from(path.len())
            .expect("a field path has at most two segments of 48 bytes, checked in parse");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(path);
    }
    bytes
}
