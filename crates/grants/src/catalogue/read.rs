//! From the document to the catalogue: every rule that a reviewed file has to meet.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Deserialize;

use super::{
    Catalogue, CatalogueError, Ceilings, ENGLISH, Field, FieldPath, MAX_VALUE_BYTES, Place, Provenance,
    Purpose, PurposeCode, Sensitivity, Titles, ValueType, denied,
};
use crate::{digest::Digest, id::NotAName};

/// The largest document: ten times the shipped one. It is kept for good and fetched whole by every party.
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// The format of catalogues for new offers. It is told by what its documents must keep to:
///
/// | format | |
/// |---|---|
/// | 1 | the first |
/// | 2 | a purpose that fills in a form has one use; longer lists of what is never brokered |
/// | 3 | a precise location can be a field, of sensitivity HIGH and of purposes that fetch a person alone; it leaves by the person's own tap |
///
/// Older ones are read as they always were, since grants are judged under the catalogue that they were signed under.
pub(super) const FORMAT: u32 = 3;

/// The oldest format that this code reads.
pub(super) const OLDEST_FORMAT: u32 = 1;

/// From this format on a form is filled in once.
const FORMAT_OF_ONCE: u32 = 2;

/// A purpose fills in a form if DPV says so, or a word of its code.
const FORM_TERM: &str = "ServiceRegistration";
const FORM_WORDS: [&str; 3] = ["prefill", "autofill", "signup"];

/// A purpose fetches a person if a word of its code says so. No other purpose has use for where somebody stands.
const PICKUP_WORDS: [&str; 1] = ["pickup"];

/// The most entries of each kind; a person reviews them all.
const MAX_ENTRIES: usize = 1_024;

/// The most fields of one purpose: a request shows them on one screen.
const MAX_FIELDS_OF_A_PURPOSE: usize = 32;

/// The most values of an enum.
const MAX_ENUM_VALUES: usize = 64;

/// The longest title. Seven rows, each with a purpose, have to stay below 150 words.
pub(super) const MAX_TITLE_CHARS: usize = 60;

/// The longest duration and retention: whoever wants more than a leap year asks again.
const MAX_PERIOD: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// DPV's namespaces of purposes and of personal data.
const PURPOSE_NAMESPACE: &str = "https://w3id.org/dpv#";
const CATEGORY_NAMESPACE: &str = "https://w3id.org/dpv/pd#";

