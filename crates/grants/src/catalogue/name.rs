//! The two names that the catalogue gives: a purpose's code and a field's path.

use std::{borrow::Borrow, fmt};

use crate::id::NotAName;

/// The longest segment. Two of them and a dot stand in every `Fetch` once per field, and on a phone's screen.
const MAX_SEGMENT_CHARS: usize = 48;

/// A purpose's code: `pickup_planning`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PurposeCode(String);

impl PurposeCode {
    const FORM: &str = "a purpose's code: 2 to 48 of a-z, 0-9 and single inner `_`, from a letter on";

    /// Reads a code.
    pub fn parse(code: &str) -> Result<Self, NotAName> {
        if is_segment(code) { Ok(Self(code.to_owned())) } else { Err(not_a_name(code, Self::FORM)) }
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A field's path: `trip.flight_no`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(String);

impl FieldPath {
    const FORM: &str = "a field's path, resource.field: each 2 to 48 of a-z, 0-9 and single inner `_`";

    /// Reads a path.
    pub fn parse(path: &str) -> Result<Self, NotAName> {
        match path.split_once('.') {
            Some((resource, field)) if is_segment(resource) && is_segment(field) => Ok(Self(path.to_owned())),
            _ => Err(not_a_name(path, Self::FORM)),
        }
    }

    /// Whether this can be what a field belongs to.
    pub fn is_resource(text: &str) -> bool {
        is_segment(text)
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the field belongs to: `trip`. A change notice names this.
    pub fn resource(&self) -> &str {
        self.split().0
    }

    /// The field alone: `flight_no`.
    pub fn field(&self) -> &str {
        self.split().1
    }

    /// Whether it is a precise location, which leaves by the person's own tap alone. It shows by a word of the path, so that
    /// everybody who meets the field can tell, without a catalogue at hand; a catalogue can't have it under another name.
    pub fn needs_tap(&self) -> bool {
        self.0.split(['.', '_']).any(|word| super::denied::LOCATION_WORDS.contains(&word))
    }

    fn split(&self) -> (&str, &str) {
        self.0.split_once('.').expect("a path has a dot, checked in parse")
    }
}

fn not_a_name(given: &str, form: &'static str) -> NotAName {
    NotAName { given: given.chars().take(2 * MAX_SEGMENT_CHARS).collect(), form }
}

fn is_segment(segment: &str) -> bool {
    (2..=MAX_SEGMENT_CHARS).contains(&segment.len())
        && segment.starts_with(|c: char| c.is_ascii_lowercase())
        && segment.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !segment.ends_with('_')
        && !segment.contains("__")
}

macro_rules! text {
    ($name:ident) => {
        // So that a map keyed by the name is asked with the text that came.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

text!(PurposeCode);
text!(FieldPath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_plain_words() {
        for good in ["pickup_planning", "ab", "a1", &"a".repeat(48)] {
            assert_eq!(PurposeCode::parse(good).expect(good).as_str(), good);
        }
        for bad in ["", "a", "A_b", "1a", "_a", "a_", "a__b", "a-b", "a.b", "a b", "é_a", &"a".repeat(49)] {
            assert!(PurposeCode::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_shows_no_more_than_a_name_is_long() {
        for (given, shown) in [("a-b".to_owned(), "a-b".to_owned()), ("é".repeat(97), "é".repeat(96))] {
            assert_eq!(PurposeCode::parse(&given).expect_err(&given).given, shown);
        }
    }

    #[test]
    fn paths_are_a_resource_and_a_field() {
        let path = FieldPath::parse("trip.flight_no").expect("a path");
        assert_eq!((path.resource(), path.field()), ("trip", "flight_no"));
        assert!(FieldPath::is_resource("trip") && !FieldPath::is_resource("trip.flight_no"));
        for bad in
            ["", "trip", "trip.", ".eta", "trip.eta.x", "Trip.eta", "trip.ETA", "trip .eta", "trip.eta_"]
        {
            assert!(FieldPath::parse(bad).is_err(), "{bad}");
        }
    }
}
