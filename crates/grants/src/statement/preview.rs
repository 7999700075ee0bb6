//! Previews: what would leave, shown to the customer before the answer; and what tells later whether it changed.

use countersign_proto::statement::v1 as wire;

use super::{
    offer,
    parse::{self, Checkpoint, Malformed, Statement},
    transfer::{MAX_FETCH_AGE, SEALING_KEY_BYTES, uuid},
};
use crate::{
    catalogue::FieldPath,
    digest::Digest,
    envelope::Signed,
    id::{Origin, PartnerName},
    sealing::COMPARISON_KEY,
    statement::Offer,
    time::Timestamp,
};

/// A customer asks a source for the values that would leave under one row of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    broker: Origin,
    /// The acceptance of the link to the source.
    pub acceptance: Digest,
    /// The grant request.
    pub request: Digest,
    /// The offer.
    pub offer: Digest,
    /// The fields, in the offer's order; none of them a precise location.
    pub fields: Vec<FieldPath>,
    /// A UUID drawn for this preview.
    pub request_id: String,
    /// When the customer signed.
    pub time: Timestamp,
    /// The key to which the values are sealed.
    pub sealing_key: [u8; SEALING_KEY_BYTES],
}

/// How a preview steps outside its offer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreviewError {
    /// Of another offer.
    #[error("the preview is of another offer")]
    Offer,
    /// Other fields than the offer's, or in another order.
    #[error("the preview's fields are not fields of the offer, in its order")]
    Fields,
}

impl PreviewError {
    /// A stable word for the check that failed.
    pub fn check(&self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Fields => "fields",
        }
    }
}

impl Preview {
    /// Whether the preview is of now, by this clock: as for a fetch.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.time.distance(now) <= MAX_FETCH_AGE
    }

    /// Whether it shows no more than what the offer proposes.
    pub fn within(&self, offer: &Signed<Offer>) -> Result<(), PreviewError> {
        if self.offer != offer.digest() {
            return Err(PreviewError::Offer);
        }
        let chosen = offer.statement().fields().filter(|field| self.fields.contains(field));
        if chosen.eq(self.fields.iter()) { Ok(()) } else { Err(PreviewError::Fields) }
    }
}

impl Statement for Preview {
    type Message = wire::Preview;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.preview.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        let fields = offer::fields("fields", &message.fields)?;
        if fields.is_empty() {
            return Err(Malformed::new("fields", "must name at least one field"));
        }
        // Else whoever holds the customer's keys could look where she is, as often as there are previews, without her tap.
        if let Some(field) = fields.iter().find(|field| field.needs_tap()) {
            let problem = format!("`{field}` is a precise location, which leaves by a tap alone");
            return Err(Malformed::new("fields", problem));
        }
        offer::no_field_twice("fields", fields.iter())?;
        Ok(Self {
            broker: parse::origin(&message.broker)?,
            acceptance: parse::digest("acceptance", &message.acceptance)?,
            request: parse::digest("request", &message.request)?,
            offer: parse::digest("offer", &message.offer)?,
            fields,
            request_id: uuid(message.request_id)?,
            time: parse::time("time_ms", message.time_ms)?,
            sealing_key: parse::array("sealing_key", &message.sealing_key)?,
        })
    }

    fn broker(&self) -> &Origin {
        &self.broker
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        None
    }
}

/// The source says what it showed.
#[derive(Clone, Debug, PartialEq)]
pub struct PreviewProvision {
    broker: Origin,
    /// Who shows.
    pub source: PartnerName,
    /// The preview.
    pub preview: Digest,
    /// The encoded sealed fields.
    pub sealed: Digest,
    /// When the source signed.
    pub time: Timestamp,
    /// The newest published checkpoint that the signer verified.
    pub checkpoint: Checkpoint,
}

impl Statement for PreviewProvision {
    type Message = wire::PreviewProvision;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.preview-provision.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        Ok(Self {
            broker: parse::origin(&message.broker)?,
            source: parse::name("source", &message.source, PartnerName::parse)?,
            preview: parse::digest("preview", &message.preview)?,
            sealed: parse::digest("sealed", &message.sealed)?,
            time: parse::time("time_ms", message.time_ms)?,
            checkpoint: parse::checkpoint(message.checkpoint)?,
        })
    }

    fn broker(&self) -> &Origin {
        &self.broker
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        Some(&self.checkpoint)
    }
}

/// Whether the sealed fields are exactly those of the preview, in order, and after them a comparison key.
pub fn check_previewed(preview: &Preview, sealed: &wire::SealedFields) -> Result<(), Malformed> {
    let asked = preview.fields.iter().map(FieldPath::as_str).chain([COMPARISON_KEY]);
    if !asked.eq(sealed.fields.iter().map(|field| field.field.as_str())) {
        let problem =
            "must be exactly the fields of the preview, in its order, and after them a comparison key";
        return Err(Malformed::new("sealed_fields", problem));
    }
    Ok(())
}

/// With which preview the values of a provision can be compared, and what each comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The preview.
    pub preview: Digest,
    /// By field, in the order of the fetch.
    pub marks: Vec<(FieldPath, [u8; MARK_BYTES])>,
}

/// The length of a comparison mark in bytes.
pub const MARK_BYTES: usize = 32;

impl Comparison {
    /// Reads the two fields of a provision, which come together or not at all.
    pub(super) fn parse(preview: &[u8], marks: &[wire::ComparisonMark]) -> Result<Option<Self>, Malformed> {
        if preview.is_empty() && marks.is_empty() {
            return Ok(None);
        }
        let preview = parse::digest("preview", preview)?;
        let paths: Vec<String> = marks.iter().map(|mark| mark.field.clone()).collect();
        let fields = offer::fields("marks", &paths)?;
        if fields.is_empty() {
            return Err(Malformed::new("marks", "must be given with a preview, one for each field"));
        }
        offer::no_field_twice("marks", fields.iter())?;
        let macs =
            marks.iter().map(|mark| parse::array("marks", &mark.mac)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Self { preview, marks: fields.into_iter().zip(macs).collect() }))
    }

    /// As a provision carries it.
    pub fn to_wire(&self) -> Vec<wire::ComparisonMark> {
        let mark = |(field, mac): &(FieldPath, [u8; MARK_BYTES])| wire::ComparisonMark {
            field: field.to_string(),
            mac: mac.to_vec().into(),
        };
        self.marks.iter().map(mark).collect()
    }
}
