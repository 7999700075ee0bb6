//! One field: what it holds, how sensitive that is, and where the source has it from.

use super::{FieldPath, Titles};

/// The most bytes of one value. Values are sealed in padded classes of 64, 256, 1,024 and 4,096 bytes, and two bytes
/// of padding say the length.
pub const MAX_VALUE_BYTES: u16 = 4_096 - 2;

/// The most decimal digits of an integer: what every 64-bit integer has at most, its sign aside.
const MAX_INTEGER_DIGITS: usize = 19;

/// A field that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub(super) path: FieldPath,
    pub(super) value_type: ValueType,
    pub(super) category: String,
    pub(super) sensitivity: Sensitivity,
    pub(super) provenance: Provenance,
    pub(super) max_bytes: u16,
    pub(super) titles: Titles,
}

/// What a value is made of. On the wire each is UTF-8 text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// Words for a person to read.
    Text,
    /// A moment by RFC 3339, to the second or finer: `2013-03-08T17:05:00-05:00`.
    Instant,
    /// A decimal integer: `-12`.
    Integer,
    /// One of these.
    Enum(Vec<String>),
}

/// How much harm a leak of it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Sensitivity {
    /// Says little about a person: a gate, a terminal.
    Low,
    /// Says what a person is doing: a flight, a ride.
    Medium,
    /// Finds or names a person.
    High,
}

/// Where the source has a value from. There is no third kind: what somebody merely infers is never shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Provenance {
    /// The person gave it, or asked for the service that it belongs to.
    Provided,
    /// The source saw it. Off until the person switches it on: an offer can have it among its optional fields alone.
    Observed,
}

/// Why a value is not one of its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAValue {
    /// It is longer than the field allows.
    #[error("{bytes} bytes, where the field has {max} at most")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: u16,
    },
    /// It is not UTF-8.
    #[error("not UTF-8")]
    NotText,
    /// It is not a moment by RFC 3339.
    #[error("not a moment by RFC 3339")]
    NotAnInstant,
    /// It is not a decimal integer of 64 bits.
    #[error("not a decimal integer")]
    NotAnInteger,
    /// It is none of the field's values.
    #[error("none of the field's values")]
    NotListed,
}

impl Field {
    /// `trip.flight_no`.
    pub fn path(&self) -> &FieldPath {
        &self.path
    }

    /// What a value is made of.
    pub fn value_type(&self) -> &ValueType {
        &self.value_type
    }

    /// The IRI of its category in DPV's personal data taxonomy.
    pub fn category(&self) -> &str {
        &self.category
    }

    /// How much harm a leak of it does.
    pub fn sensitivity(&self) -> Sensitivity {
        self.sensitivity
    }

    /// Where the source has it from.
    pub fn provenance(&self) -> Provenance {
        self.provenance
    }

    /// The most bytes of a value: 1 to [`MAX_VALUE_BYTES`].
    pub fn max_bytes(&self) -> u16 {
        self.max_bytes
    }

    /// What people read, per language.
    pub fn titles(&self) -> &Titles {
        &self.titles
    }