/// Reads a document.
pub(super) fn read(bytes: &[u8]) -> Result<Catalogue, CatalogueError> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(CatalogueError::TooLarge { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| CatalogueError::NotText { valid_up_to: error.valid_up_to() })?;
    let document: Document = toml::from_str(text).map_err(|error| malformed(text, &error))?;
    if !(OLDEST_FORMAT..=FORMAT).contains(&document.format) {
        return Err(CatalogueError::Format { format: document.format });
    }
    count(&Place::Top, "languages", document.languages.len(), MAX_ENTRIES)?;
    count(&Place::Top, "fields", document.field.len(), MAX_ENTRIES)?;
    count(&Place::Top, "purposes", document.purpose.len(), MAX_ENTRIES)?;
    let languages = languages(document.languages)?;

    let mut fields = BTreeMap::new();
    for raw in document.field {
        let field = field(raw, document.format, &languages)?;
        let path = field.path.clone();
        if fields.insert(path.clone(), field).is_some() {
            let what = path.to_string();
            return Err(CatalogueError::Duplicate { place: Place::Field(path.into()), what });
        }
    }
    let mut purposes = BTreeMap::new();
    for raw in document.purpose {
        let purpose = purpose(raw, document.format, &fields, &languages)?;
        let code = purpose.code.clone();
        if purposes.insert(code.clone(), purpose).is_some() {
            let what = code.to_string();
            return Err(CatalogueError::Duplicate { place: Place::Purpose(code.into()), what });
        }
    }
    if let Some(unused) =
        fields.keys().find(|path| !purposes.values().any(|purpose: &Purpose| purpose.allows(path)))
    {
        return Err(CatalogueError::Unused { place: Place::Field(unused.to_string()) });
    }
    let (version, format) = (Digest::of(bytes), document.format);
    Ok(Catalogue { version, format, document: bytes.to_vec().into(), languages, purposes, fields })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    languages: Vec<String>,
    purpose: Vec<RawPurpose>,
    field: Vec<RawField>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPurpose {
    code: String,
    // Absent reads as empty, so that the error names the purpose and not a line alone.
    #[serde(default)]
    iri: String,
    titles: BTreeMap<String, String>,
    fields: Vec<String>,
    ceilings: RawCeilings,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCeilings {
    duration_seconds: u64,
    uses: u32,
    rate: Option<RawRate>,
    retention_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRate {
    uses: u32,
    window_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawField {
    path: String,
    #[serde(rename = "type")]
    value_type: RawType,
    values: Option<Vec<String>>,
    #[serde(default)]
    category: String,
    sensitivity: Sensitivity,
    provenance: RawProvenance,
    max_bytes: u64,
    titles: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum RawType {
    Text,
    Instant,
    Integer,
    Enum,
}

#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum RawProvenance {
    Provided,
    Observed,
    /// Read, so that the refusal can say why.
    Inferred,
}

fn languages(tags: Vec<String>) -> Result<BTreeSet<String>, CatalogueError> {
    const FORM: &str = "a BCP 47 tag: 2 to 16 letters, digits and inner `-`";
    let mut languages = BTreeSet::new();
    for tag in tags {
        let good = (2..=16).contains(&tag.len())
            && tag.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()));
        if !good {
            let given = tag.chars().take(32).collect();
            return Err(CatalogueError::Name { place: Place::Top, source: NotAName { given, form: FORM } });
        }
        if !languages.insert(tag.clone()) {
            return Err(CatalogueError::Duplicate { place: Place::Top, what: tag });
        }
    }
    if languages.contains(ENGLISH) {
        Ok(languages)
    } else {
        Err(CatalogueError::Title { place: Place::Top, language: ENGLISH.to_owned() })
    }
}

fn field(raw: RawField, format: u32, languages: &BTreeSet<String>) -> Result<Field, CatalogueError> {
    let path =
        FieldPath::parse(&raw.path).map_err(|source| CatalogueError::Name { place: Place::Top, source })?;
    let place = Place::Field(path.to_string());
    let term = term(&place, &raw.category, CATEGORY_NAMESPACE)?;
    if let Some((class, sign)) = denied::field(path.as_str(), term, format) {
        return Err(CatalogueError::Denied { place, class, sign });
    }
    if path.needs_tap() && format >= denied::TAPS_SINCE && raw.sensitivity != Sensitivity::High {
        return Err(CatalogueError::Tap { place, problem: "it finds a person: its sensitivity is HIGH" });
    }
    let provenance = match raw.provenance {
        RawProvenance::Provided => Provenance::Provided,
        RawProvenance::Observed => Provenance::Observed,
        RawProvenance::Inferred => return Err(CatalogueError::Inferred { place }),
    };
    let max = u64::from(MAX_VALUE_BYTES);
    bounded(&place, "max_bytes", raw.max_bytes, max)?;
    let max_bytes = u16::try_from(raw.max_bytes).expect("bounded by MAX_VALUE_BYTES just above");
    let value_type = match (raw.value_type, raw.values) {
        (RawType::Text, None) => ValueType::Text,
        (RawType::Instant, None) => ValueType::Instant,
        (RawType::Integer, None) => ValueType::Integer,
        (RawType::Enum, Some(values)) => ValueType::Enum(enum_values(&place, values, max_bytes)?),
        _ => return Err(CatalogueError::Values { place }),
    };
    let titles = titles(&place, raw.titles, languages)?;
    Ok(Field {
        path,
        value_type,
        category: raw.category,
        sensitivity: raw.sensitivity,
        provenance,
        max_bytes,
        titles,
    })
}

fn enum_values(place: &Place, values: Vec<String>, max_bytes: u16) -> Result<Vec<String>, CatalogueError> {
    count(place, "values", values.len(), MAX_ENUM_VALUES)?;
    let word = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    for (index, value) in values.iter().enumerate() {
        if value.is_empty() || value.len() > usize::from(max_bytes) || !value.bytes().all(word) {
            return Err(CatalogueError::Values { place: place.clone() });
        }
        if values[..index].contains(value) {
            return Err(CatalogueError::Duplicate { place: place.clone(), what: value.clone() });
        }
    }
    Ok(values)
}

fn purpose(
    raw: RawPurpose,
    format: u32,
    known: &BTreeMap<FieldPath, Field>,
    languages: &BTreeSet<String>,
) -> Result<Purpose, CatalogueError> {
    let code =
        PurposeCode::parse(&raw.code).map_err(|source| CatalogueError::Name { place: Place::Top, source })?;
    let place = Place::Purpose(code.to_string());
    let term = term(&place, &raw.iri, PURPOSE_NAMESPACE)?;
    if let Some((class, sign)) = denied::purpose(code.as_str(), term, format) {
        return Err(CatalogueError::Denied { place, class, sign });
    }
    count(&place, "fields", raw.fields.len(), MAX_FIELDS_OF_A_PURPOSE)?;
    let mut fields: Vec<FieldPath> = Vec::with_capacity(raw.fields.len());
    for name in raw.fields {
        let Some((path, _)) = known.get_key_value(name.as_str()) else {
            return Err(CatalogueError::UnknownField { place, field: name });
        };
        if fields.contains(path) {
            return Err(CatalogueError::Duplicate { place, what: name });
        }
        if path.needs_tap() && format >= denied::TAPS_SINCE && !fetches_a_person(code.as_str()) {
            let problem = "a precise location serves a purpose that picks a person up, and no other";
            return Err(CatalogueError::Tap { place, problem });
        }
        fields.push(path.clone());
    }
    let titles = titles(&place, raw.titles, languages)?;
    let ceilings = ceilings(&place, &raw.ceilings)?;
    if format >= FORMAT_OF_ONCE && fills_in(code.as_str(), term) && ceilings.uses != 1 {
        return Err(CatalogueError::NotOnce { place, uses: ceilings.uses });
    }
    Ok(Purpose { code, iri: raw.iri, titles, fields, ceilings })
}

fn fetches_a_person(code: &str) -> bool {
    code.split('_').any(|word| PICKUP_WORDS.contains(&word))
}

/// Whether a purpose fills in a form.
fn fills_in(code: &str, term: &str) -> bool {
    term.eq_ignore_ascii_case(FORM_TERM) || code.split('_').any(|word| FORM_WORDS.contains(&word))
}

fn ceilings(place: &Place, raw: &RawCeilings) -> Result<Ceilings, CatalogueError> {
    let period = |ceiling, seconds| {
        bounded(place, ceiling, seconds, MAX_PERIOD.as_secs()).map(|()| Duration::from_secs(seconds))
    };
    let uses = |ceiling, uses: u32| bounded(place, ceiling, uses.into(), u32::MAX.into()).map(|()| uses);
    let rate = match &raw.rate {
        Some(rate) => {
            Some((uses("rate.uses", rate.uses)?, period("rate.window_seconds", rate.window_seconds)?))
        }
        None => None,
    };
    Ok(Ceilings {
        duration: period("duration_seconds", raw.duration_seconds)?,
        uses: uses("uses", raw.uses)?,
        rate,
        retention: period("retention_seconds", raw.retention_seconds)?,
    })
}

fn titles(
    place: &Place,
    titles: BTreeMap<String, String>,
    languages: &BTreeSet<String>,
) -> Result<Titles, CatalogueError> {
    let bad = |language: &String| CatalogueError::Title { place: place.clone(), language: language.clone() };
    for language in languages {
        let title = titles.get(language).ok_or_else(|| bad(language))?;
        let shown = !title.trim().is_empty() && !title.chars().any(char::is_control);
        if !shown || title.chars().count() > MAX_TITLE_CHARS {
            return Err(bad(language));
        }
    }
    match titles.keys().find(|language| !languages.contains(*language)) {
        Some(unlisted) => Err(bad(unlisted)),
        None => Ok(Titles(titles)),
    }
}

/// The term of an IRI in its namespace.
fn term<'a>(place: &Place, iri: &'a str, namespace: &'static str) -> Result<&'a str, CatalogueError> {
    match iri.strip_prefix(namespace) {
        Some(term) if !term.is_empty() && term.bytes().all(|b| b.is_ascii_alphanumeric()) => Ok(term),
        _ => {
            let given = iri.chars().take(96).collect();
            Err(CatalogueError::Iri { place: place.clone(), given, namespace })
        }
    }
}

fn count(place: &Place, what: &'static str, count: usize, max: usize) -> Result<(), CatalogueError> {
    if (1..=max).contains(&count) {
        Ok(())
    } else {
        Err(CatalogueError::Count { place: place.clone(), what, count, max })
    }
}

fn bounded(place: &Place, ceiling: &'static str, given: u64, max: u64) -> Result<(), CatalogueError> {
    if (1..=max).contains(&given) {
        Ok(())
    } else {
        Err(CatalogueError::Ceiling { place: place.clone(), ceiling, given, max })
    }
}

fn malformed(text: &str, error: &toml::de::Error) -> CatalogueError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    // Split by bytes: a span may end inside a character that the parser could not read.
    let line = text.as_bytes()[..start].split(|&b| b == b'\n').count();
    CatalogueError::Malformed { line, message: error.message().to_owned() }
}

#[cfg(test)]
mod tests;
