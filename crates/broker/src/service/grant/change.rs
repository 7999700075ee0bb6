//! `ChangeGrant`: the customer's signed pause, resumption or stop, and the order to delete that a stop can carry.

use countersign_grants::{
    id::{CustomerName, GrantName, SubjectHandle},
    lifecycle,
    statement::Verb,
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::GrantRow,
    v1::{ChangeGrantRequest, ChangeGrantResponse},
};

use super::{
    erasure, get, proof,
    signed_change::{KINDS, SignedChange, WHAT},
    view,
};
use crate::{
    Broker, Caller, Fault,
    broker::damaged,
    caller::Party,
    record::Happening,
    rows,
    service::fields,
    stored::{Side, StoredGrant},
    work::{Work, settle},
};

pub(super) async fn change(
    broker: &Broker,
    caller: &Caller,
    request: ChangeGrantRequest,
) -> Result<ChangeGrantResponse, Fault> {
    let customer = caller.customer()?;
    let name = fields::name("name", &request.name, GrantName::parse)?;
    settle("grant", || attempt(broker, customer, &name, &request)).await
}

async fn attempt(
    broker: &Broker,
    customer: &CustomerName,
    name: &GrantName,
    request: &ChangeGrantRequest,
) -> Result<Option<ChangeGrantResponse>, Fault> {
    let party = Party::Customer(customer.clone());
    let (grant, _) = get::load(broker, &party, name).await?;
    let envelopes = (request.source_change.as_ref(), request.recipient_change.as_ref());
    let signed = SignedChange::verify(broker, &grant, envelopes).await?;
    let says = signed.says();
    if says.verb == Verb::Narrow {
        return Err(Fault::says(WHAT, "verb", "NARROW comes with its new terms, by `NarrowGrant`"));
    }
    if !signed.is_next(broker, &grant).await? {
        let receipt = match proof::find(broker, name.as_str(), &KINDS, says.sequence).await? {
            Some(index) => broker.entered(index).await?.for_party(&party),
            None => proof::of_grant(broker, &party, name, &[Kind::ErasureOrdered], 1).await?,
        };
        return respond(broker, &party, name, receipt).await.map(Some);
    }
    let (row, kind) = decide(broker, &grant, &signed)?;

    let work = unit(broker, &grant, &row, kind, &signed).await?;
    match broker.enter(work).await? {
        Some(entered) => {
            let entered =
                entered.first().ok_or(Fault::Bug { what: "a change was entered without a record" })?;
            respond(broker, &party, name, entered.for_party(&party)).await.map(Some)
        }
        None => Ok(None),
    }
}

/// The row afterwards, and the kind of the record; none for a stop of a grant that has ended, which only orders its
/// recipient to delete.
fn decide(
    broker: &Broker,
    grant: &StoredGrant,
    signed: &SignedChange,
) -> Result<(GrantRow, Option<Kind>), Fault> {
    let (now, says) = (broker.now(), signed.says());
    let state = grant.state(now)?;
    let mut row = grant.read.row.clone();
    // What was received under a grant that another one stands in the place of goes by an order under that one.
    let ended = matches!(state, lifecycle::Grant::Ended(end) if end != lifecycle::End::Superseded);
    let orders_alone = says.erase && !row.erasure_ordered && ended;
    let kind = if orders_alone {
        // What its time or its last use made of it: by no clock that goes back it stands again.
        state.write_to(&mut row);
        None
    } else {
        let (state, kind) = match says.verb {
            Verb::Pause => (state.pause(now), Kind::GrantPaused),
            Verb::Resume => (state.resume(now), Kind::GrantResumed),
            Verb::Stop => (state.withdraw(now), Kind::GrantWithdrawn),
            Verb::Narrow | Verb::Unspecified => {
                return Err(Fault::Bug { what: "a change without a verb of its own comes this far" });
            }
        };
        let state = state.map_err(|error| Fault::not_allowed(&grant.name, error))?;
        state.write_to(&mut row);
        Some(kind)
    };
    signed.write_to(&mut row);
    row.erasure_ordered |= says.erase;
    Ok((row, kind))
}

async fn unit(
    broker: &Broker,
    grant: &StoredGrant,
    row: &GrantRow,
    kind: Option<Kind>,
    signed: &SignedChange,
) -> Result<Work, Fault> {
    let (terms, says) = (&grant.terms, signed.says());
    let mut work = Work::default();
    work.update(&grant.read, row)?;
    signed.enter(&mut work, &grant.name)?;
    if says.verb == Verb::Stop {
        let from = SubjectHandle::parse(&row.source_subject).map_err(|error| damaged("grant", &error))?;
        work.delete(&rows::grants_from(&from).entry(row.create_time_ms, grant.name.digest()));
    }
    // A grant that has ended keeps no account open.
    let customer = broker.customer_key(&grant.customer()?).await?;
    broker.expect_open(&mut work, &customer).await?;
    let evidence = [signed.digest()];
    if let Some(kind) = kind {
        work.record(broker.draft(Happening {
            kind,
            source: Some(&terms.source),
            recipient: Some(&terms.recipient),
            customer: Some(&customer),
            purpose: Some(&terms.purpose),
            catalogue_version: Some(terms.catalogue_version),
            grant: Some((&grant.name, terms.log_tag)),
            evidence: &evidence,
            private: grant.private_part(),
            ..Happening::default()
        }));
    }
    if says.erase {
        erasure::order(broker, &mut work, (grant, &customer), signed.digest())?;
    }
    Ok(work)
}

async fn respond(
    broker: &Broker,
    party: &Party,
    name: &GrantName,
    receipt: countersign_proto::v1::Receipt,
) -> Result<ChangeGrantResponse, Fault> {
    let (grant, _) = get::load(broker, party, name).await?;
    let grant = view::grant(broker, party, &grant, Side::Customer).await?;
    Ok(ChangeGrantResponse { grant: Some(grant), receipt: Some(receipt) })
}
