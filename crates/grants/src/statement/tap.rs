//! The person's own tap: leave for one fetch of a precise location, and for minutes alone.

use std::time::Duration;

use countersign_proto::statement::v1 as wire;

use super::{
    offer,
    parse::{self, Checkpoint, Malformed, Statement},
    transfer::{MAX_FETCH_AGE, uuid},
};
use crate::{catalogue::FieldPath, digest::Digest, id::Origin, time::Timestamp};

/// The longest that a tap counts: the person stands there and waits.
pub const MAX_TAP_LIFE: Duration = Duration::from_secs(300);

/// Leave for one fetch under one grant, given by the customer's own tap. Signed twice, like the terms.
#[derive(Clone, Debug, PartialEq)]
pub struct LocationTap {
    broker: Origin,
    /// The terms of the grant.
    pub terms: Digest,
    /// The fields that may leave by it, in order.
    pub fields: Vec<FieldPath>,
    /// A UUID drawn for this tap.
    pub request_id: String,
    /// When the customer tapped.
    pub time: Timestamp,
    /// Until when it counts.
    pub expire_time: Timestamp,
}

/// Why a tap gives no leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapError {
    /// It is of another grant.
    #[error("the tap is of another grant")]
    Terms,
    /// It is over, or of the future.
    #[error("the tap counted from {from} to {until}, and it is {now}: tap again")]
    Time {
        /// From when.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
    /// It is not for this field.
    #[error("the tap is not for `{field}`")]
    Field {
        /// The field.
        field: String,
    },
}

impl TapError {
    /// A stable word for the check that failed.
    pub fn check(&self) -> &'static str {
        match self {
            Self::Terms => "terms",
            Self::Time { .. } => "time_ms",
            Self::Field { .. } => "fields",
        }
    }
}

impl LocationTap {
    /// Whether it counts at a moment: a clock may run behind the one that signed as far as for a fetch, and never ahead.
    pub fn stands(&self, now: Timestamp) -> Result<(), TapError> {
        if (self.time.minus(MAX_FETCH_AGE)..self.expire_time).contains(&now) {
            return Ok(());
        }
        Err(TapError::Time { from: self.time, until: self.expire_time, now })
    }

    /// Whether it gives leave for these fields of this grant at a moment. Those that need none are passed over.
    pub fn allows(&self, terms: Digest, fields: &[FieldPath], now: Timestamp) -> Result<(), TapError> {
        if self.terms != terms {
            return Err(TapError::Terms);
        }
        self.stands(now)?;
        match fields.iter().find(|field| field.needs_tap() && !self.fields.contains(field)) {
            Some(field) => Err(TapError::Field { field: field.to_string() }),
            None => Ok(()),
        }
    }
}

impl Statement for LocationTap {
    type Message = wire::LocationTap;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.location-tap.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        let fields = offer::fields("fields", &message.fields)?;
        if fields.is_empty() {
            return Err(Malformed::new("fields", "must name at least one field"));
        }
        if let Some(field) = fields.iter().find(|field| !field.needs_tap()) {
            return Err(Malformed::new(
                "fields",
                format!("`{field}` is no precise location and needs no tap"),
            ));
        }
        offer::no_field_twice("fields", fields.iter())?;
        let time = parse::time("time_ms", message.time_ms)?;
        let expire_time = parse::time("expire_time_ms", message.expire_time_ms)?;
        if expire_time <= time || expire_time.since(time) > MAX_TAP_LIFE {
            let problem = format!("must come after `time_ms`, by {} s at most", MAX_TAP_LIFE.as_secs());
            return Err(Malformed::new("expire_time_ms", problem));
        }
        Ok(Self {
            broker: parse::origin(&message.broker)?,
            terms: parse::digest("terms", &message.terms)?,
            fields,
            request_id: uuid(message.request_id)?,
            time,
            expire_time,
        })
    }

    fn broker(&self) -> &Origin {
        &self.broker
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        None
    }
}
