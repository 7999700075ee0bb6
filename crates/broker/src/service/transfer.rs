//! `TransferService`: one transfer, start to end, and what belongs to it.

mod claim;
mod fetch;
mod notify;
mod preview;
mod provided;
mod refused;
mod standing;
mod tap;

use std::sync::Arc;

use countersign_ledger::work::Part;
use countersign_proto::v1::{
    ClaimReceiptRequest, ClaimReceiptResponse, FetchDataRequest, FetchDataResponse, NotifyChangeRequest,
    NotifyChangeResponse, PreviewDataRequest, PreviewDataResponse, TapLocationRequest, TapLocationResponse,
    transfer_service_server,
};
use tonic::{Request, Response, Status};

use self::refused::RefusalQuota;
pub(crate) use self::standing::StandingGrants;
use crate::{broker::Broker, caller::Caller, receipts::Deliveries, sources::Sources};

/// Judging a fetch, and making its record, its private part and its answer.
static TRANSFER: Part = Part::new("transfer");

/// Moves data under grants.
pub struct TransferService {
    broker: Arc<Broker>,
    sources: Arc<Sources>,
    deliveries: Deliveries,
    refusals: RefusalQuota,
}

impl TransferService {
    /// The service on this broker.
    pub fn new(broker: Arc<Broker>) -> Self {
        let sources = Arc::new(Sources::new(Arc::clone(&broker)));
        Self {
            deliveries: Deliveries::new(Arc::clone(&broker), Arc::clone(&sources)),
            broker,
            sources,
            refusals: RefusalQuota::default(),
        }
    }
}

#[tonic::async_trait]
impl transfer_service_server::TransferService for TransferService {
    async fn fetch_data(
        &self,
        request: Request<FetchDataRequest>,
    ) -> Result<Response<FetchDataResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(TRANSFER.drive(self.fetch(&caller, request.into_inner())).await?))
    }

    async fn preview_data(
        &self,
        request: Request<PreviewDataRequest>,
    ) -> Result<Response<PreviewDataResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.preview(&caller, &request.into_inner()).await?))
    }

    async fn tap_location(
        &self,
        request: Request<TapLocationRequest>,
    ) -> Result<Response<TapLocationResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.tap(&caller, &request.into_inner()).await?))
    }

    async fn notify_change(
        &self,
        request: Request<NotifyChangeRequest>,
    ) -> Result<Response<NotifyChangeResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.notify(&caller, &request.into_inner()).await?))
    }

    async fn claim_receipt(
        &self,
        request: Request<ClaimReceiptRequest>,
    ) -> Result<Response<ClaimReceiptResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.claim(&caller, &request.into_inner()).await?))
    }
}
