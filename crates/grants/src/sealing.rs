//! The bytes around sealed values: padding, and what a seal binds. The sealing itself stands in `client`.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{catalogue::FieldPath, commitment::field_list, digest::Digest, statement::MARK_BYTES};

/// The sizes to which values are padded, so that a ciphertext's length tells little.
pub const PADDED_SIZES: [usize; 4] = [64, 256, 1024, 4096];

/// The longest value: the largest padded size less the two bytes of its length.
pub const MAX_VALUE_BYTES: usize = PADDED_SIZES[3] - 2;

/// A value longer than [`MAX_VALUE_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value has {bytes} bytes; {MAX_VALUE_BYTES} are allowed")]
pub struct TooLong {
    /// How long.
    pub bytes: usize,
}

/// Bytes that are no padded value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the opened bytes are not a padded value")]
pub struct NotPadded;

/// Length in two bytes, value, zeros up to the next padded size.
pub fn pad(value: &[u8]) -> Result<Vec<u8>, TooLong> {
    let needed = value.len() + 2;
    let size = PADDED_SIZES.into_iter().find(|size| needed <= *size).ok_or(TooLong { bytes: value.len() })?;
    let mut padded = Vec::with_capacity(size);
    padded.extend_from_slice(
        &u16::try_from(value.len()).expect("at most 4,094, by the size found").to_be_bytes(),
    );
    padded.extend_from_slice(value);
    padded.resize(size, 0);
    Ok(padded)
}

/// The value in its padding. Only the one encoding that [`pad`] makes is taken.
pub fn unpad(padded: &[u8]) -> Result<Vec<u8>, NotPadded> {
    let (length, rest) = padded.split_first_chunk::<2>().ok_or(NotPadded)?;
    let value = rest.get(..usize::from(u16::from_be_bytes(*length))).ok_or(NotPadded)?;
    if pad(value).as_deref() == Ok(padded) { Ok(value.to_vec()) } else { Err(NotPadded) }
}

/// HPKE's `info`: which terms, which fetch, and which fields in which order. `aad` stays empty, since not every
/// language's HPKE takes one.
pub fn info(terms: Digest, fetch: Digest, fields: &[FieldPath]) -> Vec<u8> {
    let mut info = b"countersign/v1 provision\0".to_vec();
    info.extend_from_slice(terms.as_bytes());
    info.extend_from_slice(fetch.as_bytes());
    info.extend_from_slice(&field_list(fields));
    info
}

/// HPKE's `info` of a preview, under a label of its own, so that a preview is never a provision. The hash of the preview
/// binds the link, the request and the offer.
pub fn preview_info(preview: Digest, fields: &[FieldPath]) -> Vec<u8> {
    let mut info = b"countersign/v1 preview\0".to_vec();
    info.extend_from_slice(preview.as_bytes());
    info.extend_from_slice(&field_list(fields));
    info
}

/// The name under which a preview's comparison key is sealed, after its fields. No field's path: these have a dot.
pub const COMPARISON_KEY: &str = "comparison_key";

/// The length of a comparison key in bytes.
pub const COMPARISON_KEY_BYTES: usize = 32;

/// What a value comes to under a comparison key. A plain hash would not do: a gate number is guessed in no time.
pub fn comparison_mark(
    key: &[u8; COMPARISON_KEY_BYTES],
    field: &FieldPath,
    value: &[u8],
) -> [u8; MARK_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(b"countersign/v1 comparison\0");
    mac.update(&field_list(std::slice::from_ref(field)));
    mac.update(value);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_lengths_fall_into_four_classes() {
        for (length, size) in
            [(0, 64), (62, 64), (63, 256), (254, 256), (255, 1024), (1023, 4096), (4094, 4096)]
        {
            let value = vec![7; length];
            let padded = pad(&value).expect("fits");
            assert_eq!(padded.len(), size, "{length}");
            assert_eq!(unpad(&padded), Ok(value));
        }
        assert!(pad(&[0; MAX_VALUE_BYTES]).is_ok());
        assert_eq!(pad(&[0; MAX_VALUE_BYTES + 1]), Err(TooLong { bytes: 4095 }));
    }

    #[test]
    fn a_seal_binds_terms_fetch_and_ordered_fields() {
        let paths = ["trip.eta", "ride.id"].map(|path| FieldPath::parse(path).expect("a path"));
        let expected =
            [&b"countersign/v1 provision\0"[..], &[1; 32], &[2; 32], b"\0\x08trip.eta\0\x07ride.id"];
        assert_eq!(info(Digest::from([1; 32]), Digest::from([2; 32]), &paths), expected.concat());
    }

    #[test]
    fn a_mark_is_of_its_key_its_field_and_its_value_alone() {
        let field = |path| FieldPath::parse(path).expect("a path");
        let mark = comparison_mark(&[1; 32], &field("trip.gate"), b"B12");
        assert_eq!(mark, comparison_mark(&[1; 32], &field("trip.gate"), b"B12"));
        for other in [
            comparison_mark(&[2; 32], &field("trip.gate"), b"B12"),
            comparison_mark(&[1; 32], &field("trip.gates"), b"B12"),
            comparison_mark(&[1; 32], &field("trip.gat"), b"eB12"),
            comparison_mark(&[1; 32], &field("trip.gate"), b"B1"),
        ] {
            assert_ne!(mark, other);
        }
    }

    #[test]
    fn other_paddings_are_refused() {
        let mut padded = pad(b"value").expect("fits");
        *padded.last_mut().expect("64 bytes") = 1;
        assert_eq!(unpad(&padded), Err(NotPadded));
        assert_eq!(unpad(&[0]), Err(NotPadded));
        assert_eq!(unpad(&[0, 9, 1]), Err(NotPadded));
        assert_eq!(unpad(&[0; 63]), Err(NotPadded));
        assert_eq!(unpad(&[0; 256]), Err(NotPadded), "a short value in a long padding");
    }
}
