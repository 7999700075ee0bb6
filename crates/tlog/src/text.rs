//! The few strict text forms that the formats share.

use base64::{Engine, engine::general_purpose::STANDARD};

/// How much of a bad text an error repeats: enough to recognise it, and a bound on what outside text can make us
/// keep or print.
const EXCERPT_CHARS: usize = 80;

/// An ASCII decimal without sign or leading zeros. `None` for all else, and above `u64::MAX`.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if canonical && digits { text.parse().ok() } else { None }
}

/// Standard base64 (RFC 4648 section 4), padded.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The inverse of [`base64`]. Only the canonical text of some bytes decodes: padding is required and the unused bits
/// of the last character are zero, so equal bytes have equal texts.
pub(crate) fn unbase64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// The start of a bad text, for an error.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_canonical() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(decimal(text), expected, "{text:?}");
        check("0", Some(0));
        check("18446744073709551615", Some(u64::MAX));
        for bad in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "0x1", "18446744073709551616", "١"] {
            check(bad, None);
        }
    }

    #[test]
    fn base64_is_canonical() {
        let check =
            |text: &str, expected: Option<&[u8]>| assert_eq!(unbase64(text).as_deref(), expected, "{text:?}");
        check("AA==", Some(&[0]));
        for bad in ["AA", "AA=", "AB==", "A A=", "AA==\n", "_w==", "AA==AA=="] {
            check(bad, None);
        }
    }

    #[test]
    fn excerpts_are_short_and_split_no_character() {
        assert_eq!(excerpt(&"é".repeat(1000)), "é".repeat(EXCERPT_CHARS));
    }
}
