//! Requests, terms and changes.

use std::time::Duration;

use countersign_proto::statement::v1 as wire;

use super::{
    offer::{self, MAX_ROWS},
    parse::{self, Checkpoint, Malformed, Statement},
};
use crate::{
    catalogue::{FieldPath, PurposeCode},
    digest::Digest,
    id::{Origin, PartnerName, SubjectHandle},
    key::PublicKey,
    time::Timestamp,
};

pub use countersign_proto::statement::v1::grant_change::Verb;

/// The longest that a request waits for an answer: a trip is planned within the week.
pub const MAX_REQUEST_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest BCP 47 tag in use is well under this.
const MAX_LANGUAGE_CHARS: usize = 35;

/// Offers put to one customer at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantRequest {
    broker: Origin,
    /// Who asks.
    pub requester: PartnerName,
    /// The requester's handle for the customer.
    pub subject: SubjectHandle,
    /// One to seven rows.
    pub rows: Vec<RequestedRow>,
    /// When it lapses.
    pub expire_time: Timestamp,
    /// When the partner signed.
    pub time: Timestamp,
    /// The newest published checkpoint that the signer verified.
    pub checkpoint: Checkpoint,
}

/// One row of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestedRow {
    /// The offer.
    pub offer: Digest,
    /// Whether the row can be left out.
    pub optional: bool,
    /// The terms of the grant that it renews.
    pub renews: Option<Digest>,
}

impl Statement for GrantRequest {
    type Message = wire::GrantRequest;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.grant-request.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        if message.rows.is_empty() || message.rows.len() > MAX_ROWS {
            return Err(Malformed::new(
                "rows",
                format!("has {}; 1 to {MAX_ROWS} are allowed", message.rows.len()),
            ));
        }
        let mut rows: Vec<RequestedRow> = Vec::with_capacity(message.rows.len());
        for row in &message.rows {
            let row = RequestedRow {
                offer: parse::digest("rows", &row.offer)?,
                optional: row.optional,
                renews: parse::digest_or_none("renews", &row.renews)?,
            };
            if rows.iter().any(|other| other.offer == row.offer) {
                return Err(Malformed::new("rows", "names an offer twice"));
            }
            if row.renews.is_some() && rows.iter().any(|other| other.renews == row.renews) {
                return Err(Malformed::new("renews", "names a grant twice"));
            }
            rows.push(row);
        }
        parse::array::<16>("nonce", &message.nonce)?;
        let request = Self {
            broker: parse::origin(&message.broker)?,
            requester: parse::name("requester", &message.requester, PartnerName::parse)?,
            subject: parse::name("subject", &message.subject, SubjectHandle::parse)?,
            rows,
            expire_time: parse::time("expire_time_ms", message.expire_time_ms)?,
            time: parse::time("time_ms", message.time_ms)?,
            checkpoint: parse::checkpoint(message.checkpoint)?,
        };
        if request.subject.partner() != &request.requester {
            return Err(Malformed::new("subject", "must be a handle of the requester"));
        }
        let life = request.expire_time.since(request.time);
        if life.is_zero() || life > MAX_REQUEST_LIFE {
            return Err(Malformed::new("expire_time_ms", "must be at most seven days after `time_ms`"));
        }
        Ok(request)
    }

    fn broker(&self) -> &Origin {
        &self.broker
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        Some(&self.checkpoint)
    }
}

/// One approved row, bound whole.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantTerms {
    broker: Origin,
    /// Who gives.
    pub source: PartnerName,
    /// The source's identity key, as the customer pinned it.
    pub source_identity: PublicKey,
    /// Who receives.
    pub recipient: PartnerName,
    /// The recipient's identity key, as the customer pinned it.
    pub recipient_identity: PublicKey,
    /// What the source's salt and acceptance must open.
    pub source_commitment: Digest,
    /// What the recipient's salt and acceptance must open.
    pub recipient_commitment: Digest,
    /// The request.
    pub request: Digest,
    /// The offer.
    pub offer: Digest,
    /// The catalogue under which the grant is judged.
    pub catalogue_version: Digest,
    /// The language in which the customer read the offer.
    pub language: String,
    /// The purpose.
    pub purpose: PurposeCode,
    /// The fields, in order.
    pub fields: Vec<FieldPath>,
    /// How often data may be fetched in all.
    pub uses: u32,
    /// How often data may be fetched in one window.
    pub rate: Option<(u32, Duration)>,
    /// How long what was received may be kept after the end.
    pub retention: Duration,
    /// When it ends at the latest.
    pub expire_time: Timestamp,
    /// The random bytes by which the log knows the grant.
    pub log_tag: [u8; 32],
    /// When the customer approved.
    pub time: Timestamp,
    /// The terms in whose place these stand.
    pub previous: Option<Digest>,
}

