//! What can be wrong with a catalogue, and where.

use std::fmt;

use super::{
    Denied,
    read::{FORMAT, MAX_DOCUMENT_BYTES, MAX_TITLE_CHARS, OLDEST_FORMAT},
};
use crate::id::NotAName;

/// Where in the document something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the top.
    Top,
    /// In the purpose with this code.
    Purpose(String),
    /// In the field with this path.
    Field(String),
}

/// Why a document is no catalogue. The operator's error, or an attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// It is larger than [`MAX_DOCUMENT_BYTES`].
    #[error("{bytes} bytes, where a catalogue has {MAX_DOCUMENT_BYTES} at most")]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// It is not UTF-8.
    #[error("not UTF-8, from byte {valid_up_to} on")]
    NotText {
        /// How many bytes are.
        valid_up_to: usize,
    },
    /// It is not TOML, or has a key that is unknown, missing, twice there or of another type.
    #[error("line {line}: {message}")]
    Malformed {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// It is of a format that this code doesn't read.
    #[error(
        "format {format}, where formats {OLDEST_FORMAT} to {FORMAT} are read here: is this program too old?"
    )]
    Format {
        /// The format.
        format: u32,
    },
    /// It is of an older format, which is read for the grants that were signed under it, and counts for no new offer.
    #[error(
        "format {format} is read for older grants alone: write what counts for new offers in format {FORMAT}"
    )]
    Superseded {
        /// The format.
        format: u32,
    },
    /// A list has too few or too many entries.
    #[error("{place}: {count} {what}, where 1 to {max} can stand")]
    Count {
        /// Where.
        place: Place,
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there can be.
        max: usize,
    },
    /// A code, a path or a language is not of its form.
    #[error("{place}: {source}")]
    Name {
        /// Where.
        place: Place,
        /// What is wrong with it.
        source: NotAName,
    },
    /// Something stands there twice.
    #[error("{place}: {what} stands twice")]
    Duplicate {
        /// Where.
        place: Place,
        /// What: the code, the path, the field, the value, the language.
        what: String,
    },
    /// A purpose lists a field that the catalogue doesn't have.
    #[error("{place}: there is no field `{field}`")]
    UnknownField {
        /// Where.
        place: Place,
        /// The field.
        field: String,
    },
    /// An IRI is missing, or not one term of DPV's namespace.
    #[error("{place}: `{given}` is not {namespace} and one term")]
    Iri {
        /// Where.
        place: Place,
        /// What stands there.
        given: String,
        /// What it has to start with.
        namespace: &'static str,
    },
    /// A ceiling is zero, or above what any catalogue may allow.
    #[error("{place}: {ceiling} is {given}, where 1 to {max} can stand")]
    Ceiling {
        /// Where.
        place: Place,
        /// The key.
        ceiling: &'static str,
        /// The value.
        given: u64,
        /// The highest value.
        max: u64,
    },
    /// A title is missing, empty, too long, or in a language that the catalogue doesn't list.
    #[error(
        "{place}: the title in `{language}` is missing, empty, longer than {MAX_TITLE_CHARS} or not listed"
    )]
    Title {
        /// Where.
        place: Place,
        /// The language.
        language: String,
    },
    /// An enum without values, values without an enum, or a value that doesn't fit.
    #[error(
        "{place}: an ENUM lists its values, each of `A-Z`, `0-9`, `_` within max_bytes; nothing else does"
    )]
    Values {
        /// Where.
        place: Place,
    },
    /// A field declares itself inferred. What is inferred is never shared.
    #[error("{place}: what is inferred is never shared: take it out of the catalogue")]
    Inferred {
        /// Where.
        place: Place,
    },
    /// No purpose uses the field: nobody could ask for it, so its review was for nothing.
    #[error("{place}: no purpose uses it")]
    Unused {
        /// Where.
        place: Place,
    },
    /// A purpose that fills in a form allows more than one use.
    #[error("{place}: a form is filled in once, and this allows {uses} uses: set `uses = 1`")]
    NotOnce {
        /// Where.
        place: Place,
        /// How many it allows.
        uses: u32,
    },
    /// A precise location, which leaves by the person's own tap, stands where it may not.
    #[error("{place}: {problem}")]
    Tap {
        /// Where.
        place: Place,
        /// What is wrong, and what would be right.
        problem: &'static str,
    },
    /// It is of a kind that is never brokered.
    #[error(
        "{place}: {class}: never brokered, as `{sign}` shows: take it out of the catalogue, or name what is really meant"
    )]
    Denied {
        /// Where.
        place: Place,
        /// What kind.
        class: Denied,
        /// The term or word by which it shows.
        sign: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => f.write_str("the document"),
            Self::Purpose(code) => write!(f, "purpose `{code}`"),
            Self::Field(path) => write!(f, "field `{path}`"),
        }
    }
}
