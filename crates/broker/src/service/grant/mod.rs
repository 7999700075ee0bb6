//! `GrantService`: puts requests to customers, and keeps what they approved.

mod acknowledge;
mod answer;
mod approve;
mod approved_row;
mod change;
mod change_many;
pub(crate) mod erasure;
mod get;
mod get_request;
mod narrow;
mod open;
pub(super) mod proof;
mod renew;
mod request;
mod signed_change;
mod signed_terms;
mod stand;
mod stop;
mod supersede;
mod view;

use std::sync::Arc;

use async_trait::async_trait;
use countersign_proto::v1::{
    AcknowledgeGrantRequest, ApproveGrantRequestRequest, ApproveGrantRequestResponse, AttestErasureRequest,
    AttestErasureResponse, CancelGrantRequestRequest, ChangeGrantRequest, ChangeGrantResponse,
    ChangeGrantsRequest, ChangeGrantsResponse, CreateGrantRequestRequest, DeferGrantRequestRequest,
    GetGrantRequest, GetGrantRequestRequest, Grant, GrantRequest, ListGrantRequestsRequest,
    ListGrantRequestsResponse, ListGrantsRequest, ListGrantsResponse, NarrowGrantRequest,
    NarrowGrantResponse, RefuseGrantRequestRequest, RevokeGrantRequest, SuspendGrantRequest,
    UnsuspendGrantRequest, grant_service_server::GrantService,
};
use tonic::{Request, Response, Status};

use crate::{Broker, Caller};

pub(super) use self::{answer::load as load_request, get::load as load_grant, signed_change::by_link};

/// The service.
pub struct Grants(pub Arc<Broker>);

#[async_trait]
impl GrantService for Grants {
    async fn create_grant_request(
        &self,
        request: Request<CreateGrantRequestRequest>,
    ) -> Result<Response<GrantRequest>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(request::create(&self.0, &caller, request.into_inner()).await?))
    }

    async fn get_grant_request(
        &self,
        request: Request<GetGrantRequestRequest>,
    ) -> Result<Response<GrantRequest>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(get_request::get(&self.0, &caller, request.into_inner()).await?))
    }

    async fn list_grant_requests(
        &self,
        request: Request<ListGrantRequestsRequest>,
    ) -> Result<Response<ListGrantRequestsResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(get_request::list(&self.0, &caller, request.into_inner()).await?))
    }

    async fn defer_grant_request(
        &self,
        request: Request<DeferGrantRequestRequest>,
    ) -> Result<Response<GrantRequest>, Status> {
        let caller = Caller::of(&request)?;
        let name = request.into_inner().name;
        Ok(Response::new(answer::answer(&self.0, &caller, &name, answer::Answer::Defer).await?))
    }

    async fn approve_grant_request(
        &self,
        request: Request<ApproveGrantRequestRequest>,
    ) -> Result<Response<ApproveGrantRequestResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(approve::approve(&self.0, &caller, request.into_inner()).await?))
    }

    async fn refuse_grant_request(
        &self,
        request: Request<RefuseGrantRequestRequest>,
    ) -> Result<Response<GrantRequest>, Status> {
        let caller = Caller::of(&request)?;
        let name = request.into_inner().name;
        Ok(Response::new(answer::answer(&self.0, &caller, &name, answer::Answer::Refuse).await?))
    }

    async fn cancel_grant_request(
        &self,
        request: Request<CancelGrantRequestRequest>,
    ) -> Result<Response<GrantRequest>, Status> {
        let caller = Caller::of(&request)?;
        let name = request.into_inner().name;
        Ok(Response::new(answer::answer(&self.0, &caller, &name, answer::Answer::Cancel).await?))
    }

    async fn get_grant(&self, request: Request<GetGrantRequest>) -> Result<Response<Grant>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(get::get(&self.0, &caller, request.into_inner()).await?))
    }

    async fn list_grants(
        &self,
        request: Request<ListGrantsRequest>,
    ) -> Result<Response<ListGrantsResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(get::list(&self.0, &caller, request.into_inner()).await?))
    }

    async fn change_grant(
        &self,
        request: Request<ChangeGrantRequest>,
    ) -> Result<Response<ChangeGrantResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(change::change(&self.0, &caller, request.into_inner()).await?))
    }

    async fn change_grants(
        &self,
        request: Request<ChangeGrantsRequest>,
    ) -> Result<Response<ChangeGrantsResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(change_many::change(&self.0, &caller, request.into_inner()).await?))
    }

    async fn narrow_grant(
        &self,
        request: Request<NarrowGrantRequest>,
    ) -> Result<Response<NarrowGrantResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(narrow::narrow(&self.0, &caller, request.into_inner()).await?))
    }

    async fn acknowledge_grant(
        &self,
        request: Request<AcknowledgeGrantRequest>,
    ) -> Result<Response<Grant>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(acknowledge::acknowledge(&self.0, &caller, request.into_inner()).await?))
    }

    async fn suspend_grant(
        &self,
        request: Request<SuspendGrantRequest>,
    ) -> Result<Response<ChangeGrantResponse>, Status> {
        let caller = Caller::of(&request)?;
        let SuspendGrantRequest { name, statement, reason } = request.into_inner();
        let asked = stop::Asked { stop: stop::Stop::Suspend, name, statement, reason };
        Ok(Response::new(stop::stop(&self.0, &caller, asked).await?))
    }

    async fn unsuspend_grant(
        &self,
        request: Request<UnsuspendGrantRequest>,
    ) -> Result<Response<ChangeGrantResponse>, Status> {
        let caller = Caller::of(&request)?;
        let UnsuspendGrantRequest { name, statement } = request.into_inner();
        let asked = stop::Asked { stop: stop::Stop::Unsuspend, name, statement, reason: 0 };
        Ok(Response::new(stop::stop(&self.0, &caller, asked).await?))
    }

    async fn revoke_grant(
        &self,
        request: Request<RevokeGrantRequest>,
    ) -> Result<Response<ChangeGrantResponse>, Status> {
        let caller = Caller::of(&request)?;
        let RevokeGrantRequest { name, statement, reason } = request.into_inner();
        let asked = stop::Asked { stop: stop::Stop::Revoke, name, statement, reason };
        Ok(Response::new(stop::stop(&self.0, &caller, asked).await?))
    }

    async fn attest_erasure(
        &self,
        request: Request<AttestErasureRequest>,
    ) -> Result<Response<AttestErasureResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(erasure::attest(&self.0, &caller, request.into_inner()).await?))
    }
}
