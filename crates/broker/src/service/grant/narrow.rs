//! `NarrowGrant`: less of the same, by the customer alone, in the place of what was approved. Its time is held against no
//! clock, as that of every change isn't: the new terms end no later than the old ones.

use countersign_grants::{
    envelope,
    id::{CustomerName, GrantName, PartnerName},
    statement::{MAX_NARROWINGS, Revision, Verb},
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::GrantRow,
    v1::{NarrowGrantRequest, NarrowGrantResponse, Receipt, approve_grant_request_request::ApprovedRow},
};

use super::{
    get, proof,
    signed_change::{self, SignedChange},
    signed_terms::{self, SignedTerms},
    stand::stand,
    supersede::Superseding,
    view,
};
use crate::{
    Broker, Caller, Fault,
    broker::damaged,
    caller::Party,
    rows,
    service::fields,
    stored::{self, Side, StoredGrant},
    work::{Work, settle},
};

pub(super) async fn narrow(
    broker: &Broker,
    caller: &Caller,
    request: NarrowGrantRequest,
) -> Result<NarrowGrantResponse, Fault> {
    let customer = caller.customer()?;
    let name = fields::name("name", &request.name, GrantName::parse)?;
    settle("grant", || attempt(broker, customer, &name, &request)).await
}

async fn attempt(
    broker: &Broker,
    customer: &CustomerName,
    name: &GrantName,
    request: &NarrowGrantRequest,
) -> Result<Option<NarrowGrantResponse>, Fault> {
    let party = Party::Customer(customer.clone());
    let (old, _) = get::load(broker, &party, name).await?;
    let envelopes = (request.source_change.as_ref(), request.recipient_change.as_ref());
    let signed = SignedChange::verify(broker, &old, envelopes).await?;
    let says = signed.says();
    let (Verb::Narrow, Some(successor)) = (says.verb, says.successor) else {
        return Err(Fault::says(signed_change::WHAT, "verb", "it is for another call: `ChangeGrant`"));
    };
    if request.source_terms.as_ref().map(envelope::digest) != Some(successor) {
        return Err(Fault::says(
            signed_change::WHAT,
            "successor",
            "it names other terms than those that came",
        ));
    }
    let successor = GrantName::of(successor);
    if !signed.is_next(broker, &old).await? {
        let ended = proof::of_grant(broker, &party, name, &signed_change::KINDS, says.sequence).await?;
        let began = proof::of_grant(broker, &party, &successor, &[Kind::GrantApproved], 1).await?;
        return respond(broker, &party, (name, &successor), (ended, began)).await.map(Some);
    }
    let (superseding, terms) = decide(broker, customer, old, (request, &signed)).await?;

    let work = unit(broker, &superseding, &terms, &signed).await?;
    let Some(entered) = broker.enter(work).await? else { return Ok(None) };
    let receipts: Vec<Receipt> = entered.iter().map(|entered| entered.for_party(&party)).collect();
    let [ended, began]: [Receipt; 2] =
        receipts.try_into().map_err(|_| Fault::Bug { what: "a narrowing has other than two records" })?;
    respond(broker, &party, (name, &successor), (ended, began)).await.map(Some)
}

/// The old grant's end and the new terms, if the state allows it, and these are less in every respect.
async fn decide(
    broker: &Broker,
    customer: &CustomerName,
    old: StoredGrant,
    (request, signed): (&NarrowGrantRequest, &SignedChange),
) -> Result<(Superseding, SignedTerms), Fault> {
    let now = broker.now();
    let state = old.state(now)?.narrow(now).map_err(|error| Fault::not_allowed(&old.name, error))?;
    if old.read.row.narrowings >= MAX_NARROWINGS {
        return Err(Fault::QuotaExceeded { quota: "narrowings of one grant", retry_after: None });
    }
    let terms = signed_terms::verify(broker, customer, &under_the_same_links(&old, request), None).await?;
    let wrong = |check, problem: String| Fault::says(signed_terms::WHAT, check, problem);
    let new = terms.terms.statement();
    let revision = new
        .revises_terms(&old.terms, old.name.digest())
        .map_err(|error| wrong(error.field, error.to_string()))?;
    if revision != Revision::Narrowed {
        return Err(wrong("request", "a narrowing stays under the request that was approved".to_owned()));
    }
    let left = old.terms.uses.saturating_sub(old.spent.uses);
    if new.uses > left {
        return Err(wrong("uses", format!("they grant {}, and {left} are left", new.uses)));
    }
    if !new.is_less_than(&old.terms, left) {
        return Err(wrong("narrower", "they narrow nothing".to_owned()));
    }
    let mut row = old.read.row.clone();
    state.write_to(&mut row);
    signed.write_to(&mut row);
    Ok((Superseding { old, row, revision }, terms))
}

fn under_the_same_links(old: &StoredGrant, request: &NarrowGrantRequest) -> ApprovedRow {
    ApprovedRow {
        source_link: old.read.row.source_link.clone(),
        recipient_link: old.read.row.recipient_link.clone(),
        source_terms: request.source_terms.clone(),
        recipient_terms: request.recipient_terms.clone(),
        source_salt: request.source_salt.clone(),
        recipient_salt: request.recipient_salt.clone(),
    }
}

async fn unit(
    broker: &Broker,
    superseding: &Superseding,
    terms: &SignedTerms,
    signed: &SignedChange,
) -> Result<Work, Fault> {
    let old = &superseding.old;
    let customer = old.customer()?;
    let account = broker.load(rows::customer(&customer)).await?.ok_or(Fault::GrantUnknown)?;
    let customer = broker.customer_key(&customer).await?;
    let mut work = Work::default();
    // As an approval does: whoever looks whether a grant stands meets the old one, the new one, or a conflict.
    work.update(&account, &account.row)?;
    // A use that is spent meanwhile writes no row: the count itself must still leave what the new terms grant.
    let granted = u64::from(terms.terms.statement().uses);
    work.expect_counted(stored::uses(&old.name), u64::from(old.terms.uses).saturating_sub(granted));
    signed.enter(&mut work, &old.name)?;
    superseding.enter(broker, &mut work, (&terms.name, signed.digest()), &customer)?;
    stand(broker, &mut work, terms, &new_row(broker, old, terms)?, (&customer, None))?;
    Ok(work)
}

/// The successor's row. Its windows of uses go on, and it counts how often what was approved was narrowed.
fn new_row(broker: &Broker, old: &StoredGrant, terms: &SignedTerms) -> Result<GrantRow, Fault> {
    let row = &old.read.row;
    let requester = PartnerName::parse(&row.requester).map_err(|error| damaged("grant", &error))?;
    let mut new = terms.grant_row(&row.request, &requester, broker.now().as_millis());
    new.narrowings = row.narrowings + 1;
    new.approved = if row.approved.is_empty() { old.name.digest().into() } else { row.approved.clone() };
    Ok(new)
}

async fn respond(
    broker: &Broker,
    party: &Party,
    (name, successor): (&GrantName, &GrantName),
    (ended, began): (Receipt, Receipt),
) -> Result<NarrowGrantResponse, Fault> {
    let (old, _) = get::load(broker, party, name).await?;
    let (new, _) = get::load(broker, party, successor).await?;
    Ok(NarrowGrantResponse {
        grant: Some(view::grant(broker, party, &new, Side::Customer).await?),
        superseded: Some(view::grant(broker, party, &old, Side::Customer).await?),
        superseded_receipt: Some(ended),
        receipt: Some(began),
    })
}
