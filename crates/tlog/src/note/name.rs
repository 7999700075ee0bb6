use std::{fmt, str::FromStr};

use crate::text;

/// The longest key name. Names are URLs without a scheme; a host name has at most 253 bytes, and as much again is left
/// for a path.
pub const MAX_NAME_BYTES: usize = 512;

/// The name of a key, by which a signature names it. It is not empty and has no spaces, plus signs or control
/// characters. A log's name is its origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Takes a name.
    pub fn parse(name: &str) -> Result<Self, KeyNameError> {
        if name.is_empty() {
            return Err(KeyNameError::Empty);
        }
        if name.len() > MAX_NAME_BYTES {
            return Err(KeyNameError::TooLong { bytes: name.len() });
        }
        let bad = |character: &char| character.is_whitespace() || character.is_control() || *character == '+';
        match name.chars().find(bad) {
            Some(character) => Err(KeyNameError::Character { name: text::excerpt(name), character }),
            None => Ok(Self(name.to_owned())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no key name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyNameError {
    /// A name has at least one character.
    #[error("a key name is empty")]
    Empty,
    /// Longer than [`MAX_NAME_BYTES`].
    #[error("a key name of {bytes} bytes is longer than {MAX_NAME_BYTES}")]
    TooLong {
        /// The length.
        bytes: usize,
    },
    /// Spaces, plus signs and control characters are what separates names from what follows.
    #[error("the key name {name:?} has the character {character:?}")]
    Character {
        /// The start of the name.
        name: String,
        /// The first such character.
        character: char,
    },
}

impl FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(name: &str) -> Result<Self, KeyNameError> {
        Self::parse(name)
    }
}

impl AsRef<str> for KeyName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_separable() {
        for good in ["a", "example.com/log42", "grüße.example", &"x".repeat(MAX_NAME_BYTES)] {
            let name = KeyName::parse(good).unwrap();
            assert_eq!((name.as_str(), AsRef::<str>::as_ref(&name)), (good, good));
        }
        assert_eq!(KeyName::parse(""), Err(KeyNameError::Empty));
        assert_eq!(KeyName::parse(&"x".repeat(513)), Err(KeyNameError::TooLong { bytes: 513 }));
        for (name, character) in [
            ("a b", ' '),
            ("a+b", '+'),
            ("a\n", '\n'),
            ("\u{a0}", '\u{a0}'),
            ("a\u{2003}", '\u{2003}'),
            ("a\0", '\0'),
        ] {
            let name = name.to_owned();
            assert_eq!(KeyName::parse(&name), Err(KeyNameError::Character { name, character }));
        }
    }
}
