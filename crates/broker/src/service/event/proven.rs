//! `ListProvenEvents`: what the log says of a customer, with the proofs.

use countersign_ledger::MAX_STREAM_PAGE;
use countersign_proto::v1::{ListProvenEventsRequest, ListProvenEventsResponse, ProvenEvent};
use prost::Message as _;

use super::view;
use crate::{
    Broker, Caller, Fault,
    caller::Party,
    record::{Entered, Salts, stream},
    service::page::{MAX_PAGE_BYTES, Page},
};

/// The most on a page: each needs the tiles of its path, and has at most 64 KiB of record twice, path and checkpoint.
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
        let event = proven(broker, &party, item.index).await?;
        bytes += event.encoded_len();
        events.push(event);
    }
    let next_page_token = match items.last() {
        Some(last) if items.len() == MAX_STREAM_PAGE => page.token_of(&[last.index + 1]),
        _ => String::new(),
    };
    Ok(ListProvenEventsResponse { events, next_page_token })
}

async fn proven(broker: &Broker, party: &Party, index: u64) -> Result<ProvenEvent, Fault> {
    let (event, part) = view::opened(broker, party, index).await?;
    let entered = Entered { receipt: broker.ledger().proof(index).await?, salts: Salts::of(&part) };
    Ok(ProvenEvent { event: Some(event), receipt: Some(entered.for_party(party)), evidence: part.evidence })
}
