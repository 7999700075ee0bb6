//! `TapLocation`: the customer's own tap, which gives leave for one fetch of a precise location.
//!
//! A grant holds one tap at a time: a new one takes the place of the one before, and the fetch that it gives leave to
//! takes it away, in the same commit as the transfer's record.

use bytes::Bytes;
use countersign_grants::{
    envelope::Signed,
    id::{CustomerName, GrantName, Principal},
    permit::{self, Refusal},
    statement::LocationTap,
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{GrantRow, PrivatePart},
    statement::v1::Envelope,
    v1::{TapLocationRequest, TapLocationResponse, grant::State},
};

use super::TransferService;
use crate::{
    caller::{Caller, Party},
    error::Fault,
    record::Happening,
    service::{fields, grant},
    stored::StoredGrant,
    work::{Done, Work, settle},
};

const WHAT: &str = "location tap";

impl TransferService {
    pub(super) async fn tap(
        &self,
        caller: &Caller,
        request: &TapLocationRequest,
    ) -> Result<TapLocationResponse, Fault> {
        let customer = caller.customer()?;
        let name = fields::name("name", &request.name, GrantName::parse)?;
        settle("grant", || self.tap_once(customer, &name, request)).await
    }

    async fn tap_once(
        &self,
        customer: &CustomerName,
        name: &GrantName,
        request: &TapLocationRequest,
    ) -> Result<Option<TapLocationResponse>, Fault> {
        let (broker, party) = (&self.broker, Party::Customer(customer.clone()));
        let (stored, _) = grant::load_grant(broker, &party, name).await?;
        let (source, recipient) = self.tapped_twice(&stored, request).await?;
        self.tap_fits(&stored, source.statement())?;
        let work = self.tapped(&stored, &source, recipient).await?;
        let entered = match broker.commit(work).await? {
            Done::Committed { mut entered, .. } => {
                entered.pop().ok_or(Fault::Bug { what: "a tap was committed without its record" })?
            }
            Done::Replayed { first_index, .. } => broker.entered(first_index).await?,
            Done::Conflict => return Ok(None),
        };
        Ok(Some(TapLocationResponse { receipt: Some(entered.for_party(&party)) }))
    }

    /// The tap under both of its signatures.
    async fn tapped_twice(
        &self,
        stored: &StoredGrant,
        request: &TapLocationRequest,
    ) -> Result<(Signed<LocationTap>, Envelope), Fault> {
        let (broker, row) = (&self.broker, &stored.read.row);
        let source = request.source_tap.as_ref();
        let source = grant::by_link::<LocationTap>(broker, WHAT, &row.source_link, source).await?;
        let recipient = request.recipient_tap.as_ref();
        let recipient = grant::by_link::<LocationTap>(broker, WHAT, &row.recipient_link, recipient).await?;
        if source.digest() != recipient.digest() {
            return Err(Fault::says(WHAT, "recipient_tap", "the two envelopes carry different taps"));
        }
        Ok((source, recipient.envelope().clone()))
    }

    /// Whether it is of this grant, of now, for fields that were granted; and the grant stands.
    fn tap_fits(&self, stored: &StoredGrant, tap: &LocationTap) -> Result<(), Fault> {
        let now = self.broker.now();
        tap.allows(stored.name.digest(), &tap.fields, now)
            .map_err(|error| Fault::says(WHAT, error.check(), &error))?;
        if let Some(field) = tap.fields.iter().find(|field| !stored.terms.fields.contains(field)) {
            return Err(Fault::says(WHAT, "fields", format!("`{field}` is not granted")));
        }
        match stored.state(now)?.state() {
            // Nothing is left that it could bring.
            state @ State::Consumed => Err(Fault::Refused(Refusal::Ended { state })),
            state => permit::flows(state).map_err(Fault::Refused),
        }
    }

    async fn tapped(
        &self,
        stored: &StoredGrant,
        tap: &Signed<LocationTap>,
        recipient: Envelope,
    ) -> Result<Work, Fault> {
        let (broker, terms, customer) = (&self.broker, &stored.terms, stored.customer()?);
        let customer_key = broker.customer_key(&customer).await?;
        let mut work = Work::default();
        broker.expect_open(&mut work, &customer_key).await?;
        let row = GrantRow { tap: Some(tap.envelope().clone()), ..stored.read.row.clone() };
        work.update(&stored.read, &row)?;
        let says = tap.statement();
        work.request(&Principal::Customer(customer.clone()), &says.request_id, tap.digest(), Bytes::new());
        work.record(broker.draft(Happening {
            kind: Kind::LocationTapped,
            source: Some(&terms.source),
            recipient: Some(&terms.recipient),
            customer: Some(&customer_key),
            purpose: Some(&terms.purpose),
            catalogue_version: Some(terms.catalogue_version),
            grant: Some((&stored.name, terms.log_tag)),
            fields: &says.fields,
            evidence: &[tap.digest()],
            private: PrivatePart { envelopes: vec![recipient], ..stored.private_part() },
            ..Happening::default()
        }));
        Ok(work)
    }
}
