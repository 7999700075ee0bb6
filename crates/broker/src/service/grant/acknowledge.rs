//! `AcknowledgeGrant`: a partner's signed word that terms or a change stand in its book.

use countersign_grants::{
    digest::Digest,
    envelope::Signed,
    id::{GrantName, PartnerName},
    statement::{Acknowledgement, WorkingKey},
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{GrantStatementRow, PrivatePart},
    v1::{AcknowledgeGrantRequest, Grant},
};

use super::{
    get,
    signed_change::{MAX_CHANGES, MAX_STOPS},
    view,
};
use crate::{
    Broker, Caller, Fault,
    caller::Party,
    record::Happening,
    rows,
    service::fields,
    stored::StoredGrant,
    work::{Work, settle},
};

const WHAT: &str = "acknowledgement";

pub(super) async fn acknowledge(
    broker: &Broker,
    caller: &Caller,
    request: AcknowledgeGrantRequest,
) -> Result<Grant, Fault> {
    let partner = caller.partner()?;
    let name = fields::name("name", &request.name, GrantName::parse)?;
    let (signed, key) = broker
        .signed_by_partner::<Acknowledgement>(partner, WHAT, request.statement.as_ref(), |says| says.time)
        .await?;
    if signed.statement().partner != *partner {
        return Err(Fault::says(
            WHAT,
            "partner",
            "only the partner that signed it enters an acknowledgement",
        ));
    }
    settle("grant", || attempt(broker, partner, &name, (&signed, &key))).await
}

async fn attempt(
    broker: &Broker,
    partner: &PartnerName,
    name: &GrantName,
    (signed, key): (&Signed<Acknowledgement>, &WorkingKey),
) -> Result<Option<Grant>, Fault> {
    let party = Party::Partner(partner.clone());
    let (grant, side) = get::load(broker, &party, name).await?;
    let sequence = acknowledged(broker, &grant, signed.statement().statement).await?;
    let place = rows::acknowledgement(name, sequence, partner);
    if broker.load(place.clone()).await?.is_some() {
        return view::grant(broker, &party, &grant, side).await.map(Some);
    }

    let row = GrantStatementRow {
        acknowledgement: Some(signed.envelope().clone()),
        partner_key: Some(key.certificate().envelope().clone()),
        ..GrantStatementRow::default()
    };
    let terms = &grant.terms;
    let evidence = [signed.digest()];
    let customer = broker.customer_key(&grant.customer()?).await?;
    let mut work = Work::default();
    work.create(&place, &row)?;
    broker.expect_open(&mut work, &customer).await?;
    work.record(broker.draft(Happening {
        kind: Kind::Acknowledged,
        source: Some(&terms.source),
        recipient: Some(&terms.recipient),
        customer: Some(&customer),
        purpose: Some(&terms.purpose),
        catalogue_version: Some(terms.catalogue_version),
        grant: Some((name, terms.log_tag)),
        evidence: &evidence,
        private: PrivatePart { actor: partner.to_string(), ..grant.private_part() },
        ..Happening::default()
    }));
    match broker.enter(work).await? {
        Some(_) => view::grant(broker, &party, &grant, side).await.map(Some),
        None => Ok(None),
    }
}

/// The number of the change with this digest; 0 for the terms.
async fn acknowledged(broker: &Broker, grant: &StoredGrant, statement: Digest) -> Result<u64, Fault> {
    if statement == grant.name.digest() {
        return Ok(0);
    }
    let most = MAX_CHANGES as usize + MAX_STOPS;
    let changes = rows::grant_changes(&grant.name).load(broker.store(), None, most).await?;
    let found = changes.iter().position(|(_, row)| Digest::of(&row.change) == statement);
    let position = found.ok_or_else(|| {
        Fault::says(WHAT, "statement", "it is neither the terms nor a change of this grant")
    })?;
    Ok(position as u64 + 1)
}
