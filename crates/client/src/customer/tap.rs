//! The person's own tap: leave for one fetch of a precise location, for minutes.

use std::time::Duration;

use countersign_grants::{
    catalogue::FieldPath,
    digest::Digest,
    envelope::{self, Signed},
    id::GrantName,
    statement::{LocationTap, MAX_TAP_LIFE},
    time::Timestamp,
};
use countersign_proto::{log::v1::Kind, statement::v1 as wire, v1::TapLocationRequest};

use super::{Customer, GrantRow, MAX_CLOCK_SKEW};
use crate::{
    channel::call,
    error::{Error, Misuse},
    receipt::{ProvenLeaf, Saying},
};

/// A tap that stands in the log: its recipient can fetch once by it.
#[derive(Clone, Debug)]
pub struct Tapped {
    /// The fields that may leave by it.
    pub fields: Vec<FieldPath>,
    /// Until when.
    pub expires: Timestamp,
    /// The proof of its record.
    pub receipt: ProvenLeaf,
}

impl Customer {
    /// Gives leave for one fetch of the precise location under a grant, for so long, five minutes at most. To be called when
    /// the person taps, and at no other time. A tap before it that was not used counts no more.
    pub async fn tap(&self, grant: &GrantName, within: Duration) -> Result<Tapped, Error> {
        self.0.monitor.check()?;
        let row = self.0.book.grant(grant);
        let row = row.ok_or_else(|| Error::Misuse(Misuse::Unknown { name: grant.to_string() }))?;
        let fields: Vec<FieldPath> =
            row.terms.fields.iter().filter(|field| field.needs_tap()).cloned().collect();
        if fields.is_empty() {
            let problem = "no field of this grant is a precise location, so nothing waits for a tap";
            return Err(Error::Misuse(Misuse::NotNow { name: grant.to_string(), problem }));
        }
        let now = self.now();
        let message = wire::LocationTap {
            broker: self.origin().to_string(),
            terms: grant.digest().into(),
            fields: fields.iter().map(ToString::to_string).collect(),
            request_id: self.0.system.draw_uuid(),
            time_ms: now.as_millis(),
            expire_time_ms: now.plus(within.min(MAX_TAP_LIFE)).as_millis(),
        };
        let source = self.sign_tap(&message, &row.source_link)?;
        let recipient = self.sign_tap(&message, &row.recipient_link)?;
        let asked = TapLocationRequest {
            name: grant.to_string(),
            source_tap: Some(source.envelope().clone()),
            recipient_tap: Some(recipient.envelope().clone()),
        };
        let answer = self.0.connection.transfers().tap_location(call(asked)).await?.into_inner();
        let receipt = ProvenLeaf::prove(answer.receipt.as_ref(), &self.0.monitor)?;
        self.says_tapped(&receipt, &row, &source)?;
        Ok(Tapped { fields, expires: source.statement().expire_time, receipt })
    }

    fn sign_tap(&self, message: &wire::LocationTap, link: &Digest) -> Result<Signed<LocationTap>, Error> {
        let key = self.0.wallet.link_key(*link);
        let signed = envelope::sign::<LocationTap>(message, &[&key]);
        envelope::verify(Some(&signed), &[key.public()], self.origin())
            .map_err(|error| Error::malformed("tap", error))
    }

    fn says_tapped(
        &self,
        receipt: &ProvenLeaf,
        row: &GrantRow,
        tap: &Signed<LocationTap>,
    ) -> Result<(), Error> {
        let terms = &row.terms;
        receipt.says(&Saying {
            subject: Some(self.name()),
            fields: Some(&tap.statement().fields),
            evidence: Some(&[tap.digest()]),
            ..Saying::of(
                terms,
                &[Kind::LocationTapped],
                (tap.statement().time.minus(MAX_CLOCK_SKEW), self.now().plus(MAX_CLOCK_SKEW)),
            )
        })
    }
}
