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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(paths: &[&str], expected: &[u8]) {
        let fields: Vec<FieldPath> =
            paths.iter().map(|path| FieldPath::parse(path).expect("a path")).collect();
        assert_eq!(field_list(&fields), expected, "{paths:?}");
    }

    #[test]
    fn a_field_list_reads_in_one_way() {
        check(&[], b"");
        check(&["trip.eta"], b"\0\x08trip.eta");
        check(&["trip.eta", "ride.id"], b"\0\x08trip.eta\0\x07ride.id");
        check(&["ride.id", "trip.eta"], b"\0\x07ride.id\0\x08trip.eta");
    }

    #[test]
    fn a_commitment_is_to_its_kind_salt_and_bytes() {
        let (one, two) = ([1; SALT_BYTES], [2; SALT_BYTES]);
        let path = [FieldPath::parse("trip.eta").expect("a path")];
        let expected =
            |label: &str, bytes: &[u8]| Digest::of(&[label.as_bytes(), &[0], &one[..], bytes].concat());
        assert_eq!(fields(&one, &path), expected("countersign/v1 fields", b"\0\x08trip.eta"));
        assert_ne!(fields(&two, &path), fields(&one, &path));
        let digests = [Digest::from([3; 32]), Digest::from([4; 32])];
        assert_eq!(
            evidence(&one, &digests),
            expected("countersign/v1 evidence", &[[3; 32], [4; 32]].concat())
        );
        let customer = CustomerName::parse("customers/NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let customer = customer.expect("a name");
        assert_eq!(
            subject(&one, &customer),
            expected("countersign/v1 subject", customer.as_str().as_bytes())
        );
    }
}
