//! The bare relay: tonic, the broker's two hops with messages of the same size, two `verify_strict` a call, and nothing
//! else. It is a process of its own, as the broker is.
//!
//! What the broker puts beside a fetch, and what it answers, the relay has from a file: requests as the broker sent them,
//! by their terms, and one answer with a receipt that proves another transfer.

use std::{collections::HashMap, net::Ipv4Addr, path::PathBuf, sync::Arc};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use countersign_client::{
    BrokerTrust, System,
    grants::{digest::Digest, envelope, id::Principal, key::PublicKey, token::Issuer},
    keyfile,
    proto::{
        statement::v1::{Envelope, Fetch},
        v1::{
            ClaimReceiptRequest, ClaimReceiptResponse, FetchDataRequest, FetchDataResponse,
            NotifyChangeRequest, NotifyChangeResponse, PreviewDataRequest, PreviewDataResponse,
            ProvideDataRequest, TapLocationRequest, TapLocationResponse,
            source_service_client::SourceServiceClient,
            transfer_service_server::{TransferService, TransferServiceServer},
        },
    },
};
use data_encoding::BASE64URL_NOPAD;
use parking_lot::RwLock;
use prost::Message as _;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, stdin},
    net::TcpListener,
};
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

/// What a relay is started with.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file of [`Papers`].
    #[arg(long, value_name = "FILE")]
    papers: PathBuf,
    /// The broker file, for the name in the token.
    #[arg(long, value_name = "FILE")]
    broker: PathBuf,
    /// The broker's call key, with which the relay signs its token to the source.
    #[arg(long, value_name = "FILE")]
    call_key: PathBuf,
    /// The source's name, which the token is for.
    #[arg(long)]
    source: String,
    /// The recipient's key: unpadded base64url.
    #[arg(long)]
    recipient_key: String,
    /// The source's key: unpadded base64url.
    #[arg(long)]
    source_key: String,
}

/// What the broker sends beside a fetch and a provision.
#[derive(Default)]
pub(super) struct Papers {
    /// By the digest of their terms.
    pub(super) requests: HashMap<Digest, ProvideDataRequest>,
    /// Everything but the sealed fields and the provision.
    pub(super) answer: FetchDataResponse,
}

impl Papers {
    /// Length-delimited messages: the answer, then the requests.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.answer.encode_length_delimited_to_vec();
        for request in self.requests.values() {
            bytes.extend(request.encode_length_delimited_to_vec());
        }
        bytes
    }

    fn decode(bytes: Vec<u8>) -> Result<Self> {
        let mut bytes = Bytes::from(bytes);
        let answer = FetchDataResponse::decode_length_delimited(&mut bytes)?;
        let mut requests = HashMap::new();
        while !bytes.is_empty() {
            let request = ProvideDataRequest::decode_length_delimited(&mut bytes)?;
            let terms = request.terms.as_ref().context("a request without terms")?;
            requests.insert(envelope::digest(terms), request);
        }
        Ok(Self { requests, answer })
    }
}

#[derive(Clone)]
struct Relay(Arc<Inner>);

struct Inner {
    papers: Papers,
    recipient_key: PublicKey,
    source_key: PublicKey,
    /// The source's channel and the token to call it with.
    source: RwLock<Option<(Channel, MetadataValue<Ascii>)>>,
}

/// Serves until the bench hangs up. Each line of its input is the address of a source to forward to from now on; each is
/// answered with a line.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let key = |text: &str| -> Result<PublicKey> {
        Ok(PublicKey::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes())?)?)
    };
    let inner = Arc::new(Inner {
        papers: Papers::decode(std::fs::read(&arguments.papers).context("the papers")?)?,
        recipient_key: key(&arguments.recipient_key)?,
        source_key: key(&arguments.source_key)?,
        source: RwLock::default(),
    });
    let trust = BrokerTrust::read(&arguments.broker)?;
    let issuer = Issuer::new(Principal::Broker(trust.origin), &keyfile::read(&arguments.call_key)?);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("http://{}", listener.local_addr()?);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = TransferServiceServer::new(Relay(Arc::clone(&inner)));
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));

    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let channel = Endpoint::from_shared(line)?.tcp_nodelay(true).connect_lazy();
        let token = format!("Bearer {}", issuer.issue(&arguments.source, System::real().now()));
        *inner.source.write() = Some((channel, token.parse().map_err(|_| anyhow!("a token is ASCII"))?));
        println!("forwarding");
    }
    Ok(())
}

