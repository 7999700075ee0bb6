//! The source's side: a gRPC service around a handler. The SDK verifies, counts, seals and signs; the handler looks values
//! up.

mod check;
mod preview;
mod provide;
mod receipts;
mod refusal;
mod serve;
mod tokens;

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use countersign_grants::{catalogue::FieldPath, digest::Digest, id::SubjectHandle};
use countersign_proto::v1::{
    DeliverReceiptsRequest, DeliverReceiptsResponse, ProvideDataRequest, ProvideDataResponse,
    ProvidePreviewRequest, ProvidePreviewResponse,
    source_service_server::{SourceService, SourceServiceServer},
};
use parking_lot::Mutex;
use tonic::{Request, Response, Status};

pub(crate) use self::receipts::{CLAIM_ROUND, claim_missing};
use self::tokens::Tokens;
pub use self::{
    provide::HANDLER_DEADLINE,
    receipts::{CLAIM_AFTER, STOP_AFTER},
    refusal::ProvideError,
    serve::{ServeError, ServerTls},
};
use crate::{partner::Partner, value::Value};

/// The largest call: a `ProvideData` carries five statements of at most 16 KiB, a batch of 256 receipts as much again and
/// more; neither comes near it.
const MAX_CALL_BYTES: usize = 1 << 20;

/// What a source writes: where its values come from.
///
/// The handler is asked once per fetch and per preview, after every check has passed; it need not know which. It answers with one value for each field, in order,
/// and knows the subject by the handle that was made when the person linked.
#[async_trait]
pub trait SourceHandler: Send + Sync + 'static {
    /// The values of these fields of this subject, now.
    async fn provide(
        &self,
        subject: &SubjectHandle,
        fields: &[FieldPath],
    ) -> Result<Vec<Value>, ProvideError>;
}

/// A partner's `SourceService`. Cloning shares it.
pub struct SourceServer<H>(Arc<Inner<H>>);

pub(crate) struct Inner<H> {
    partner: Partner,
    handler: H,
    tokens: Tokens,
    /// One turn per recipient's request id: a retry that overtakes waits for the first, and then repeats its bytes.
    turns: Mutex<Turns>,
}

type Turns = HashMap<Digest, Arc<tokio::sync::Mutex<()>>>;

impl<H: SourceHandler> SourceServer<H> {
    /// Serves a partner's data from a handler.
    pub fn new(partner: Partner, handler: H) -> Self {
        let (tokens, turns) = (Tokens::default(), Mutex::default());
        Self(Arc::new(Inner { partner, handler, tokens, turns }))
    }

    /// The gRPC service, for a server of one's own. [`SourceServer::serve`] is one.
    pub fn into_service(self) -> SourceServiceServer<Self> {
        SourceServiceServer::new(self).max_decoding_message_size(MAX_CALL_BYTES)
    }
}

impl<H> Clone for SourceServer<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[async_trait]
impl<H: SourceHandler> SourceService for SourceServer<H> {
    async fn provide_data(
        &self,
        request: Request<ProvideDataRequest>,
    ) -> Result<Response<ProvideDataResponse>, Status> {
        self.0.authenticate(request.metadata())?;
        let answer = self.0.provide(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn provide_preview(
        &self,
        request: Request<ProvidePreviewRequest>,
    ) -> Result<Response<ProvidePreviewResponse>, Status> {
        self.0.authenticate(request.metadata())?;
        let answer = self.0.preview(&request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn deliver_receipts(
        &self,
        request: Request<DeliverReceiptsRequest>,
    ) -> Result<Response<DeliverReceiptsResponse>, Status> {
        self.0.authenticate(request.metadata())?;
        self.0.take_receipts(&request.into_inner())?;
        Ok(Response::new(DeliverReceiptsResponse {}))
    }
}

#[cfg(test)]
#[path = "source/tests.rs"]
mod tests;
