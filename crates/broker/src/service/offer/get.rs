//! `GetOffer`, `ListOffers`. An offer is made to be read: every principal may.

use countersign_grants::id::{OfferName, PartnerName};
use countersign_proto::v1::{GetOfferRequest, ListOffersRequest, ListOffersResponse, Offer};

use super::view;
use crate::{
    Broker, Fault,
    broker::damaged,
    rows,
    service::{fields, page},
};

pub(super) async fn get(broker: &Broker, request: GetOfferRequest) -> Result<Offer, Fault> {
    let name = fields::name("name", &request.name, OfferName::parse)?;
    let read = broker.load(rows::offer(&name)).await?;
    view(&name, &read.ok_or_else(|| Fault::ResourceUnknown { name: name.to_string() })?.row)
}

pub(super) async fn list(broker: &Broker, request: ListOffersRequest) -> Result<ListOffersResponse, Fault> {
    let parent = fields::name("parent", &request.parent, PartnerName::parse)?;
    let range = rows::offers_of(&parent);
    let page = page::Page::parse(request.page_size, &request.page_token, page::MAX_SIZE, &[range.name()])?;
    let mut sheet = page.sheet(broker, &range).await?;
    while let Some(name) = sheet.next() {
        let name = OfferName::parse(&name).map_err(|error| damaged("offer index", &error))?;
        let read = broker.load(rows::offer(&name)).await?;
        sheet.add(view(&name, &read.ok_or_else(|| damaged("offer index", &"its offer is missing"))?.row)?);
    }
    let (offers, next_page_token) = sheet.finish();
    Ok(ListOffersResponse { offers, next_page_token })
}
