//! A source that costs nothing: it answers fetches whose provisions were made beforehand. Until there are such it hands
//! every call on to a real source, and keeps what it sees: that is how a relay learns what a broker sends.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use countersign_client::{
    grants::{digest::Digest, envelope},
    proto::v1::{
        DeliverReceiptsRequest, DeliverReceiptsResponse, ProvideDataRequest, ProvideDataResponse,
        ProvidePreviewRequest, ProvidePreviewResponse, Receipt,
        source_service_client::SourceServiceClient,
        source_service_server::{SourceService, SourceServiceServer},
    },
};
use parking_lot::{Mutex, RwLock};
use tokio::{net::TcpListener, time::Instant};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

/// Provisions by the digest of their fetch, each with its place among those that were made.
#[derive(Default)]
pub(super) struct Made {
    pub(super) answers: HashMap<Digest, (usize, ProvideDataResponse)>,
    /// How long each call was here, in microseconds, by its place.
    pub(super) stayed: Vec<AtomicU64>,
}

/// What went by.
#[derive(Default)]
pub(super) struct Seen {
    /// What the broker sends, by the digest of the terms.
    pub(super) requests: HashMap<Digest, ProvideDataRequest>,
    pub(super) receipt: Option<Receipt>,
}

/// The source. Cloning shares it.
#[derive(Clone)]
pub(in crate::bench) struct Stub(Arc<Inner>);

struct Inner {
    made: RwLock<Arc<Made>>,
    real: RwLock<Option<SourceServiceClient<Channel>>>,
    seen: Mutex<Seen>,
    wait: RwLock<Duration>,
}

impl Stub {
    /// Serves on a port that the system chooses; its address.
    pub(super) async fn serve(real: &str) -> Result<(Self, String)> {
        let real = SourceServiceClient::new(Endpoint::from_shared(real.to_owned())?.connect_lazy());
        let stub = Self(Arc::new(Inner {
            made: RwLock::default(),
            real: RwLock::new(Some(real)),
            seen: Mutex::default(),
            wait: RwLock::default(),
        }));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = format!("http://{}", listener.local_addr()?);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let service = SourceServiceServer::new(stub.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        Ok((stub, address))
    }

    /// How many grants' papers went by, and whether a receipt did.
    pub(super) fn has_seen(&self) -> (usize, bool) {
        let seen = self.0.seen.lock();
        (seen.requests.len(), seen.receipt.is_some())
    }

    /// What went by; nothing is handed on from now on.
    pub(super) fn take_seen(&self) -> Seen {
        *self.0.real.write() = None;
        std::mem::take(&mut self.0.seen.lock())
    }

    /// Answers with these from now on, each after a wait.
    pub(super) fn answer_with(&self, made: Arc<Made>, wait: Duration) {
        *self.0.made.write() = made;
        *self.0.wait.write() = wait;
    }
}

#[tonic::async_trait]
impl SourceService for Stub {
    async fn provide_data(
        &self,
        request: Request<ProvideDataRequest>,
    ) -> Result<Response<ProvideDataResponse>, Status> {
        let real = self.0.real.read().clone();
        if let Some(mut real) = real {
            if let Some(terms) = &request.get_ref().terms {
                let asked = ProvideDataRequest { fetch: None, ..request.get_ref().clone() };
                self.0.seen.lock().requests.entry(envelope::digest(terms)).or_insert(asked);
            }
            return real.provide_data(request).await;
        }
        let begun = Instant::now();
        let fetch = request.into_inner().fetch;
        let fetch = fetch.ok_or_else(|| Status::invalid_argument("there is no fetch"))?;
        let (made, wait) = (Arc::clone(&self.0.made.read()), *self.0.wait.read());
        let answer = made.answers.get(&envelope::digest(&fetch));
        let (place, answer) = answer.ok_or_else(|| Status::not_found("nothing was made for this fetch"))?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if let Some(stayed) = made.stayed.get(*place) {
            stayed.store(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        Ok(Response::new(answer.clone()))
    }

    async fn provide_preview(
        &self,
        request: Request<ProvidePreviewRequest>,
    ) -> Result<Response<ProvidePreviewResponse>, Status> {
        let real = self.0.real.read().clone();
        let mut real = real.ok_or_else(|| Status::unimplemented("what was made answers fetches alone"))?;
        real.provide_preview(request).await
    }

    async fn deliver_receipts(
        &self,
        request: Request<DeliverReceiptsRequest>,
    ) -> Result<Response<DeliverReceiptsResponse>, Status> {
        let real = self.0.real.read().clone();
        let Some(mut real) = real else { return Ok(Response::new(DeliverReceiptsResponse {})) };
        if let Some(receipt) = request.get_ref().receipts.last().and_then(|one| one.receipt.clone()) {
            self.0.seen.lock().receipt = Some(receipt);
        }
        real.deliver_receipts(request).await
    }
}
