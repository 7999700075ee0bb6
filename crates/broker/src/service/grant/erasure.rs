//! Orders to a grant's recipient to delete what it received: made by a stop that says so, met by `AttestErasure`, and
//! announced when they are late.

use bytes::Bytes;
use countersign_grants::{
    catalogue::PurposeCode,
    digest::Digest,
    envelope::Signed,
    id::{CustomerName, GrantName, PartnerName},
    lifecycle::Erasure,
    statement::{ErasureAttestation, WorkingKey},
};
use countersign_proto::{
    log::v1::{Kind, Record},
    row::v1::{ErasureRow, PrivatePart},
    v1::{AttestErasureRequest, AttestErasureResponse, ErasureOrder, Receipt, grant::ErasureState},
};

use super::proof;
use crate::{
    Broker, Caller, Fault,
    broker::damaged,
    caller::Party,
    record::{CustomerKey, Drafted, Happening, bare},
    rows::{self, Loaded},
    service::fields,
    stored::StoredGrant,
    work::{Work, settle},
};

const WHAT: &str = "erasure attestation";

/// Adds to the unit of a stop that its recipient is to delete what it received: once for a grant.
pub(super) fn order(
    broker: &Broker,
    work: &mut Work,
    (grant, customer): (&StoredGrant, &CustomerKey),
    change: Digest,
) -> Result<(), Fault> {
    let terms = &grant.terms;
    let erasure = Erasure::order(terms, broker.now());
    let mut row = ErasureRow {
        order: change.into(),
        source: terms.source.to_string(),
        recipient: terms.recipient.to_string(),
        purpose: terms.purpose.to_string(),
        catalogue_version: terms.catalogue_version.into(),
        log_tag: terms.log_tag.to_vec().into(),
        ..ErasureRow::default()
    };
    erasure.write_to(&mut row);
    let drafted = broker.draft(Happening {
        kind: Kind::ErasureOrdered,
        source: Some(&terms.source),
        recipient: Some(&terms.recipient),
        customer: Some(customer),
        purpose: Some(&terms.purpose),
        catalogue_version: Some(terms.catalogue_version),
        grant: Some((&grant.name, terms.log_tag)),
        evidence: &[change],
        private: PrivatePart { erase_due_time_ms: row.due_time_ms, ..grant.private_part() },
        ..Happening::default()
    });
    row.evidence_salt = drafted.salts.evidence.clone();
    work.create(&rows::erasure(&grant.name), &row)?;
    work.index(&rows::erasures_due().entry(row.due_time_ms, grant.name.digest()), grant.name.as_str())?;
    work.record(drafted);
    Ok(())
}

/// What a recipient attests to that had not heard of an order before its customer closed the account: the hash of the change,
/// and the proof of the record that commits to it. The tag alone leads there, since what else stood beside the record does
/// not open any more. Nothing of an order that is met.
pub(in crate::service) async fn left(
    broker: &Broker,
    index: u64,
    order: &Record,
) -> Result<Option<ErasureOrder>, Fault> {
    let tag: [u8; 32] =
        order.grant_tag.as_ref().try_into().map_err(|_| damaged("record", &"it has no tag"))?;
    let name =
        broker.load(rows::log_tag(&tag)).await?.ok_or_else(|| damaged("log tag", &"it is not there"))?;
    let name = GrantName::parse(&name.row).map_err(|error| damaged("log tag", &error))?;
    let read = broker.load(rows::erasure(&name)).await?;
    let row = read.ok_or_else(|| damaged("erasure", &"it is not there"))?.row;
    if row.attestation.is_some() {
        return Ok(None);
    }
    let mut receipt = bare(&broker.ledger().proof(index).await?);
    receipt.evidence_salt = row.evidence_salt;
    Ok(Some(ErasureOrder { change: row.order, receipt: Some(receipt) }))
}

pub(super) async fn attest(
    broker: &Broker,
    caller: &Caller,
    request: AttestErasureRequest,
) -> Result<AttestErasureResponse, Fault> {
    let partner = caller.partner()?;
    let name = fields::name("name", &request.name, GrantName::parse)?;
    // It is signed once, before it is sent, and may wait for longer than its key lasts. Whoever has a key that is over can't
    // bring one in: the call comes under a key of this partner's that is in time, and so the partner stands by it.
    let statement = request.statement.as_ref();
    let (signed, key) = broker
        .once_signed_by_partner::<ErasureAttestation>(partner, WHAT, statement, |says| says.time)
        .await?;
    if signed.statement().partner != *partner {
        return Err(Fault::says(WHAT, "partner", "only the partner that signed it enters an attestation"));
    }
    let receipt = settle("erasure", || attempt(broker, partner, &name, (&signed, &key))).await?;
    Ok(AttestErasureResponse { receipt: Some(receipt) })
}

