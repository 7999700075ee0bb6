//! `SuspendGrant`, `UnsuspendGrant`, `RevokeGrant`: what others than the customer do to a grant.
//!
//! A partner does it by a signed, numbered change of its own, which the other side's book verifies; an operator by a
//! call. The source's suspension and the operators' are two stops, and each ends its own.

use countersign_grants::{
    envelope::Signed,
    id::{GrantName, OperatorName, PartnerName, Principal, SubjectHandle},
    lifecycle::{self, NotAllowed, Suspender},
    statement::{ChangeReason, MAX_PARTNER_CHANGES, PartnerChange, PartnerVerb, WorkingKey, reason_code},
    time::Timestamp,
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{GrantRow, GrantStatementRow, PrivatePart},
    statement::v1::Envelope,
    v1::{ChangeGrantResponse, Receipt},
};

use super::{get, proof, view};
use crate::{
    Broker, Caller, Fault,
    broker::damaged,
    caller::Party,
    record::{Entered, Happening, bare},
    rows,
    service::fields,
    stored::{Side, StoredGrant},
    work::{Work, settle},
};

const WHAT: &str = "partner change";

/// The kinds of the record of a partner's change.
const KINDS: [Kind; 3] = [Kind::GrantSuspended, Kind::GrantUnsuspended, Kind::GrantRevoked];

/// What is asked of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Suspend,
    Unsuspend,
    Revoke,
}

/// The request: all three have the same form.
pub(super) struct Asked {
    pub(super) stop: Stop,
    pub(super) name: String,
    pub(super) statement: Option<Envelope>,
    /// An operator's; a partner's stands in its statement.
    pub(super) reason: i32,
}

/// Who acts, as the lifecycle and the record know it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Source,
    Recipient,
    Operator,
}

pub(super) async fn stop(
    broker: &Broker,
    caller: &Caller,
    asked: Asked,
) -> Result<ChangeGrantResponse, Fault> {
    let name = fields::name("name", &asked.name, GrantName::parse)?;
    match &caller.principal {
        Principal::Partner(partner) => {
            let (signed, key) = broker
                .signed_by_partner::<PartnerChange>(partner, WHAT, asked.statement.as_ref(), |says| says.time)
                .await?;
            if signed.statement().verb != asked.stop.verb() {
                return Err(Fault::says(WHAT, "verb", "it is for another call"));
            }
            settle("grant", || by_partner(broker, partner, &name, asked.stop, (&signed, &key))).await
        }
        Principal::Operator(operator) => {
            let reason = ChangeReason::try_from(asked.reason).unwrap_or_default();
            if asked.stop != Stop::Unsuspend && reason == ChangeReason::Unspecified {
                return Err(Fault::field("reason", "must be set to one that is known"));
            }
            settle("grant", || by_operator(broker, operator, &name, (asked.stop, reason))).await
        }
        Principal::Customer(_) | Principal::Auditor(_) | Principal::Broker(_) => {
            Err(Fault::CallerNotAllowed { needs: "the grant's source, its recipient or an operator" })
        }
    }
}

