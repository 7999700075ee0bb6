//! `GetLink`, `ListLinks`: for the link's partner and its customer.

use countersign_grants::id::LinkName;
use countersign_proto::v1::{GetLinkRequest, Link, ListLinksRequest, ListLinksResponse};

use super::{load, view};
use crate::{
    Broker, Caller, Fault,
    broker::damaged,
    rows,
    service::{fields, page},
};

pub(super) async fn get(broker: &Broker, caller: &Caller, request: GetLinkRequest) -> Result<Link, Fault> {
    let party = caller.party()?;
    let name = fields::name("name", &request.name, LinkName::parse)?;
    let row = load(broker, &name).await?.row;
    if row.partner != party.as_str() && row.customer != party.as_str() {
        return Err(Fault::ResourceUnknown { name: name.to_string() });
    }
    view(broker, &name, &row)
}

pub(super) async fn list(
    broker: &Broker,
    caller: &Caller,
    request: ListLinksRequest,
) -> Result<ListLinksResponse, Fault> {
    let range = rows::links_of(&caller.party_itself(&request.parent)?);
    let page = page::Page::parse(request.page_size, &request.page_token, page::MAX_SIZE, &[range.name()])?;
    let mut sheet = page.sheet(broker, &range).await?;
    while let Some(name) = sheet.next() {
        let name = LinkName::parse(&name).map_err(|error| damaged("link index", &error))?;
        sheet.add(view(broker, &name, &load(broker, &name).await?.row)?);
    }
    let (links, next_page_token) = sheet.finish();
    Ok(ListLinksResponse { links, next_page_token })
}