#[tonic::async_trait]
impl TransferService for Relay {
    async fn fetch_data(
        &self,
        request: Request<FetchDataRequest>,
    ) -> Result<Response<FetchDataResponse>, Status> {
        let inner = &self.0;
        let fetch = request.into_inner().statement;
        let fetch = fetch.ok_or_else(|| Status::invalid_argument("there is no fetch"))?;
        verify(&fetch, &inner.recipient_key)?;
        let says = Fetch::decode(fetch.payload.clone()).map_err(|_| Status::invalid_argument("no fetch"))?;
        let terms = Digest::from_slice(&says.terms).ok_or_else(|| Status::invalid_argument("no terms"))?;
        let papers = inner.papers.requests.get(&terms).ok_or_else(|| Status::not_found("no papers"))?;
        let mut forwarded = papers.clone();
        forwarded.fetch = Some(fetch);

        let source = inner.source.read().clone();
        let (channel, token) = source.ok_or_else(|| Status::unavailable("no source"))?;
        let mut request = Request::new(forwarded);
        request.metadata_mut().insert("authorization", token);
        let answer = SourceServiceClient::new(channel).provide_data(request).await?.into_inner();
        let provision = answer.provision.ok_or_else(|| Status::internal("there is no provision"))?;
        verify(&provision, &inner.source_key)?;
        Ok(Response::new(FetchDataResponse {
            sealed_fields: answer.sealed_fields,
            provision: Some(provision),
            ..inner.papers.answer.clone()
        }))
    }

    async fn tap_location(
        &self,
        _: Request<TapLocationRequest>,
    ) -> Result<Response<TapLocationResponse>, Status> {
        Err(Status::unimplemented("a relay forwards fetches"))
    }

    async fn preview_data(
        &self,
        _: Request<PreviewDataRequest>,
    ) -> Result<Response<PreviewDataResponse>, Status> {
        Err(Status::unimplemented("a relay forwards fetches"))
    }

    async fn notify_change(
        &self,
        _: Request<NotifyChangeRequest>,
    ) -> Result<Response<NotifyChangeResponse>, Status> {
        Err(Status::unimplemented("a relay forwards fetches"))
    }

    async fn claim_receipt(
        &self,
        _: Request<ClaimReceiptRequest>,
    ) -> Result<Response<ClaimReceiptResponse>, Status> {
        Err(Status::unimplemented("a relay has no log"))
    }
}

/// One `verify_strict`.
fn verify(statement: &Envelope, key: &PublicKey) -> Result<(), Status> {
    let encoding = envelope::pre_authentication_encoding(&statement.payload_type, &statement.payload);
    let signed = statement.signatures.iter().any(|one| key.verifies(&encoding, &one.signature));
    if signed { Ok(()) } else { Err(Status::invalid_argument("the signature does not verify")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn papers_come_back_as_they_were_written() {
        let terms = |payload: &'static [u8]| Envelope {
            payload_type: "t".into(),
            payload: Bytes::from_static(payload),
            signatures: Vec::new(),
        };
        let mut papers = Papers::default();
        papers.answer.sealed_fields = Bytes::from_static(b"none");
        for payload in [b"one".as_slice(), b"other"] {
            let request = ProvideDataRequest { terms: Some(terms(payload)), ..ProvideDataRequest::default() };
            papers.requests.insert(Digest::of(payload), request);
        }
        let read = Papers::decode(papers.encode()).unwrap();
        assert_eq!((read.requests, read.answer), (papers.requests, papers.answer));
    }
}
