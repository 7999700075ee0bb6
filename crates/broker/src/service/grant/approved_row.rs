//! One row of an approval: what the customer signed, held against the request.

use std::time::Duration;

use countersign_grants::{
    digest::Digest,
    id::CustomerName,
    statement::{GrantRequest, GrantTerms},
};
use countersign_proto::v1::approve_grant_request_request::ApprovedRow;

use super::{
    renew,
    signed_terms::{self, SignedTerms, WHAT},
    supersede::Superseding,
};
use crate::{Broker, Fault};

/// How far the approval's time may lie from ours, in either direction: as for a fetch. The terms' times bind both
/// sides, so an approval is not kept to be used later.
const MAX_APPROVAL_AGE: Duration = Duration::from_secs(120);

/// A row that has met every check.
pub(super) struct VerifiedRow {
    /// The terms.
    pub(super) signed: SignedTerms,
    /// The position of its offer in the request.
    pub(super) position: usize,
    /// The grant that it renews.
    pub(super) renews: Option<Superseding>,
}

/// Verifies one chosen row.
pub(super) async fn verify(
    broker: &Broker,
    customer: &CustomerName,
    (request, request_digest): (&GrantRequest, Digest),
    row: &ApprovedRow,
) -> Result<VerifiedRow, Fault> {
    let signed = signed_terms::verify(broker, customer, row, Some(request)).await?;
    let position = says(broker, signed.terms.statement(), request, request_digest)?;
    let renews = renew::renewed(broker, customer, &signed, &request.rows[position]).await?;
    Ok(VerifiedRow { signed, position, renews })
}

/// What the terms say of the request and of time; the position of the row's offer in the request.
fn says(
    broker: &Broker,
    says: &GrantTerms,
    request: &GrantRequest,
    request_digest: Digest,
) -> Result<usize, Fault> {
    let now = broker.now();
    if says.request != request_digest {
        return Err(Fault::says(WHAT, "request", "they answer another request"));
    }
    if says.time.distance(now) > MAX_APPROVAL_AGE {
        return Err(Fault::says(
            WHAT,
            "time",
            format!("they say {}, and it is {now}: sign again", says.time),
        ));
    }
    let position = request.rows.iter().position(|row| row.offer == says.offer);
    position.ok_or_else(|| Fault::says(WHAT, "offer", "the request has no such row"))
}