async fn by_partner(
    broker: &Broker,
    partner: &PartnerName,
    name: &GrantName,
    stop: Stop,
    (signed, key): (&Signed<PartnerChange>, &WorkingKey),
) -> Result<Option<ChangeGrantResponse>, Fault> {
    let party = Party::Partner(partner.clone());
    let (grant, side) = get::load(broker, &party, name).await?;
    let says = signed.statement();
    if says.partner != *partner {
        return Err(Fault::says(WHAT, "partner", "only the partner that signed it enters a change"));
    }
    says.may_change(&grant.terms, name.digest())
        .map_err(|error| Fault::says(WHAT, error.check(), error.to_string()))?;
    let place = rows::partner_change(name, partner, says.sequence);
    if let Some(stored) = broker.load(place.clone()).await?
        && stored.row.partner_change.as_ref().is_some_and(|one| one.payload == signed.envelope().payload)
    {
        // The source's changes are numbered as their records are; a recipient's only one ends the grant.
        let nth = match side {
            Side::Recipient => grant.read.row.source_sequence + says.sequence,
            Side::Source | Side::Customer => says.sequence,
        };
        let receipt = proof::of_grant(broker, &party, name, &KINDS, nth).await?;
        return respond(broker, &party, name, receipt).await.map(Some);
    }
    follows(&grant, side, says)?;

    let by = if side == Side::Source { By::Source } else { By::Recipient };
    let mut row = decide(broker, &grant, (stop, by, says.reason))?;
    let (sequence, hash) = match side {
        Side::Source | Side::Customer => (&mut row.source_sequence, &mut row.source_hash),
        Side::Recipient => (&mut row.recipient_sequence, &mut row.recipient_hash),
    };
    *sequence = says.sequence;
    *hash = signed.digest().into();
    let mut work = Work::default();
    let statement = GrantStatementRow {
        partner_change: Some(signed.envelope().clone()),
        partner_key: Some(key.certificate().envelope().clone()),
        ..GrantStatementRow::default()
    };
    work.create(&place, &statement)?;
    let evidence = [signed.digest()];
    let happening = Happening { evidence: &evidence, ..Happening::default() };
    let said = (stop.kind(by), says.reason, partner.as_str());
    match enter(broker, work, &grant, &row, (said, happening)).await? {
        Some(entered) => respond(broker, &party, name, entered.for_party(&party)).await.map(Some),
        None => Ok(None),
    }
}

async fn by_operator(
    broker: &Broker,
    operator: &OperatorName,
    name: &GrantName,
    (stop, reason): (Stop, ChangeReason),
) -> Result<Option<ChangeGrantResponse>, Fault> {
    let grant = broker.grant(name).await?.ok_or(Fault::GrantUnknown)?;
    let row = decide(broker, &grant, (stop, By::Operator, reason))?;
    let said = (stop.kind(By::Operator), reason, operator.as_str());
    match enter(broker, Work::default(), &grant, &row, (said, Happening::default())).await? {
        Some(entered) => {
            let grant = broker.grant(name).await?.ok_or(Fault::GrantUnknown)?;
            let grant = view::outline(&grant, broker.now())?;
            Ok(Some(ChangeGrantResponse { grant: Some(grant), receipt: Some(bare(&entered.receipt)) }))
        }
        None => Ok(None),
    }
}

/// The row as it stands afterwards, if the state allows it.
fn decide(
    broker: &Broker,
    grant: &StoredGrant,
    (stop, by, reason): (Stop, By, ChangeReason),
) -> Result<GrantRow, Fault> {
    let now = broker.now();
    let state =
        stop.apply(grant.state(now)?, by, now).map_err(|error| Fault::not_allowed(&grant.name, error))?;
    let mut row = grant.read.row.clone();
    state.write_to(&mut row);
    // Each suspender has a reason of its own, and takes that alone away.
    let why = match (stop, by) {
        (Stop::Revoke, _) => {
            row.operator_reason.clear();
            &mut row.reason
        }
        (Stop::Suspend | Stop::Unsuspend, By::Operator) => &mut row.operator_reason,
        (Stop::Suspend | Stop::Unsuspend, By::Source | By::Recipient) => &mut row.reason,
    };
    if stop == Stop::Unsuspend {
        why.clear();
    } else {
        reason_code(reason).clone_into(why);
    }
    Ok(row)
}

