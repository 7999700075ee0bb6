//! `ListProvenEvents`: what the log says of a customer, with the proofs.

use countersign_grants::{
    id::PartnerName,
    statement::{Fetch, PreviewProvision, Provision, Statement},
    time::Timestamp,
};
use countersign_ledger::MAX_STREAM_PAGE;
use countersign_proto::{
    row::v1::PrivatePart,
    statement::v1::Envelope,
    v1::{Event, KeptStatement, ListProvenEventsRequest, ListProvenEventsResponse, ProvenEvent},
};
use prost::Message as _;

use super::view;
use crate::{
    Broker, Caller, Fault,
    broker::damaged,
    caller::Party,
    record::{Entered, Salts, stream},
    service::page::{MAX_PAGE_BYTES, Page},
};

/// The most on a page: each needs the tiles of its path, and has at most 64 KiB of record twice, path and checkpoint, and two
/// statements of at most 17 KiB with their keys.
const MAX_SIZE: usize = 100;

pub(super) async fn list(
    broker: &Broker,
    caller: &Caller,
    request: ListProvenEventsRequest,
) -> Result<ListProvenEventsResponse, Fault> {
    caller.customer()?;
    let party = caller.party_itself(&request.parent)?;
    let arguments = [b"proven-events".as_slice(), request.parent.as_bytes(), &request.cursor.to_be_bytes()];
    let page = Page::parse(request.page_size, &request.page_token, MAX_SIZE, &arguments)?;
    let from = page.numbers()?.map_or(request.cursor, |[from]| from);

    let items = broker.ledger().stream(&stream(party.as_str()), from, MAX_STREAM_PAGE).await?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    for item in &items {
        if events.len() == page.size || bytes >= MAX_PAGE_BYTES {
            return Ok(ListProvenEventsResponse { events, next_page_token: page.token_of(&[item.index]) });
        }
        let event = proven(broker, &party, item.index, request.with_statements).await?;
        bytes += event.encoded_len();
        events.push(event);
    }
    let next_page_token = match items.last() {
        Some(last) if items.len() == MAX_STREAM_PAGE => page.token_of(&[last.index + 1]),
        _ => String::new(),
    };
    Ok(ListProvenEventsResponse { events, next_page_token })
}

async fn proven(
    broker: &Broker,
    party: &Party,
    index: u64,
    with_statements: bool,
) -> Result<ProvenEvent, Fault> {
    let (event, part) = view::opened(broker, party, index).await?;
    let entered = Entered { receipt: broker.ledger().proof(index).await?, salts: Salts::of(&part) };
    let statements = if with_statements { kept(broker, &event, &part).await? } else { Vec::new() };
    let receipt = Some(entered.for_party(party));
    Ok(ProvenEvent { event: Some(event), receipt, evidence: part.evidence, statements })
}

/// What was signed and stands beside this record alone, each with the key of the partner that signed it. All of it is about
/// the customer whose record it is, and names a partner by its name and her by nothing.
async fn kept(broker: &Broker, event: &Event, part: &PrivatePart) -> Result<Vec<KeptStatement>, Fault> {
    let mut all = Vec::with_capacity(part.envelopes.len());
    for statement in &part.envelopes {
        let kind = statement.payload_type.as_str();
        let partner_key = if kind == Fetch::PAYLOAD_TYPE {
            Some(key_of::<Fetch>(broker, &event.recipient, statement, |fetch| fetch.time).await?)
        } else if kind == Provision::PAYLOAD_TYPE {
            Some(key_of::<Provision>(broker, &event.source, statement, |provision| provision.time).await?)
        } else if kind == PreviewProvision::PAYLOAD_TYPE {
            let at = |provision: &PreviewProvision| provision.time;
            Some(key_of::<PreviewProvision>(broker, &event.source, statement, at).await?)
        } else {
            // The customer's own, under the key of a link.
            None
        };
        all.push(KeptStatement { statement: Some(statement.clone()), partner_key });
    }
    Ok(all)
}

/// The certificate of a key under which a partner's statement verifies.
async fn key_of<S: Statement>(
    broker: &Broker,
    partner: &str,
    statement: &Envelope,
    at: impl Fn(&S) -> Timestamp + Send + Sync,
) -> Result<Envelope, Fault> {
    let partner = PartnerName::parse(partner).map_err(|error| damaged("record", &error))?;
    let key = broker.key_that_signed(&partner, statement, at).await?;
    Ok(key.certificate().envelope().clone())
}
