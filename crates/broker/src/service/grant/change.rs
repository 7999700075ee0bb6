//! `ChangeGrant`: the customer's signed pause, resumption or stop, and the order to delete that a stop can carry.
//!
//! Its time is not held against ours: number and predecessor say exactly where it belongs, and a stop must not fail
//! because a phone's clock is wrong.

use countersign_grants::{
    envelope::{self, Signed},
    id::{CustomerName, GrantName, LinkName, SubjectHandle},
    lifecycle,
    statement::{GrantChange, Statement, Verb},
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{GrantRow, GrantStatementRow},
    statement::v1::{Envelope, Signature},
    v1::{ChangeGrantRequest, ChangeGrantResponse},
};

use super::{erasure, get, proof, view};
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

pub(super) const WHAT: &str = "grant change";

/// The most changes of one grant; a stop is always taken. Sixteen pauses, each with its end, are far more than anybody
/// makes in the days that a grant stands, and a grant with all of them fits a page many times over.
pub(super) const MAX_CHANGES: u64 = 32;

/// How many stops a grant can have after that: one that ends it, and one that orders its recipient to delete, if the
/// first did not.
pub(super) const MAX_STOPS: usize = 2;

/// The kinds of a change's record. One that only orders to delete has none of these.
pub(super) const KINDS: [Kind; 4] =
    [Kind::GrantPaused, Kind::GrantResumed, Kind::GrantWithdrawn, Kind::GrantSuperseded];

/// A change under both of its signatures.
pub(super) struct SignedChange {
    pub(super) change: Signed<GrantChange>,
    source: Signature,
    recipient: Signature,
}

impl SignedChange {
    /// The row that it is kept in.
    pub(super) fn row(&self) -> GrantStatementRow {
        GrantStatementRow {
            change: self.change.envelope().payload.clone(),
            source_signature: Some(self.source.clone()),
            recipient_signature: Some(self.recipient.clone()),
            ..GrantStatementRow::default()
        }
    }
}

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
    let signed = signed_twice(broker, &grant, envelopes).await?;
    let says = signed.change.statement();
    if says.verb == Verb::Narrow {
        return Err(Fault::says(WHAT, "verb", "NARROW comes with its new terms, by `NarrowGrant`"));
    }
    if stands(broker, name, &signed).await? {
        let receipt = match proof::find(broker, name.as_str(), &KINDS, says.sequence).await? {
            Some(index) => broker.entered(index).await?.for_party(&party),
            None => proof::of_grant(broker, &party, name, &[Kind::ErasureOrdered], 1).await?,
        };
        return respond(broker, &party, name, receipt).await.map(Some);
    }
    follows(&grant, says)?;
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

/// A change of this grant that its customer signed with the keys of both links.
pub(super) async fn signed_twice(
    broker: &Broker,
    grant: &StoredGrant,
    (for_source, for_recipient): (Option<&Envelope>, Option<&Envelope>),
) -> Result<SignedChange, Fault> {
    let row = &grant.read.row;
    let (change, source) = one(broker, &row.source_link, for_source).await?;
    let (other, recipient) = one(broker, &row.recipient_link, for_recipient).await?;
    if change.digest() != other.digest() {
        return Err(Fault::says(WHAT, "recipient_change", "the two envelopes carry different changes"));
    }
    if change.statement().terms != grant.name.digest() {
        return Err(Fault::says(WHAT, "terms", "it changes another grant"));
    }
    Ok(SignedChange { change, source, recipient })
}

/// Verifies what the customer signed with the key of one of a grant's links.
pub(in crate::service) async fn by_link<S: Statement>(
    broker: &Broker,
    what: &'static str,
    link: &str,
    envelope: Option<&Envelope>,
) -> Result<Signed<S>, Fault> {
    let link = LinkName::parse(link).map_err(|error| damaged("grant", &error))?;
    let link = broker.confirmed_link(&link).await?;
    let link = link.ok_or_else(|| damaged("grant", &"a link of it is missing"))?;
    envelope::verify::<S>(envelope, &[&link.key], broker.origin())
        .map_err(|error| Fault::statement(what, &error))
}

async fn one(
    broker: &Broker,
    link: &str,
    envelope: Option<&Envelope>,
) -> Result<(Signed<GrantChange>, Signature), Fault> {
    let signed = by_link::<GrantChange>(broker, WHAT, link, envelope).await?;
    let id = signed.signer().as_str();
    let signature = signed.envelope().signatures.iter().find(|made| made.key_id == id).cloned();
    let signature = signature.ok_or(Fault::Bug { what: "a verified envelope lacks its signature" })?;
    Ok((signed, signature))
}

/// Whether this very change stands already.
pub(super) async fn stands(broker: &Broker, name: &GrantName, signed: &SignedChange) -> Result<bool, Fault> {
    let stored = broker.load(rows::grant_change(name, signed.change.statement().sequence)).await?;
    Ok(stored.is_some_and(|stored| stored.row.change == signed.change.envelope().payload))
}

/// Whether it is the next change of its grant.
pub(super) fn follows(grant: &StoredGrant, says: &GrantChange) -> Result<(), Fault> {
    let row = &grant.read.row;
    let next = row.change_sequence + 1;
    if says.sequence != next {
        let problem = format!("it is number {}, and {next} is next", says.sequence);
        return Err(Fault::says(WHAT, "sequence", problem));
    }
    if row.change_hash != *says.previous.as_bytes().as_slice() {
        return Err(Fault::says(WHAT, "previous", "it does not build on the newest change, or the terms"));
    }
    if says.verb != Verb::Stop && says.sequence > MAX_CHANGES {
        return Err(Fault::QuotaExceeded { quota: "changes of one grant", retry_after: None });
    }
    Ok(())
}

/// The row afterwards, and the kind of the record; none for a stop of a grant that has ended, which only orders its
/// recipient to delete.
fn decide(
    broker: &Broker,
    grant: &StoredGrant,
    signed: &SignedChange,
) -> Result<(GrantRow, Option<Kind>), Fault> {
    let (now, says) = (broker.now(), signed.change.statement());
    let state = grant.state(now)?;
    let mut row = grant.read.row.clone();
    // What was received under a grant that another one stands in the place of goes by an order under that one.
    let ended = matches!(state, lifecycle::Grant::Ended(end) if end != lifecycle::End::Superseded);
    let orders_alone = says.erase && !row.erasure_ordered && ended;
    let kind = if orders_alone {
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
    row.change_sequence = says.sequence;
    row.change_hash = signed.change.digest().into();
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
    let (terms, says) = (&grant.terms, signed.change.statement());
    let mut work = Work::default();
    work.update(&grant.read, row)?;
    work.create(&rows::grant_change(&grant.name, says.sequence), &signed.row())?;
    if says.verb == Verb::Stop {
        let from = SubjectHandle::parse(&row.source_subject).map_err(|error| damaged("grant", &error))?;
        work.delete(&rows::grants_from(&from).entry(row.create_time_ms, grant.name.digest()));
    }
    let evidence = [signed.change.digest()];
    if let Some(kind) = kind {
        work.record(broker.draft(Happening {
            kind,
            source: Some(&terms.source),
            recipient: Some(&terms.recipient),
            customer: Some(&broker.customer_key(&grant.customer()?).await?),
            purpose: Some(&terms.purpose),
            catalogue_version: Some(terms.catalogue_version),
            grant: Some((&grant.name, terms.log_tag)),
            evidence: &evidence,
            private: grant.private_part(),
            ..Happening::default()
        }));
    }
    if says.erase {
        erasure::order(broker, &mut work, grant, signed.change.digest()).await?;
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
