//! Fetches and provisions.

use std::time::Duration;

use countersign_proto::statement::v1 as wire;

use super::{
    offer,
    parse::{self, Checkpoint, Malformed, Statement},
    preview::Comparison,
};
use crate::{
    catalogue::{FieldPath, PurposeCode},
    digest::Digest,
    id::{Origin, PartnerName},
    time::Timestamp,
};

/// How far a fetch's time may lie from the clock of whoever checks it; a retry is good for as long.
pub const MAX_FETCH_AGE: Duration = Duration::from_secs(120);

/// The length of an X25519 public key in bytes.
pub const SEALING_KEY_BYTES: usize = 32;

/// A recipient asks for data under one grant.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetch {
    broker: Origin,
    /// Who asks.
    pub recipient: PartnerName,
    /// The terms.
    pub terms: Digest,
    /// What the data will be used for.
    pub purpose: PurposeCode,
    /// The fields, in order.
    pub fields: Vec<FieldPath>,
    /// A UUID drawn for this fetch.
    pub request_id: String,
    /// When the recipient signed.
    pub time: Timestamp,
    /// The key to which the values are sealed.
    pub sealing_key: [u8; SEALING_KEY_BYTES],
    /// The newest published checkpoint that the signer verified.
    pub checkpoint: Checkpoint,
    /// The customer's tap, where a field is a precise location.
    pub tap: Option<Digest>,
}

impl Fetch {
    /// The first field that leaves by the customer's own tap alone.
    pub fn needs_tap(&self) -> Option<&FieldPath> {
        self.fields.iter().find(|field| field.needs_tap())
    }

    /// Whether the fetch is of now, by this clock.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.time.distance(now) <= MAX_FETCH_AGE
    }
}

impl Statement for Fetch {
    type Message = wire::Fetch;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.fetch.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        let fields = offer::fields("fields", &message.fields)?;
        if fields.is_empty() {
            return Err(Malformed::new("fields", "must name at least one field"));
        }
        offer::no_field_twice("fields", fields.iter())?;
        Ok(Self {
            broker: parse::origin(&message.broker)?,
            recipient: parse::name("recipient", &message.recipient, PartnerName::parse)?,
            terms: parse::digest("terms", &message.terms)?,
            purpose: offer::purpose(&message.purpose)?,
            fields,
            request_id: uuid(message.request_id)?,
            time: parse::time("time_ms", message.time_ms)?,
            sealing_key: parse::array("sealing_key", &message.sealing_key)?,
            checkpoint: parse::checkpoint(message.checkpoint)?,
            tap: match message.tap.as_ref() {
                [] => None,
                tap => Some(parse::digest("tap", tap)?),
            },
        })
    }

    fn broker(&self) -> &Origin {
        &self.broker
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        Some(&self.checkpoint)
    }
}

/// The source says what it gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Provision {
    broker: Origin,
    /// Who gives.
    pub source: PartnerName,
    /// The fetch.
    pub fetch: Digest,
    /// The encoded sealed fields.
    pub sealed: Digest,
    /// When the source signed.
    pub time: Timestamp,
    /// The newest published checkpoint that the signer verified.
    pub checkpoint: Checkpoint,
    /// With which preview the customer can compare it, if there was one.
    pub comparison: Option<Comparison>,
}

impl Statement for Provision {
    type Message = wire::Provision;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.provision.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        Ok(Self {
            broker: parse::origin(&message.broker)?,
            source: parse::name("source", &message.source, PartnerName::parse)?,
            fetch: parse::digest("fetch", &message.fetch)?,
            sealed: parse::digest("sealed", &message.sealed)?,
            time: parse::time("time_ms", message.time_ms)?,
            checkpoint: parse::checkpoint(message.checkpoint)?,
            comparison: Comparison::parse(&message.preview, &message.marks)?,
        })
    }

    fn broker(&self) -> &Origin {
        &self.broker
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        Some(&self.checkpoint)
    }
}

impl Provision {
    /// Whether what it can be compared by, if anything, is of exactly the fields that were asked for, in order.
    pub fn check_comparison(&self, fetch: &Fetch) -> Result<(), Malformed> {
        match &self.comparison {
            Some(comparison) if !comparison.marks.iter().map(|(field, _)| field).eq(&fetch.fields) => {
                Err(Malformed::new("marks", "must be of exactly the fields of the fetch, in its order"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the sealed fields are exactly those that were asked for, in order.
pub fn check_asked(fetch: &Fetch, sealed: &wire::SealedFields) -> Result<(), Malformed> {
    let asked = fetch.fields.iter().map(FieldPath::as_str);
    if !asked.eq(sealed.fields.iter().map(|field| field.field.as_str())) {
        return Err(Malformed::new("sealed_fields", "must be exactly the fields of the fetch, in its order"));
    }
    Ok(())
}

/// 8-4-4-4-12 lower-case hex digits.
pub(super) fn uuid(text: String) -> Result<String, Malformed> {
    let good = text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        });
    if good { Ok(text) } else { Err(Malformed::new("request_id", "must be a UUID in lower case")) }
}