impl Statement for GrantTerms {
    type Message = wire::GrantTerms;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.grant-terms.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        let fields = offer::fields("fields", &message.fields)?;
        if fields.is_empty() {
            return Err(Malformed::new("fields", "must name at least one field"));
        }
        offer::no_field_twice("fields", fields.iter())?;
        if message.uses == 0 {
            return Err(Malformed::new("uses", "must be at least 1"));
        }
        let terms = Self {
            broker: parse::origin(&message.broker)?,
            source: parse::name("source", &message.source, PartnerName::parse)?,
            source_identity: parse::key("source_identity", &message.source_identity)?,
            recipient: parse::name("recipient", &message.recipient, PartnerName::parse)?,
            recipient_identity: parse::key("recipient_identity", &message.recipient_identity)?,
            source_commitment: parse::digest("source_commitment", &message.source_commitment)?,
            recipient_commitment: parse::digest("recipient_commitment", &message.recipient_commitment)?,
            request: parse::digest("request", &message.request)?,
            offer: parse::digest("offer", &message.offer)?,
            catalogue_version: parse::digest("catalogue_version", &message.catalogue_version)?,
            language: parse::text("language", message.language, MAX_LANGUAGE_CHARS)?,
            purpose: offer::purpose(&message.purpose)?,
            fields,
            uses: message.uses,
            rate: message.rate.map(offer::rate).transpose()?,
            retention: Duration::from_secs(message.retention_seconds),
            expire_time: parse::time("expire_time_ms", message.expire_time_ms)?,
            log_tag: parse::array("log_tag", &message.log_tag)?,
            time: parse::time("time_ms", message.time_ms)?,
            previous: parse::digest_or_none("previous", &message.previous)?,
        };
        if terms.expire_time <= terms.time {
            return Err(Malformed::new("expire_time_ms", "must be later than `time_ms`"));
        }
        if terms.source == terms.recipient {
            return Err(Malformed::new("recipient", "must be another partner than the source"));
        }
        Ok(terms)
    }

    fn broker(&self) -> &Origin {
        &self.broker
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        None
    }
}

/// The customer's numbered change.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantChange {
    broker: Origin,
    /// The terms.
    pub terms: Digest,
    /// Rises by one with each change of this grant, from 1.
    pub sequence: u64,
    /// What changes.
    pub verb: Verb,
    /// With a stop: the recipient must delete what it received.
    pub erase: bool,
    /// The change before this one, or the terms.
    pub previous: Digest,
    /// When the customer signed.
    pub time: Timestamp,
    /// With a narrowing, and with it alone: the terms that stand in the place of these.
    pub successor: Option<Digest>,
}

impl Statement for GrantChange {
    type Message = wire::GrantChange;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.grant-change.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        let verb = message.verb();
        if verb == Verb::Unspecified {
            return Err(Malformed::new("verb", "must be PAUSE, RESUME, STOP or NARROW"));
        }
        if message.sequence == 0 {
            return Err(Malformed::new("sequence", "starts at 1"));
        }
        if message.erase && verb != Verb::Stop {
            return Err(Malformed::new("erase", "goes with STOP alone"));
        }
        let successor = parse::digest_or_none("successor", &message.successor)?;
        if successor.is_some() != (verb == Verb::Narrow) {
            return Err(Malformed::new("successor", "goes with NARROW, and with it alone"));
        }
        Ok(Self {
            broker: parse::origin(&message.broker)?,
            terms: parse::digest("terms", &message.terms)?,
            sequence: message.sequence,
            verb,
            erase: message.erase,
            previous: parse::digest("previous", &message.previous)?,
            time: parse::time("time_ms", message.time_ms)?,
            successor,
        })
    }

    fn broker(&self) -> &Origin {
        &self.broker
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        None
    }
}
