//! A record as one party sees it.

use countersign_grants::{envelope, id::GrantName, statement::Provision};
use countersign_proto::{
    log::v1::{Kind, Record},
    row::v1::PrivatePart,
    v1::Event,
};
use prost::Message as _;

use crate::{
    Broker, Fault,
    broker::damaged,
    caller::Party,
    record::Kept,
    rows,
    service::{grant::erasure, timestamp},
};

/// The event at this index, for a party whose stream has it.
///
/// A partner sees its own handle alone, and never the customer's name. Who is told of a grant without being a side of
/// it, as the requester of a request is, learns that it stands and no more than the leaf says.
pub(super) async fn event(broker: &Broker, party: &Party, index: u64) -> Result<Event, Fault> {
    Ok(opened(broker, party, index).await?.0)
}

/// The same, with what stands beside the record.
pub(super) async fn opened(
    broker: &Broker,
    party: &Party,
    index: u64,
) -> Result<(Event, PrivatePart), Fault> {
    let leaves = broker.ledger().leaves(index..index + 1).await?;
    let leaf = leaves.into_iter().next().ok_or_else(|| damaged("stream", &"a record of it is missing"))?;
    let record = Record::decode(leaf.clone()).map_err(|error| damaged("record", &error))?;
    // Without a private part the record stands, and says what it says.
    let (part, erased) = match broker.kept(index, &leaf).await? {
        Kept::Opened(part) => (*part, false),
        Kept::Erased { .. } => (PrivatePart::default(), true),
        Kept::Missing => {
            tracing::error!(index, "a private part doesn't open, and no record says why");
            (PrivatePart::default(), false)
        }
    };

    let mut event = Event {
        index,
        kind: record.kind,
        event_time: timestamp(record.time_ms),
        source: record.source.clone(),
        recipient: record.recipient.clone(),
        purpose: record.purpose.clone(),
        reason: record.reason.clone(),
        use_number: record.use_number,
        record: leaf,
        erased,
        ..Event::default()
    };
    let inside = match party {
        Party::Customer(_) => true,
        Party::Partner(name) => name.as_str() == record.source || name.as_str() == record.recipient,
    };
    if knows_request(broker, party, &record, &part).await? {
        event.grant_request.clone_from(&part.grant_request);
    }
    if let (Party::Customer(_), Kind::Transfer) = (party, record.kind()) {
        show_comparison(broker, &mut event, &part).await?;
    }
    if record.kind() == Kind::LocationTapped && is_recipient(party, &record) {
        event.statement = part.envelopes.first().cloned();
    }
    if erased && record.kind() == Kind::ErasureOrdered && is_recipient(party, &record) {
        event.erasure_order = erasure::left(broker, index, &record).await?;
    }
    if inside {
        event.subject = handle(party, &record, &part);
        event.grant.clone_from(&part.grant);
        event.link.clone_from(&part.link);
        event.fields.clone_from(&part.fields);
        event.resource.clone_from(&part.resource);
        event.successor.clone_from(&part.successor);
        if part.erase_due_time_ms > 0 {
            event.erase_due_time = timestamp(part.erase_due_time_ms);
        }
    }
    Ok((event, part))
}

/// A tap is kept as it was signed for the recipient; the source is handed its own with the fetch. And an order to delete is
/// its alone.
fn is_recipient(party: &Party, record: &Record) -> bool {
    matches!(party, Party::Partner(name) if name.as_str() == record.recipient)
}

/// The source's word by which the customer can compare what left with what was previewed, where there is one.
async fn show_comparison(broker: &Broker, event: &mut Event, part: &PrivatePart) -> Result<(), Fault> {
    // Beside a transfer stand its fetch and its provision.
    let Some(envelope) = part.envelopes.last() else { return Ok(()) };
    let provision =
        envelope::peek::<Provision>(Some(envelope)).map_err(|error| damaged("private part", &error))?;
    if provision.comparison.is_none() {
        return Ok(());
    }
    let key = broker.key_that_signed::<Provision>(&provision.source, envelope, |said| said.time).await?;
    event.statement = Some(envelope.clone());
    event.statement_key = Some(key.certificate().envelope().clone());
    event.evidence_salt = part.evidence_salt.clone();
    Ok(())
}

/// The party's own handle for the customer.
fn handle(party: &Party, record: &Record, part: &PrivatePart) -> String {
    match party {
        Party::Partner(name) if name.as_str() == record.source => part.source_subject.clone(),
        Party::Partner(name) if name.as_str() == record.recipient => part.recipient_subject.clone(),
        Party::Partner(_) | Party::Customer(_) => String::new(),
    }
}

/// A request is its customer's and its requester's; to a source or recipient of one of its rows it is nobody's.
async fn knows_request(
    broker: &Broker,
    party: &Party,
    record: &Record,
    part: &PrivatePart,
) -> Result<bool, Fault> {
    let Party::Partner(name) = party else { return Ok(true) };
    if part.grant.is_empty() {
        return Ok(name.as_str() == record.source);
    }
    if part.grant_request.is_empty() {
        return Ok(false);
    }
    let grant = GrantName::parse(&part.grant).map_err(|error| damaged("private part", &error))?;
    let grant = broker.load(rows::grant(&grant)).await?;
    Ok(grant.is_some_and(|grant| grant.row.requester == name.as_str()))
}
