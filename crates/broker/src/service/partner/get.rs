//! `GetPartner`, `ListPartners`.

use countersign_grants::id::PartnerName;
use countersign_proto::v1::{GetPartnerRequest, ListPartnersRequest, ListPartnersResponse, Partner};

use super::view;
use crate::{
    Broker, Caller, Fault, rows,
    service::{fields, page},
};

pub(super) async fn get(
    broker: &Broker,
    caller: &Caller,
    request: GetPartnerRequest,
) -> Result<Partner, Fault> {
    let name = fields::name("name", &request.name, PartnerName::parse)?;
    Ok(view(&broker.partner(&name).await?.row, caller))
}

pub(super) async fn list(
    broker: &Broker,
    caller: &Caller,
    request: ListPartnersRequest,
) -> Result<ListPartnersResponse, Fault> {
    let range = rows::partners();
    let page = page::Page::parse(request.page_size, &request.page_token, page::MAX_SIZE, &[range.name()])?;
    let mut sheet = page.sheet(broker, &range).await?;
    while let Some(row) = sheet.next() {
        sheet.add(view(&row, caller));
    }
    let (partners, next_page_token) = sheet.finish();
    Ok(ListPartnersResponse { partners, next_page_token })
}
