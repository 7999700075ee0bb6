//! `GetGrantRequest`, `ListGrantRequests`: for a request's requester and its customer.

use countersign_grants::id::RequestName;
use countersign_proto::v1::{
    GetGrantRequestRequest, GrantRequest, ListGrantRequestsRequest, ListGrantRequestsResponse,
};

use super::{answer::load, open::open, view};
use crate::{
    Broker, Caller, Fault, asking,
    broker::damaged,
    caller::Party,
    rows,
    service::{fields, page},
};

pub(super) async fn get(
    broker: &Broker,
    caller: &Caller,
    request: GetGrantRequestRequest,
) -> Result<GrantRequest, Fault> {
    let party = caller.party()?;
    let name = fields::name("name", &request.name, RequestName::parse)?;
    if let Party::Customer(opener) = &party {
        open(broker, opener, &name).await?;
    }
    let (read, _) = load(broker, &party, &name).await?;
    view::request(broker, &party, &name, &read.row).await
}

pub(super) async fn list(
    broker: &Broker,
    caller: &Caller,
    request: ListGrantRequestsRequest,
) -> Result<ListGrantRequestsResponse, Fault> {
    let party = caller.party_itself(&request.parent)?;
    if let Party::Customer(customer) = &party {
        // Whoever asks what there is need not wait for the sweeper.
        asking::look(broker, customer).await?;
    }
    let range = rows::grant_requests_of(&party);
    let page = page::Page::parse(request.page_size, &request.page_token, page::MAX_SIZE, &[range.name()])?;
    let mut sheet = page.sheet(broker, &range).await?;
    while let Some(name) = sheet.next() {
        let name = RequestName::parse(&name).map_err(|error| damaged("request index", &error))?;
        match load(broker, &party, &name).await {
            Ok((read, _)) => sheet.add(view::request(broker, &party, &name, &read.row).await?),
            // It went with its customer's account since the page was read.
            Err(Fault::ResourceUnknown { .. }) => {}
            Err(fault) => return Err(fault),
        }
    }
    let (grant_requests, next_page_token) = sheet.finish();
    Ok(ListGrantRequestsResponse { grant_requests, next_page_token })
}
