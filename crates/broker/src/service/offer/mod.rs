//! `OfferService`: publishes offers.

mod get;
mod publish;
mod withdraw;

use std::sync::Arc;

use async_trait::async_trait;
use countersign_grants::{
    envelope,
    id::{OfferName, PartnerName},
    lifecycle, statement,
};
use countersign_proto::{
    row::v1::OfferRow,
    v1::{
        GetOfferRequest, ListOffersRequest, ListOffersResponse, Offer, PublishOfferRequest,
        WithdrawOfferRequest, offer_service_server::OfferService,
    },
};
use tonic::{Request, Response, Status};

use super::timestamp;
use crate::{Broker, Caller, Fault, broker::damaged};

/// The service.
pub struct Offers(pub Arc<Broker>);

#[async_trait]
impl OfferService for Offers {
    async fn publish_offer(&self, request: Request<PublishOfferRequest>) -> Result<Response<Offer>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(publish::publish(&self.0, &caller, request.into_inner()).await?))
    }

    async fn get_offer(&self, request: Request<GetOfferRequest>) -> Result<Response<Offer>, Status> {
        Caller::of(&request)?;
        Ok(Response::new(get::get(&self.0, request.into_inner()).await?))
    }

    async fn list_offers(
        &self,
        request: Request<ListOffersRequest>,
    ) -> Result<Response<ListOffersResponse>, Status> {
        Caller::of(&request)?;
        Ok(Response::new(get::list(&self.0, request.into_inner()).await?))
    }

    async fn withdraw_offer(
        &self,
        request: Request<WithdrawOfferRequest>,
    ) -> Result<Response<Offer>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(withdraw::withdraw(&self.0, &caller, request.into_inner()).await?))
    }
}

fn read(row: &OfferRow) -> Result<statement::Offer, Fault> {
    envelope::peek(row.statement.as_ref()).map_err(|error| damaged("offer", &error))
}

fn view(name: &OfferName, row: &OfferRow) -> Result<Offer, Fault> {
    let offer = read(row)?;
    let name_of = |partner: &PartnerName| partner.to_string();
    Ok(Offer {
        name: name.to_string(),
        recipient: name_of(&offer.recipient),
        source: name_of(&offer.source),
        purpose: offer.purpose.to_string(),
        statement: row.statement.clone(),
        partner_key: row.partner_key.clone(),
        state: lifecycle::Offer::from_row(row).state().into(),
        publish_time: timestamp(row.publish_time_ms),
    })
}
