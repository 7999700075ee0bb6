//! `AuditService`: answers auditors, and proves the log to everybody.

mod checkpoint;
mod create;
mod entries;
mod filter;

use std::sync::Arc;

use async_trait::async_trait;
use countersign_proto::v1::{
    Auditor, CreateAuditorRequest, GetCheckpointRequest, GetCheckpointResponse, GetConsistencyProofRequest,
    GetConsistencyProofResponse, GetLogEntryRequest, ListLogEntriesRequest, ListLogEntriesResponse, LogEntry,
    audit_service_server::AuditService,
};
use tonic::{Request, Response, Status};

pub(crate) use self::{
    entries::{enter_read, log_entry},
    filter::Filter,
};
use crate::{Broker, Caller};

/// The service.
pub struct Audits(pub Arc<Broker>);

#[async_trait]
impl AuditService for Audits {
    async fn create_auditor(
        &self,
        request: Request<CreateAuditorRequest>,
    ) -> Result<Response<Auditor>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(create::create(&self.0, &caller, request.into_inner()).await?))
    }

    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        Caller::of(&request)?;
        Ok(Response::new(checkpoint::get(&self.0).await?))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<GetConsistencyProofRequest>,
    ) -> Result<Response<GetConsistencyProofResponse>, Status> {
        Caller::of(&request)?;
        Ok(Response::new(checkpoint::consistency(&self.0, request.into_inner()).await?))
    }

    async fn list_log_entries(
        &self,
        request: Request<ListLogEntriesRequest>,
    ) -> Result<Response<ListLogEntriesResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(entries::list(&self.0, &caller, request.into_inner()).await?))
    }

    async fn get_log_entry(
        &self,
        request: Request<GetLogEntryRequest>,
    ) -> Result<Response<LogEntry>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(entries::get(&self.0, &caller, request.into_inner()).await?))
    }
}
