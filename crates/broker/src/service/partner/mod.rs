//! `PartnerService`: enters partners and publishes their keys.

mod contact;
mod create;
mod endpoint;
mod get;
mod keys;
mod suspend;
mod vet;

use std::sync::Arc;

use async_trait::async_trait;
use countersign_grants::{
    id::{PartnerName, Principal},
    lifecycle,
};
use countersign_proto::{
    row::v1::PartnerRow,
    v1::{
        ApprovePartnerRequest, CreatePartnerRequest, GetPartnerRequest, ListPartnerKeysRequest,
        ListPartnerKeysResponse, ListPartnersRequest, ListPartnersResponse, Partner, PartnerKey,
        PublishPartnerKeyRequest, ResumePartnerRequest, SetPartnerContactRequest, SetSourceEndpointRequest,
        SuspendPartnerRequest, VetPartnerRequest, partner_service_server::PartnerService,
    },
};
use tonic::{Request, Response, Status};

use super::timestamp;
use crate::{Broker, Caller};

/// The service.
pub struct Partners(pub Arc<Broker>);

#[async_trait]
impl PartnerService for Partners {
    async fn create_partner(
        &self,
        request: Request<CreatePartnerRequest>,
    ) -> Result<Response<Partner>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(create::create(&self.0, &caller, request.into_inner()).await?))
    }

    async fn get_partner(&self, request: Request<GetPartnerRequest>) -> Result<Response<Partner>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(get::get(&self.0, &caller, request.into_inner()).await?))
    }

    async fn list_partners(
        &self,
        request: Request<ListPartnersRequest>,
    ) -> Result<Response<ListPartnersResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(get::list(&self.0, &caller, request.into_inner()).await?))
    }

    async fn publish_partner_key(
        &self,
        request: Request<PublishPartnerKeyRequest>,
    ) -> Result<Response<PartnerKey>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(keys::publish(&self.0, &caller, request.into_inner()).await?))
    }

    async fn list_partner_keys(
        &self,
        request: Request<ListPartnerKeysRequest>,
    ) -> Result<Response<ListPartnerKeysResponse>, Status> {
        Caller::of(&request)?;
        Ok(Response::new(keys::list(&self.0, request.into_inner()).await?))
    }

    async fn vet_partner(&self, request: Request<VetPartnerRequest>) -> Result<Response<Partner>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(vet::vet(&self.0, &caller, request.into_inner()).await?))
    }

    async fn approve_partner(
        &self,
        request: Request<ApprovePartnerRequest>,
    ) -> Result<Response<Partner>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(vet::approve(&self.0, &caller, request.into_inner()).await?))
    }

    async fn set_partner_contact(
        &self,
        request: Request<SetPartnerContactRequest>,
    ) -> Result<Response<Partner>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(contact::set(&self.0, &caller, request.into_inner()).await?))
    }

    async fn set_source_endpoint(
        &self,
        request: Request<SetSourceEndpointRequest>,
    ) -> Result<Response<Partner>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(endpoint::set(&self.0, &caller, request.into_inner()).await?))
    }

    async fn suspend_partner(
        &self,
        request: Request<SuspendPartnerRequest>,
    ) -> Result<Response<Partner>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(suspend::suspend(&self.0, &caller, request.into_inner()).await?))
    }

    async fn resume_partner(
        &self,
        request: Request<ResumePartnerRequest>,
    ) -> Result<Response<Partner>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(suspend::resume(&self.0, &caller, request.into_inner()).await?))
    }
}

/// A partner as this caller sees it: where a source is reached is for operators and the source itself.
fn view(row: &PartnerRow, caller: &Caller) -> Partner {
    let inside = match &caller.principal {
        Principal::Operator(_) => true,
        Principal::Partner(name) => name.as_str() == row.name,
        Principal::Customer(_) | Principal::Auditor(_) | Principal::Broker(_) => false,
    };
    Partner {
        name: row.name.clone(),
        display_name: row.display_name.clone(),
        identity_key: row.identity_key.clone(),
        source_endpoint: if inside { row.source_endpoint.clone() } else { String::new() },
        state: lifecycle::Partner::from_row(row).state().into(),
        create_time: timestamp(row.create_time_ms),
        contact_phone: row.contact_phone.clone(),
    }
}

/// A row in which something is another that an operator may have vouched for.
fn changed(mut row: PartnerRow) -> PartnerRow {
    lifecycle::Partner::from_row(&row).changed().write_to(&mut row);
    row
}

/// What a record about a partner says of the operator that acted.
fn by(caller: &Caller) -> countersign_proto::row::v1::PrivatePart {
    countersign_proto::row::v1::PrivatePart { actor: caller.principal.to_string(), ..Default::default() }
}

/// Commits a partner's changed row with its record; nothing on a conflict.
async fn change(
    broker: &Broker,
    caller: &Caller,
    name: &PartnerName,
    read: &crate::rows::Loaded<PartnerRow>,
    row: PartnerRow,
    (kind, reason): (countersign_proto::log::v1::Kind, &str),
) -> Result<Option<Partner>, crate::Fault> {
    let mut work = crate::work::Work::default();
    work.update(read, &row)?;
    work.record(broker.draft(crate::record::Happening {
        kind,
        source: Some(name),
        reason,
        private: by(caller),
        ..Default::default()
    }));
    Ok(broker.enter(work).await?.map(|_| view(&row, caller)))
}