    /// Whether a value is one of this field. The source checks what its handler answers before it seals it, so that
    /// nothing undeclared rides along. The error never holds the value.
    pub fn check_value(&self, value: &[u8]) -> Result<(), NotAValue> {
        if value.len() > usize::from(self.max_bytes) {
            return Err(NotAValue::TooLong { bytes: value.len(), max: self.max_bytes });
        }
        let text = std::str::from_utf8(value).map_err(|_| NotAValue::NotText)?;
        match &self.value_type {
            ValueType::Text => Ok(()),
            ValueType::Instant if is_instant(text) => Ok(()),
            ValueType::Instant => Err(NotAValue::NotAnInstant),
            ValueType::Integer if is_integer(text) => Ok(()),
            ValueType::Integer => Err(NotAValue::NotAnInteger),
            ValueType::Enum(values) if values.iter().any(|listed| listed == text) => Ok(()),
            ValueType::Enum(_) => Err(NotAValue::NotListed),
        }
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (1..=MAX_INTEGER_DIGITS).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
}

/// RFC 3339, section 5.6, upper case, the leap second included. Days are held to 31: that the 30th of February is
/// none is for whoever reads the moment.
fn is_instant(text: &str) -> bool {
    let number = |part: Option<&str>, range: std::ops::RangeInclusive<u32>| {
        part.is_some_and(|part| {
            let digits = part.bytes().all(|b| b.is_ascii_digit());
            digits && part.parse().is_ok_and(|number| range.contains(&number))
        })
    };
    // Slices by byte stand on `get`: a character of several bytes is no digit, and never a boundary panic.
    let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    let front = marks.iter().all(|&(at, mark)| text.get(at..=at) == Some(mark))
        && number(text.get(0..4), 0..=9999)
        && number(text.get(5..7), 1..=12)
        && number(text.get(8..10), 1..=31)
        && number(text.get(11..13), 0..=23)
        && number(text.get(14..16), 0..=59)
        && number(text.get(17..19), 0..=60);
    let Some(rest) = text.get(19..).filter(|_| front) else { return false };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
        None => rest,
    };
    let offset = zone.strip_prefix(['+', '-']).and_then(|offset| offset.split_once(':'));
    zone == "Z"
        || offset.is_some_and(|(hours, minutes)| {
            hours.len() == 2
                && minutes.len() == 2
                && number(Some(hours), 0..=23)
                && number(Some(minutes), 0..=59)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(value_type: ValueType, max_bytes: u16) -> Field {
        Field {
            path: FieldPath::parse("trip.eta").expect("a path"),
            value_type,
            category: String::new(),
            sensitivity: Sensitivity::Low,
            provenance: Provenance::Provided,
            max_bytes,
            titles: Titles::default(),
        }
    }

    fn check(value_type: ValueType, value: &str, expected: Result<(), NotAValue>) {
        assert_eq!(field(value_type, 62).check_value(value.as_bytes()), expected, "{value}");
    }

    #[test]
    fn text_is_bounded_and_utf8() {
        check(ValueType::Text, "AA 100", Ok(()));
        check(ValueType::Text, "", Ok(()));
        check(ValueType::Text, &"x".repeat(62), Ok(()));
        check(ValueType::Text, &"x".repeat(63), Err(NotAValue::TooLong { bytes: 63, max: 62 }));
        assert_eq!(field(ValueType::Text, 62).check_value(&[0xff]), Err(NotAValue::NotText));
    }

    #[test]
    fn instants_are_rfc_3339() {
        for good in [
            "2013-03-08T17:05:00Z",
            "2013-03-08T17:05:00-05:00",
            "2013-03-08T17:05:00.123456789+05:30",
            "2016-12-31T23:59:60Z",
        ] {
            check(ValueType::Instant, good, Ok(()));
        }
        for bad in [
            "",
            "2013-03-08",
            "2013-03-08T17:05Z",
            "2013-03-08 17:05:00Z",
            "2013-13-08T17:05:00Z",
            "2013-03-00T17:05:00Z",
            "2013-03-08T24:05:00Z",
            "2013-03-08T17:05:00",
            "2013-03-08T17:05:00.Z",
            "2013-03-08T17:05:00+5:00",
            "2013-03-08T17:05:00+05:00x",
            "2013-03-08T17:05:00+24:00",
            "+013-03-08T17:05:00Z",
            "2013-03-08T17:05:0é",
            "１２３４-03-08T17:05:00Z",
        ] {
            check(ValueType::Instant, bad, Err(NotAValue::NotAnInstant));
        }
    }

    #[test]
    fn integers_have_one_spelling() {
        for good in ["0", "-12", "45", "9223372036854775807", "-9223372036854775808"] {
            check(ValueType::Integer, good, Ok(()));
        }
        for bad in ["", "-", "+1", "01", "-0", "1.5", "1 ", "9223372036854775808", "٣"] {
            check(ValueType::Integer, bad, Err(NotAValue::NotAnInteger));
        }
    }

    #[test]
    fn enums_hold_what_is_listed() {
        let status = || ValueType::Enum(vec!["WAITING".to_owned(), "ON_TRIP".to_owned()]);
        check(status(), "ON_TRIP", Ok(()));
        check(status(), "on_trip", Err(NotAValue::NotListed));
        check(status(), "", Err(NotAValue::NotListed));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value in proptest::collection::vec(any::<u8>(), 0..64), text in "\\PC{0,32}") {
            for value_type in [ValueType::Text, ValueType::Instant, ValueType::Integer] {
                let field = field(value_type, 62);
                let _ = field.check_value(&value);
                let _ = field.check_value(text.as_bytes());
            }
        }
    }
}
