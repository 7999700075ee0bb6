//! `ListEvents`.

use countersign_ledger::MAX_STREAM_PAGE;
use countersign_proto::v1::{ListEventsRequest, ListEventsResponse};
use prost::Message as _;

use super::{Wanted, view};
use crate::{
    Broker, Caller, Fault,
    record::stream,
    service::page::{MAX_PAGE_BYTES, MAX_SIZE, Page},
};

/// How many records of a stream one call looks at: as many as the ledger gives at a time. Where few are of the kinds that are wanted, a page is short, or empty,
/// and its token goes on.
const MAX_LOOKED_AT: usize = MAX_STREAM_PAGE;

pub(super) async fn list(
    broker: &Broker,
    caller: &Caller,
    request: ListEventsRequest,
) -> Result<ListEventsResponse, Fault> {
    let party = caller.party_itself(&request.parent)?;
    let wanted = Wanted::parse(&request.kinds)?;
    let kinds: Vec<u8> = wanted.0.iter().flat_map(|kind| kind.to_be_bytes()).collect();
    let arguments = [b"events".as_slice(), request.parent.as_bytes(), &request.cursor.to_be_bytes(), &kinds];
    let page = Page::parse(request.page_size, &request.page_token, MAX_SIZE, &arguments)?;
    let from = page.numbers()?.map_or(request.cursor, |[from]| from);

    let items = broker.ledger().stream(&stream(party.as_str()), from, MAX_LOOKED_AT).await?;
    let all_looked_at = items.len() < MAX_LOOKED_AT;
    let (mut events, mut bytes, last) = (Vec::new(), 0, items.last().map(|item| item.index));
    for item in items.iter().filter(|item| wanted.wants(item.kind)) {
        if events.len() == page.size || bytes >= MAX_PAGE_BYTES {
            return Ok(ListEventsResponse { events, next_page_token: page.token_of(&[item.index]) });
        }
        let event = view::event(broker, &party, item.index).await?;
        bytes += event.encoded_len();
        events.push(event);
    }
    let next_page_token = match last {
        Some(last) if !all_looked_at => page.token_of(&[last + 1]),
        _ => String::new(),
    };
    Ok(ListEventsResponse { events, next_page_token })
}
