//! A row that renews a grant: what it may renew when it is asked, and when it is approved.

use countersign_grants::{
    id::{CustomerName, GrantName},
    statement::{GrantRequest, Offer, RequestedRow, Revision},
};
use countersign_proto::row::v1::GrantRow;

use super::{
    signed_terms::{SignedTerms, WHAT},
    supersede::Superseding,
};
use crate::{
    Broker, Fault,
    caller::Party,
    stored::{Side, StoredGrant},
};

/// Whether each row that names a grant may renew it. Whoever is no side of that grant learns nothing of it; whether two
/// subjects are one customer's, a partner learns as little.
pub(super) async fn renewable(
    broker: &Broker,
    what: &'static str,
    request: &GrantRequest,
    offers: &[Offer],
) -> Result<(), Fault> {
    for (row, offer) in request.rows.iter().zip(offers) {
        let Some(renews) = row.renews else { continue };
        let name = GrantName::of(renews);
        let wrong = |problem: &str| Fault::says(what, "renews", format!("`{name}` {problem}"));
        let requester = Party::Partner(request.requester.clone());
        let grant = broker.grant(&name).await?.ok_or(Fault::GrantUnknown)?;
        let handle = match grant.side(&requester).ok_or(Fault::GrantUnknown)? {
            Side::Source | Side::Customer => &grant.read.row.source_subject,
            Side::Recipient => &grant.read.row.recipient_subject,
        };
        if handle != request.subject.as_str() {
            return Err(wrong("is of another subject"));
        }
        let terms = &grant.terms;
        if terms.source != offer.source || terms.recipient != offer.recipient {
            return Err(wrong("is between others"));
        }
        if terms.purpose != offer.purpose {
            return Err(wrong("is for another purpose"));
        }
        may_end(broker, &grant)?;
    }
    Ok(())
}

/// The grant that terms of an approval renew, if the row that they answer does.
pub(super) async fn renewed(
    broker: &Broker,
    customer: &CustomerName,
    signed: &SignedTerms,
    asked: &RequestedRow,
) -> Result<Option<Superseding>, Fault> {
    let says = signed.terms.statement();
    if says.previous != asked.renews {
        return Err(Fault::says(WHAT, "previous", "they renew another grant than the row that they answer"));
    }
    let Some(renews) = asked.renews else { return Ok(None) };
    let party = Party::Customer(customer.clone());
    let old = broker.grant(&GrantName::of(renews)).await?.filter(|old| old.side(&party).is_some());
    let old = old.ok_or(Fault::GrantUnknown)?;
    let revision = says
        .revises_terms(&old.terms, old.name.digest())
        .map_err(|error| Fault::says(WHAT, error.field, &error))?;
    if revision != Revision::Renewed {
        return Err(Fault::says(WHAT, "request", "they are under the request of the grant that they renew"));
    }
    let row = &old.read.row;
    let sides = [
        ("source_link", &signed.links.0, &row.source_link),
        ("recipient_link", &signed.links.1, &row.recipient_link),
    ];
    for (check, link, stands) in sides {
        if link.name.as_str() != stands {
            return Err(Fault::says(
                WHAT,
                check,
                "the link is another than that of the grant that they renew",
            ));
        }
    }
    let row = may_end(broker, &old)?;
    Ok(Some(Superseding { old, row, revision }))
}

/// The row of a grant that a renewal ends.
fn may_end(broker: &Broker, grant: &StoredGrant) -> Result<GrantRow, Fault> {
    let now = broker.now();
    let state = grant.state(now)?.renew(now).map_err(|error| Fault::not_allowed(&grant.name, error))?;
    let mut row = grant.read.row.clone();
    state.write_to(&mut row);
    Ok(row)
}
