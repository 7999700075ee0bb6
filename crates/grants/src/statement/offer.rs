//! Offers: what a recipient proposes, and what the customer gets for it.

use std::time::Duration;

use countersign_proto::statement::v1 as wire;

use super::parse::{self, Checkpoint, Malformed, Statement};
use crate::{
    catalogue::{Catalogue, Ceilings, FieldPath, OverCeiling, Provenance, PurposeCode},
    digest::Digest,
    id::{Origin, PartnerName},
    key::PublicKey,
    time::Timestamp,
};

pub use countersign_proto::statement::v1::BenefitKind;

/// The most rows in one request: what a person still reads.
pub const MAX_ROWS: usize = 7;

/// The most words in one request, over all of its rows in one language.
pub const MAX_REQUEST_WORDS: usize = 150;

/// The most languages in one offer.
const MAX_LANGUAGES: usize = 8;

/// The most characters of one text: 150 words of some eight letters would not fit a row, so a row gets a fifth.
const MAX_TEXT_CHARS: usize = 280;

/// The most characters of a short line: a phone number, a law, a name.
const MAX_LINE_CHARS: usize = 120;

/// The most fields in one offer: a page of paper, and far more than any row of the journey.
const MAX_FIELDS: usize = 32;

/// A recipient's standing proposal.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    broker: Origin,
    /// Who asks.
    pub recipient: PartnerName,
    /// The recipient's identity key.
    pub recipient_identity: PublicKey,
    /// Who holds the data.
    pub source: PartnerName,
    /// What the data may be used for.
    pub purpose: PurposeCode,
    /// The fields without which it makes no sense.
    pub required_fields: Vec<FieldPath>,
    /// The fields that the customer may add.
    pub optional_fields: Vec<FieldPath>,
    /// The longest that a grant may stand.
    pub duration: Duration,
    /// How often data may be fetched in all.
    pub uses: u32,
    /// How often data may be fetched in one window.
    pub rate: Option<(u32, Duration)>,
    /// The longest that what was received is kept after the end.
    pub retention: Duration,
    /// What the customer reads, by language.
    pub texts: Vec<OfferText>,
    /// The kind of benefit.
    pub benefit_kind: BenefitKind,
    /// A staffed telephone number.
    pub contact_phone: String,
    /// The legal basis.
    pub law: String,
    /// Who is responsible in law.
    pub controller: String,
    /// Where the customer can complain.
    pub complaint_body: String,
    /// The catalogue under which it was written.
    pub catalogue_version: Digest,
    /// When the recipient signed.
    pub time: Timestamp,
    /// The newest published checkpoint that the signer verified.
    pub checkpoint: Checkpoint,
}

/// An offer's words in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferText {
    /// A BCP 47 tag.
    pub language: String,
    /// Why the recipient asks.
    pub reason: String,
    /// What the customer gets.
    pub benefit: String,
    /// When the grant ends, in words.
    pub ends: String,
}

impl OfferText {
    /// How many words the customer has to read.
    pub fn words(&self) -> usize {
        words(&self.reason) + words(&self.benefit) + words(&self.ends)
    }
}

/// Counts words. Where a script writes none apart, two characters count as one: about what a word takes there.
pub fn words(text: &str) -> usize {
    let joined =
        |c: char| matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{0e00}'..='\u{0eff}');
    let apart = text.split(|c: char| c.is_whitespace() || joined(c)).filter(|word| !word.is_empty()).count();
    apart + text.chars().filter(|c| joined(*c)).count().div_ceil(2)
}

impl Offer {
    /// The words in this language, or in the offer's first with `false` to say so.
    pub fn text(&self, language: &str) -> (&OfferText, bool) {
        match self.texts.iter().find(|text| text.language == language) {
            Some(text) => (text, true),
            None => (self.texts.first().expect("parse refuses an offer without texts"), false),
        }
    }

    /// All fields that a grant under this offer may carry, required ones first.
    pub fn fields(&self) -> impl Iterator<Item = &FieldPath> {
        self.required_fields.iter().chain(&self.optional_fields)
    }

    /// Whether the catalogue allows what the offer asks for.
    pub fn within(&self, catalogue: &Catalogue) -> Result<(), Malformed> {
        if catalogue.version() != self.catalogue_version {
            return Err(Malformed::new("catalogue_version", "is not the version of this catalogue"));
        }
        let Some(purpose) = catalogue.purpose(self.purpose.as_str()) else {
            return Err(Malformed::new("purpose", format!("`{}` is not in the catalogue", self.purpose)));
        };
        for path in self.fields() {
            if catalogue.field(path.as_str()).is_none() {
                return Err(Malformed::new("fields", format!("`{path}` is not in the catalogue")));
            }
            if !purpose.allows(path) {
                let problem = format!("the catalogue does not allow `{path}` for `{}`", self.purpose);
                return Err(Malformed::new("fields", problem));
            }
        }
        // What was observed starts switched off, and what is required can't be switched off.
        let observed = |path: &&FieldPath| {
            catalogue.field(path.as_str()).is_some_and(|field| field.provenance() == Provenance::Observed)
        };
        if let Some(path) = self.required_fields.iter().find(observed) {
            let problem = format!("`{path}` is observed, not provided: name it in `optional_fields`");
            return Err(Malformed::new("required_fields", problem));
        }
        let asked =
            Ceilings { duration: self.duration, uses: self.uses, rate: self.rate, retention: self.retention };
        purpose.ceilings().check(&asked).map_err(|over| {
            let field = match over {
                OverCeiling::Duration { .. } => "duration_seconds",
                OverCeiling::Uses { .. } => "uses",
                OverCeiling::Rate { .. } => "rate",
                OverCeiling::Retention { .. } => "retention_seconds",
            };
            Malformed::new(field, over.to_string())
        })
    }
}

