//! Putting offers to a customer, and saying that something changed.

use std::time::Duration;

use countersign_grants::{
    id::{GrantName, OfferName, RequestName, SubjectHandle},
    statement::GrantRequest,
};
use countersign_proto::{
    statement::v1 as wire,
    v1::{CancelGrantRequestRequest, CreateGrantRequestRequest, NotifyChangeRequest},
};

use super::Partner;
use crate::{
    channel::call,
    error::{Error, Party},
};

/// The most calls that one notice takes, of some thousand grants each: far more than one account has, and an end to what
/// a broker can make its caller do.
const MAX_NOTICE_CALLS: usize = 64;

/// One row of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedRow {
    /// The offer.
    pub offer: OfferName,
    /// Whether the row can be left out.
    pub optional: bool,
    /// A grant of this partner's with the same subject, between the same parties and for the same purpose: with the row's
    /// approval it ends.
    pub renews: Option<GrantName>,
}

impl Partner {
    /// Puts offers to a linked customer, in one request. `true` says that the row can be left out. Each call makes a
    /// request of its own.
    pub async fn request(
        &self,
        subject: &SubjectHandle,
        rows: &[(OfferName, bool)],
        lifetime: Duration,
    ) -> Result<RequestName, Error> {
        let asked = |(offer, optional): &(OfferName, bool)| AskedRow {
            offer: offer.clone(),
            optional: *optional,
            renews: None,
        };
        let rows: Vec<AskedRow> = rows.iter().map(asked).collect();
        self.request_rows(subject, &rows, lifetime).await
    }

    /// The same, with rows that can renew grants.
    pub async fn request_rows(
        &self,
        subject: &SubjectHandle,
        rows: &[AskedRow],
        lifetime: Duration,
    ) -> Result<RequestName, Error> {
        let shared = &self.0;
        shared.monitor.check()?;
        let row = |row: &AskedRow| wire::RequestedRow {
            offer: row.offer.digest().into(),
            optional: row.optional,
            renews: row.renews.as_ref().map(|renews| renews.digest().into()).unwrap_or_default(),
        };
        let checkpoint = shared.monitor.for_signing().await?;
        let now = shared.system.now();
        let message = wire::GrantRequest {
            broker: shared.trust.origin.to_string(),
            requester: shared.name.to_string(),
            subject: subject.as_str().to_owned(),
            rows: rows.iter().map(row).collect(),
            expire_time_ms: now.plus(lifetime).as_millis(),
            time_ms: now.as_millis(),
            nonce: shared.system.draw::<16>().to_vec().into(),
            checkpoint,
        };
        let signed = shared.sign_checked::<GrantRequest>("request", &message)?;
        let asked = CreateGrantRequestRequest { statement: Some(signed.envelope().clone()) };
        shared.connection.grants().create_grant_request(call(asked)).await?;
        Ok(RequestName::of(signed.digest()))
    }

    /// Takes a request back.
    pub async fn cancel_request(&self, request: &RequestName) -> Result<(), Error> {
        let asked = CancelGrantRequestRequest { name: request.to_string() };
        self.0.connection.grants().cancel_grant_request(call(asked)).await?;
        Ok(())
    }

    /// Says that a resource of a subject has changed, such as `trip`. Recipients with a standing grant get an event, and
    /// fetch under that grant. Refused with `QUOTA_EXCEEDED` once a grant has had more notices in a minute than the broker
    /// takes: then say it again when `retry_after` is over, since the last change is in none of them.
    pub async fn notify_change(&self, subject: &SubjectHandle, resource: &str) -> Result<(), Error> {
        self.0.monitor.check()?;
        let mut page_token = String::new();
        for _ in 0..MAX_NOTICE_CALLS {
            let (subject, resource) = (subject.as_str().to_owned(), resource.to_owned());
            let asked = NotifyChangeRequest { subject, resource, page_token };
            page_token =
                self.0.connection.transfers().notify_change(call(asked)).await?.into_inner().next_page_token;
            if page_token.is_empty() {
                return Ok(());
            }
        }
        Err(Error::misbehaved(Party::Broker, "notice", "page_token", "the notices come to no end"))
    }
}
