//! `OperatorService`: for those who run the broker.

mod scrub;

use std::sync::Arc;

use async_trait::async_trait;
use countersign_proto::v1::{
    ScrubStoreRequest, ScrubStoreResponse, operator_service_server::OperatorService,
};
use tonic::{Request, Response, Status};

use crate::{Broker, Caller};

/// The service.
pub struct Operators(pub Arc<Broker>);

#[async_trait]
impl OperatorService for Operators {
    async fn scrub_store(
        &self,
        request: Request<ScrubStoreRequest>,
    ) -> Result<Response<ScrubStoreResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(scrub::scrub(&self.0, &caller, request.into_inner()).await?))
    }
}