/// Commits the changed row with its record; nothing on a conflict.
async fn enter(
    broker: &Broker,
    mut work: Work,
    grant: &StoredGrant,
    row: &GrantRow,
    ((kind, reason, actor), happening): ((Kind, ChangeReason, &str), Happening<'_>),
) -> Result<Option<Entered>, Fault> {
    let terms = &grant.terms;
    work.update(&grant.read, row)?;
    if matches!(kind, Kind::GrantRevoked | Kind::GrantRevokedByOperator) {
        let from = SubjectHandle::parse(&row.source_subject).map_err(|error| damaged("grant", &error))?;
        work.delete(&rows::grants_from(&from).entry(row.create_time_ms, grant.name.digest()));
    }
    let customer = broker.customer_key(&grant.customer()?).await?;
    broker.expect_open(&mut work, &customer).await?;
    work.record(broker.draft(Happening {
        kind,
        source: Some(&terms.source),
        recipient: Some(&terms.recipient),
        customer: Some(&customer),
        purpose: Some(&terms.purpose),
        catalogue_version: Some(terms.catalogue_version),
        reason: if reason == ChangeReason::Unspecified { "" } else { reason_code(reason) },
        grant: Some((&grant.name, terms.log_tag)),
        private: PrivatePart { actor: actor.to_owned(), ..grant.private_part() },
        ..happening
    }));
    let Some(entered) = broker.enter(work).await? else { return Ok(None) };
    let first = entered.into_iter().next();
    first.map(Some).ok_or(Fault::Bug { what: "a stop was entered without a record" })
}

/// Whether it is this partner's next change.
fn follows(grant: &StoredGrant, side: Side, says: &PartnerChange) -> Result<(), Fault> {
    let row = &grant.read.row;
    let (newest, hash) = match side {
        Side::Source | Side::Customer => (row.source_sequence, &row.source_hash),
        Side::Recipient => (row.recipient_sequence, &row.recipient_hash),
    };
    let next = newest + 1;
    if says.sequence != next {
        let problem = format!("it is number {}, and {next} is next", says.sequence);
        return Err(Fault::says(WHAT, "sequence", problem));
    }
    let terms = grant.name.digest();
    let previous: &[u8] = if newest == 0 { terms.as_bytes() } else { hash };
    if previous != says.previous.as_bytes() {
        return Err(Fault::says(WHAT, "previous", "it does not build on its partner's newest, or the terms"));
    }
    if says.verb != PartnerVerb::Revoke && says.sequence > MAX_PARTNER_CHANGES {
        return Err(Fault::QuotaExceeded { quota: "changes of one grant", retry_after: None });
    }
    Ok(())
}

async fn respond(
    broker: &Broker,
    party: &Party,
    name: &GrantName,
    receipt: Receipt,
) -> Result<ChangeGrantResponse, Fault> {
    let (grant, side) = get::load(broker, party, name).await?;
    let grant = view::grant(broker, party, &grant, side).await?;
    Ok(ChangeGrantResponse { grant: Some(grant), receipt: Some(receipt) })
}

impl Stop {
    fn verb(self) -> PartnerVerb {
        match self {
            Self::Suspend => PartnerVerb::Suspend,
            Self::Unsuspend => PartnerVerb::Unsuspend,
            Self::Revoke => PartnerVerb::Revoke,
        }
    }

    fn kind(self, by: By) -> Kind {
        match (self, by) {
            (Self::Suspend, By::Operator) => Kind::GrantSuspendedByOperator,
            (Self::Unsuspend, By::Operator) => Kind::GrantUnsuspendedByOperator,
            (Self::Revoke, By::Operator) => Kind::GrantRevokedByOperator,
            (Self::Suspend, By::Source | By::Recipient) => Kind::GrantSuspended,
            (Self::Unsuspend, By::Source | By::Recipient) => Kind::GrantUnsuspended,
            (Self::Revoke, By::Source | By::Recipient) => Kind::GrantRevoked,
        }
    }

    fn apply(self, grant: lifecycle::Grant, by: By, at: Timestamp) -> Result<lifecycle::Grant, NotAllowed> {
        // That a recipient only revokes was checked where its statement was.
        let suspender = if by == By::Operator { Suspender::Operator } else { Suspender::Source };
        match self {
            Self::Suspend => grant.suspend(suspender, at),
            Self::Unsuspend => grant.unsuspend(suspender, at),
            Self::Revoke => grant.revoke(at),
        }
    }
}
