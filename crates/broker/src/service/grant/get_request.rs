//! `GetGrantRequest`, `ListGrantRequests`: for a request's requester and its customer.

use countersign_grants::id::RequestName;
use countersign_proto::v1::{
    GetGrantRequestRequest, GrantRequest, ListGrantRequestsRequest, ListGrantRequestsResponse,
    list_grant_requests_request::View,
};
use prost::Message;

use super::{answer::load, open::open, view};
use crate::{
    Broker, Caller, Fault, asking,
    broker::damaged,
    caller::Party,
    rows::{self, RowRange},
    service::{
        fields,
        page::{MAX_SIZE, Page},
    },
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
    let view = View::try_from(request.view).map_err(|_| Fault::field("view", "is none"))?;
    let customer = match &party {
        Party::Customer(customer) => Some(customer),
        Party::Partner(_) => None,
    };
    match (view, customer) {
        (View::Unspecified, _) => {
            if let Some(customer) = customer {
                // Whoever asks what there is need not wait for the sweeper. To list what waits shows nothing.
                asking::look(broker, customer).await?;
            }
            let range = rows::grant_requests_of(&party);
            page(broker, &party, &request, &range, |name| name).await
        }
        (View::Waiting, Some(customer)) => {
            let range = rows::all_waiting(customer);
            page(broker, &party, &request, &range, |waiting| waiting.request).await
        }
        (View::NeverShown, Some(customer)) => {
            let range = rows::unseen_requests_of(customer);
            page(broker, &party, &request, &range, |name| name).await
        }
        // Whether one of its requests waits is not for its requester to know.
        (View::Waiting | View::NeverShown, None) => Err(Fault::field("view", "is for customers")),
    }
}

async fn page<R: Message + Default>(
    broker: &Broker,
    party: &Party,
    request: &ListGrantRequestsRequest,
    range: &RowRange<R>,
    name: impl Fn(R) -> String,
) -> Result<ListGrantRequestsResponse, Fault> {
    let page = Page::parse(request.page_size, &request.page_token, MAX_SIZE, &[range.name()])?;
    let mut sheet = page.sheet(broker, range).await?;
    while let Some(row) = sheet.next() {
        let name = RequestName::parse(&name(row)).map_err(|error| damaged("request index", &error))?;
        match load(broker, party, &name).await {
            Ok((read, _)) => sheet.add(view::request(broker, party, &name, &read.row).await?),
            // It went with its customer's account since the page was read.
            Err(Fault::ResourceUnknown { .. }) => {}
            Err(fault) => return Err(fault),
        }
    }
    let (grant_requests, next_page_token) = sheet.finish();
    Ok(ListGrantRequestsResponse { grant_requests, next_page_token })
}
