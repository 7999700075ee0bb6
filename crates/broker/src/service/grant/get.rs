//! `GetGrant`, `ListGrants`: for a grant's source, recipient and customer.

use countersign_grants::id::GrantName;
use countersign_proto::v1::{GetGrantRequest, Grant, ListGrantsRequest, ListGrantsResponse};

use super::view;
use crate::{
    Broker, Caller, Fault,
    broker::damaged,
    caller::Party,
    rows,
    service::{fields, page},
    stored::{Side, StoredGrant},
};

pub(super) async fn get(broker: &Broker, caller: &Caller, request: GetGrantRequest) -> Result<Grant, Fault> {
    let party = caller.party()?;
    let name = fields::name("name", &request.name, GrantName::parse)?;
    let (grant, side) = load(broker, &party, &name).await?;
    view::grant(broker, &party, &grant, side).await
}

pub(super) async fn list(
    broker: &Broker,
    caller: &Caller,
    request: ListGrantsRequest,
) -> Result<ListGrantsResponse, Fault> {
    let party = caller.party_itself(&request.parent)?;
    let range = rows::grants_of(&party);
    let page = page::Page::parse(request.page_size, &request.page_token, page::MAX_SIZE, &[range.name()])?;
    let mut sheet = page.sheet(broker, &range).await?;
    while let Some(name) = sheet.next() {
        let name = GrantName::parse(&name).map_err(|error| damaged("grant index", &error))?;
        let (grant, side) = load(broker, &party, &name).await?;
        sheet.add(view::grant(broker, &party, &grant, side).await?);
    }
    let (grants, next_page_token) = sheet.finish();
    Ok(ListGrantsResponse { grants, next_page_token })
}

/// A grant to which this party is a side; to everybody else it does not exist.
pub(in crate::service) async fn load(
    broker: &Broker,
    party: &Party,
    name: &GrantName,
) -> Result<(StoredGrant, Side), Fault> {
    let grant = broker.grant(name).await?.ok_or(Fault::GrantUnknown)?;
    let side = grant.side(party).ok_or(Fault::GrantUnknown)?;
    Ok((grant, side))
}