async fn attempt(
    broker: &Broker,
    partner: &PartnerName,
    name: &GrantName,
    (signed, key): (&Signed<ErasureAttestation>, &WorkingKey),
) -> Result<Option<Receipt>, Fault> {
    let read = broker.load(rows::erasure(name)).await?.ok_or(Fault::GrantUnknown)?;
    // To everybody but the recipient there is none.
    if read.row.recipient != partner.as_str() {
        return Err(Fault::GrantUnknown);
    }
    let says = signed.statement();
    if says.terms != name.digest() {
        return Err(Fault::says(WHAT, "terms", "it is of another grant"));
    }
    if says.change.as_bytes()[..] != read.row.order[..] {
        return Err(Fault::says(WHAT, "change", "it answers another change than the one that ordered it"));
    }
    let party = Party::Partner(partner.clone());
    if read.row.attestation.as_ref().is_some_and(|stored| stored.payload == signed.envelope().payload) {
        return proof::of_grant(broker, &party, name, &[Kind::ErasureAttested], 1).await.map(Some);
    }
    let state = Erasure::from_row(&read.row)?.at(broker.now());
    let attested = state.attest().map_err(|error| Fault::not_allowed(name, error))?;
    let mut row = ErasureRow {
        attestation: Some(signed.envelope().clone()),
        attestation_key: Some(key.certificate().envelope().clone()),
        evidence_salt: Bytes::new(),
        ..read.row.clone()
    };
    attested.write_to(&mut row);
    let evidence = [signed.digest()];
    let work = unit(broker, name, (&read, &row), (Kind::ErasureAttested, &evidence)).await?;
    let Some(mut entered) = broker.enter(work).await? else { return Ok(None) };
    let entered = entered.pop().ok_or(Fault::Bug { what: "an attestation was entered without a record" })?;
    Ok(Some(entered.for_party(&party)))
}

/// Announces that a recipient is late. The state follows from the clock alone. Nothing to do for one that has attested
/// meanwhile; a conflict means the same.
pub(crate) async fn announce_overdue(broker: &Broker, name: &GrantName) -> Result<bool, Fault> {
    let read = broker.load(rows::erasure(name)).await?;
    let read = read.ok_or_else(|| damaged("due erasure", &"it is not there"))?;
    let state = Erasure::from_row(&read.row)?.at(broker.now());
    if state.state() != ErasureState::Overdue {
        return Ok(false);
    }
    let mut row = read.row.clone();
    state.write_to(&mut row);
    let work = unit(broker, name, (&read, &row), (Kind::ErasureOverdue, &[])).await?;
    Ok(broker.enter(work).await?.is_some())
}

/// The changed row with its record, out of the index of what is due.
async fn unit(
    broker: &Broker,
    name: &GrantName,
    (read, row): (&Loaded<ErasureRow>, &ErasureRow),
    (kind, evidence): (Kind, &[Digest]),
) -> Result<Work, Fault> {
    let mut work = Work::default();
    work.update(read, row)?;
    work.delete(&rows::erasures_due().entry(row.due_time_ms, name.digest()));
    let told = told(broker, &mut work, name).await?;
    work.record(draft(broker, name, row, (kind, evidence, told.as_ref()))?);
    Ok(work)
}

/// The customer, as long as the account is open; and the unit fails if it is closed meanwhile.
async fn told(broker: &Broker, work: &mut Work, name: &GrantName) -> Result<Option<CustomerName>, Fault> {
    let Some(grant) = broker.grant(name).await? else { return Ok(None) };
    match broker.customer_key(&grant.customer()?).await {
        Ok(customer) => {
            broker.expect_open(work, &customer).await?;
            Ok(Some(customer.name))
        }
        Err(Fault::GrantUnknown) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn draft(
    broker: &Broker,
    name: &GrantName,
    row: &ErasureRow,
    (kind, evidence, told): (Kind, &[Digest], Option<&CustomerName>),
) -> Result<Drafted, Fault> {
    let partner = |name: &str| PartnerName::parse(name).map_err(|error| damaged("erasure", &error));
    let (source, recipient) = (partner(&row.source)?, partner(&row.recipient)?);
    let purpose = PurposeCode::parse(&row.purpose).map_err(|error| damaged("erasure", &error))?;
    let tag: Option<[u8; 32]> = row.log_tag.as_ref().try_into().ok();
    let tag = tag.ok_or_else(|| damaged("erasure", &"its log tag is not 32 bytes"))?;
    let due = if kind == Kind::ErasureOverdue { row.due_time_ms } else { 0 };
    Ok(broker.draft(Happening {
        kind,
        source: Some(&source),
        recipient: Some(&recipient),
        told,
        purpose: Some(&purpose),
        catalogue_version: Digest::from_slice(&row.catalogue_version),
        grant: Some((name, tag)),
        evidence,
        private: PrivatePart { erase_due_time_ms: due, ..PrivatePart::default() },
        ..Happening::default()
    }))
}
