//! `LinkService`: ties a partner's subject handle to a customer.

mod accept;
mod confirm;
mod get;
mod invite;
mod replace;

use std::sync::Arc;

use async_trait::async_trait;
use countersign_grants::{
    digest::Digest,
    id::{LinkName, PartnerName},
    lifecycle,
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{LinkRow, PrivatePart},
    v1::{
        AcceptLinkInvitationRequest, ConfirmLinkRequest, CreateLinkInvitationRequest, GetLinkRequest, Link,
        ListLinksRequest, ListLinksResponse, link_service_server::LinkService,
    },
};
use tonic::{Request, Response, Status};

use super::timestamp;
use crate::{
    Broker, Caller, Fault,
    broker::damaged,
    record::{CustomerKey, Happening},
    rows::{self, Loaded},
};

/// The service.
pub struct Links(pub Arc<Broker>);

#[async_trait]
impl LinkService for Links {
    async fn create_link_invitation(
        &self,
        request: Request<CreateLinkInvitationRequest>,
    ) -> Result<Response<Link>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(invite::invite(&self.0, &caller, request.into_inner()).await?))
    }

    async fn accept_link_invitation(
        &self,
        request: Request<AcceptLinkInvitationRequest>,
    ) -> Result<Response<Link>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(accept::accept(&self.0, &caller, request.into_inner()).await?))
    }

    async fn confirm_link(&self, request: Request<ConfirmLinkRequest>) -> Result<Response<Link>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(confirm::confirm(&self.0, &caller, request.into_inner()).await?))
    }

    async fn get_link(&self, request: Request<GetLinkRequest>) -> Result<Response<Link>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(get::get(&self.0, &caller, request.into_inner()).await?))
    }

    async fn list_links(
        &self,
        request: Request<ListLinksRequest>,
    ) -> Result<Response<ListLinksResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(get::list(&self.0, &caller, request.into_inner()).await?))
    }
}

async fn load(broker: &Broker, name: &LinkName) -> Result<Loaded<LinkRow>, Fault> {
    let read = broker.load(rows::link(name)).await?;
    read.ok_or_else(|| Fault::ResourceUnknown { name: name.to_string() })
}

fn partner(row: &LinkRow) -> Result<PartnerName, Fault> {
    PartnerName::parse(&row.partner).map_err(|error| damaged("link", &error))
}

/// The link as both its parties see it: the customer's name is in none of it.
fn view(broker: &Broker, name: &LinkName, row: &LinkRow) -> Result<Link, Fault> {
    let state = lifecycle::Link::from_row(row)?.at(broker.now()).state();
    Ok(Link {
        name: name.to_string(),
        partner: row.partner.clone(),
        subject: row.subject.clone(),
        state: state.into(),
        invitation: row.invitation.clone(),
        acceptance: row.acceptance.clone(),
        confirmation: row.confirmation.clone(),
        partner_keys: row.invitation_key.iter().chain(&row.confirmation_key).cloned().collect(),
        expire_time: timestamp(row.expire_time_ms),
    })
}

/// What a record says of a step of the ceremony.
fn happening<'a>(
    kind: Kind,
    name: &LinkName,
    (partner, subject): (&'a PartnerName, &str),
    customer: Option<&'a CustomerKey>,
    evidence: &'a [Digest],
) -> Happening<'a> {
    Happening {
        kind,
        source: Some(partner),
        customer,
        evidence,
        private: PrivatePart {
            link: name.to_string(),
            // Of an invitation that nobody has accepted yet nobody can be erased: its record stays readable, so the handle is
            // not in it.
            source_subject: customer.map(|_| subject.to_owned()).unwrap_or_default(),
            ..PrivatePart::default()
        },
        ..Happening::default()
    }
}