impl Statement for Offer {
    type Message = wire::Offer;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.offer.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        let benefit_kind = message.benefit_kind();
        if benefit_kind == BenefitKind::Unspecified {
            return Err(Malformed::new("benefit_kind", "must be set"));
        }
        let required_fields = fields("required_fields", &message.required_fields)?;
        let optional_fields = fields("optional_fields", &message.optional_fields)?;
        if required_fields.is_empty() {
            return Err(Malformed::new("required_fields", "must name at least one field"));
        }
        no_field_twice("fields", required_fields.iter().chain(&optional_fields))?;
        if message.uses == 0 {
            return Err(Malformed::new("uses", "must be at least 1"));
        }
        let offer = Self {
            broker: parse::origin(&message.broker)?,
            recipient: parse::name("recipient", &message.recipient, PartnerName::parse)?,
            recipient_identity: parse::key("recipient_identity", &message.recipient_identity)?,
            source: parse::name("source", &message.source, PartnerName::parse)?,
            purpose: purpose(&message.purpose)?,
            required_fields,
            optional_fields,
            duration: seconds("duration_seconds", message.duration_seconds)?,
            uses: message.uses,
            rate: message.rate.map(rate).transpose()?,
            retention: Duration::from_secs(message.retention_seconds),
            texts: texts(message.texts)?,
            benefit_kind,
            contact_phone: parse::text("contact_phone", message.contact_phone, MAX_LINE_CHARS)?,
            law: parse::text("law", message.law, MAX_LINE_CHARS)?,
            controller: parse::text("controller", message.controller, MAX_LINE_CHARS)?,
            complaint_body: parse::text("complaint_body", message.complaint_body, MAX_LINE_CHARS)?,
            catalogue_version: parse::digest("catalogue_version", &message.catalogue_version)?,
            time: parse::time("time_ms", message.time_ms)?,
            checkpoint: parse::checkpoint(message.checkpoint)?,
        };
        if offer.recipient == offer.source {
            return Err(Malformed::new("source", "must be another partner than the recipient"));
        }
        Ok(offer)
    }

    fn broker(&self) -> &Origin {
        &self.broker
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        Some(&self.checkpoint)
    }
}

pub(super) fn purpose(code: &str) -> Result<PurposeCode, Malformed> {
    PurposeCode::parse(code).map_err(|error| Malformed::new("purpose", error.to_string()))
}

pub(super) fn fields(field: &'static str, paths: &[String]) -> Result<Vec<FieldPath>, Malformed> {
    if paths.len() > MAX_FIELDS {
        return Err(Malformed::new(field, format!("names {} fields; {MAX_FIELDS} are allowed", paths.len())));
    }
    paths
        .iter()
        .map(|path| FieldPath::parse(path).map_err(|error| Malformed::new(field, error.to_string())))
        .collect()
}

pub(super) fn no_field_twice<'a>(
    field: &'static str,
    paths: impl Iterator<Item = &'a FieldPath>,
) -> Result<(), Malformed> {
    let mut seen = std::collections::BTreeSet::new();
    for path in paths {
        if !seen.insert(path) {
            return Err(Malformed::new(field, format!("names `{path}` twice")));
        }
    }
    Ok(())
}

pub(super) fn rate(rate: wire::Rate) -> Result<(u32, Duration), Malformed> {
    if rate.uses == 0 || rate.window_seconds == 0 {
        return Err(Malformed::new("rate", "uses and window must both be at least 1"));
    }
    Ok((rate.uses, seconds("rate", rate.window_seconds)?))
}

pub(super) fn seconds(field: &'static str, seconds: u64) -> Result<Duration, Malformed> {
    /// A hundred years: longer than any promise, short enough that no arithmetic on it wraps.
    const MAX_SECONDS: u64 = 100 * 366 * 24 * 3600;
    match seconds {
        0 => Err(Malformed::new(field, "must be at least 1 second")),
        1..=MAX_SECONDS => Ok(Duration::from_secs(seconds)),
        _ => Err(Malformed::new(field, format!("is over {MAX_SECONDS} seconds"))),
    }
}

fn texts(texts: Vec<wire::OfferText>) -> Result<Vec<OfferText>, Malformed> {
    if texts.is_empty() || texts.len() > MAX_LANGUAGES {
        return Err(Malformed::new("texts", format!("must have 1 to {MAX_LANGUAGES} languages")));
    }
    let mut read: Vec<OfferText> = Vec::with_capacity(texts.len());
    for text in texts {
        let text = OfferText {
            language: parse::text("language", text.language, MAX_LINE_CHARS)?,
            reason: parse::text("reason", text.reason, MAX_TEXT_CHARS)?,
            benefit: parse::text("benefit", text.benefit, MAX_TEXT_CHARS)?,
            ends: parse::text("ends", text.ends, MAX_LINE_CHARS)?,
        };
        if text.words() > MAX_REQUEST_WORDS {
            let problem = format!("{} words; a whole request may have {MAX_REQUEST_WORDS}", text.words());
            return Err(Malformed::new("texts", problem));
        }
        if read.iter().any(|other| other.language == text.language) {
            return Err(Malformed::new("texts", format!("has `{}` twice", text.language)));
        }
        read.push(text);
    }
    Ok(read)
}
