//! Sources that are down, slow, or answer with what was not asked: the recipient reads whose fault it is, nothing is released.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use countersign_broker::suspicion::MISBEHAVIOURS;
use countersign_client::SourceServer;
use countersign_grants::{envelope, key::SigningKey, statement::Provision};
use countersign_proto::{
    log::v1::Kind,
    statement::v1::{self as wire, SealedFields},
    v1::{
        DeliverReceiptsRequest, DeliverReceiptsResponse, GetPartnerRequest, ProvideDataRequest,
        ProvideDataResponse, ProvidePreviewRequest, ProvidePreviewResponse, ResumePartnerRequest,
        SetSourceEndpointRequest,
        source_service_server::{SourceService, SourceServiceServer},
    },
};
use prost::Message as _;
use tokio::{net::TcpListener, sync::Notify};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::{
    journey::check_world,
    world::{Granted, PATIENCE, Shelf, bare_fetch, reason_of},
};

type Spoil = Arc<dyn Fn(ProvideDataResponse) -> ProvideDataResponse + Send + Sync>;

/// An honest source, and what becomes of its answers.
struct Spoilt {
    honest: SourceServer<Shelf>,
    spoil: Spoil,
    held: Option<Arc<Held>>,
}

/// Keeps an answer until a test lets it go.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) provided: Notify,
    pub(crate) go: Notify,
}

impl Held {
    async fn wait(&self) {
        self.provided.notify_one();
        self.go.notified().await;
    }
}

#[tonic::async_trait]
impl SourceService for Spoilt {
    async fn provide_data(
        &self,
        request: Request<ProvideDataRequest>,
    ) -> Result<Response<ProvideDataResponse>, Status> {
        let answer = self.honest.provide_data(request).await?.into_inner();
        if let Some(held) = &self.held {
            held.wait().await;
        }
        Ok(Response::new((self.spoil)(answer)))
    }

    async fn provide_preview(
        &self,
        request: Request<ProvidePreviewRequest>,
    ) -> Result<Response<ProvidePreviewResponse>, Status> {
        let answer = self.honest.provide_preview(request).await?;
        if let Some(held) = &self.held {
            held.wait().await;
        }
        Ok(answer)
    }

    async fn deliver_receipts(
        &self,
        request: Request<DeliverReceiptsRequest>,
    ) -> Result<Response<DeliverReceiptsResponse>, Status> {
        self.honest.deliver_receipts(request).await
    }
}

/// A source that answers nothing that it was asked for.
struct Rubbish;

#[tonic::async_trait]
impl SourceService for Rubbish {
    async fn provide_data(
        &self,
        _: Request<ProvideDataRequest>,
    ) -> Result<Response<ProvideDataResponse>, Status> {
        Ok(Response::new(ProvideDataResponse::default()))
    }

    async fn provide_preview(
        &self,
        _: Request<ProvidePreviewRequest>,
    ) -> Result<Response<ProvidePreviewResponse>, Status> {
        Ok(Response::new(ProvidePreviewResponse::default()))
    }

    async fn deliver_receipts(
        &self,
        _: Request<DeliverReceiptsRequest>,
    ) -> Result<Response<DeliverReceiptsResponse>, Status> {
        Ok(Response::new(DeliverReceiptsResponse::default()))
    }
}

impl Granted {
    pub(crate) async fn endpoint(&self, endpoint: String) {
        let name = self.skylark.name().to_string();
        let request = SetSourceEndpointRequest { name, source_endpoint: endpoint };
        self.world.operator.partners().set_source_endpoint(request).await.expect("approves");
    }

    /// Puts a source in Skylark's place that spoils Skylark's answers.
    async fn spoil(
        &self,
        spoil: impl Fn(ProvideDataResponse) -> ProvideDataResponse + Send + Sync + 'static,
    ) {
        self.serve(Arc::new(spoil), None).await;
    }

    /// Puts a source in Skylark's place whose answers wait.
    pub(crate) async fn hold(&self) -> Arc<Held> {
        let held = Arc::new(Held::default());
        self.serve(Arc::new(|answer| answer), Some(Arc::clone(&held))).await;
        held
    }

    async fn serve(&self, spoil: Spoil, held: Option<Arc<Held>>) {
        let honest = SourceServer::new(self.skylark.partner.clone(), self.skylark.shelf.clone());
        self.stand_in(Spoilt { honest, spoil, held }).await;
    }

    /// Puts another source in Skylark's place.
    async fn stand_in(&self, source: impl SourceService) {
        let service = SourceServiceServer::new(source);
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let endpoint = format!("http://{}", socket.local_addr().expect("bound"));
        tokio::spawn(
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(socket)),
        );
        self.endpoint(endpoint).await;
    }

    /// A fetch fails for this reason and check, and nothing was released.
    async fn misbehaves(&self, check: &str) {
        let error = self.fetch().await.expect_err("refused");
        let countersign_client::Error::Refused(refused) = error else { panic!("{error}") };
        assert_eq!(refused.reason, "SOURCE_MISBEHAVED");
        assert_eq!(refused.metadata.get("check").map(String::as_str), Some(check));
        assert_eq!(self.world.count(Kind::Transfer).await, 0);
    }
}

/// The answer with other fields, signed as they then are by this key.
fn resealed(
    answer: &ProvideDataResponse,
    key: &SigningKey,
    change: impl Fn(&mut SealedFields),
) -> ProvideDataResponse {
    let mut sealed = SealedFields::decode(answer.sealed_fields.clone()).expect("sealed fields");
    change(&mut sealed);
    let sealed_fields = bytes::Bytes::from(sealed.encode_to_vec());
    let signed = answer.provision.clone().expect("a provision");
    let mut provision = wire::Provision::decode(signed.payload).expect("a provision");
    provision.sealed = countersign_grants::digest::Digest::of(&sealed_fields).into();
    ProvideDataResponse { sealed_fields, provision: Some(envelope::sign::<Provision>(&provision, &[key])) }
}

fn copy(key: &SigningKey) -> SigningKey {
    SigningKey::from_secret(&key.to_secret())
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_asked_fields_must_come() {
    let granted = Granted::start().await;
    let key = copy(&granted.skylark.working);
    granted.spoil(move |answer| resealed(&answer, &key, |sealed| drop(sealed.fields.pop()))).await;
    granted.misbehaves("fields").await;

    let key = copy(&granted.skylark.working);
    granted
        .spoil(move |answer| {
            resealed(&answer, &key, |sealed| {
                let mut extra = sealed.fields[0].clone();
                extra.field = "trip.eta".to_owned();
                sealed.fields.push(extra);
            })
        })
        .await;
    granted.misbehaves("fields").await;

    let key = copy(&granted.skylark.working);
    granted.spoil(move |answer| resealed(&answer, &key, |sealed| sealed.fields.reverse())).await;
    granted.misbehaves("fields").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_must_have_signed_what_came() {
    let granted = Granted::start().await;
    granted
        .spoil(|answer| {
            let mut sealed_fields = answer.sealed_fields.to_vec();
            *sealed_fields.last_mut().expect("bytes") ^= 1;
            ProvideDataResponse { sealed_fields: sealed_fields.into(), ..answer }
        })
        .await;
    granted.misbehaves("sealed").await;

    granted.spoil(|answer| ProvideDataResponse { provision: None, ..answer }).await;
    granted.misbehaves("present").await;

    let stranger = SigningKey::from_secret(&[99; 32]);
    granted.spoil(move |answer| resealed(&answer, &stranger, |_| {})).await;
    granted.misbehaves("key").await;

    let hopp = copy(&granted.hopp.working);
    granted.spoil(move |answer| resealed(&answer, &hopp, |_| {})).await;
    granted.misbehaves("key").await;

    granted
        .spoil(|answer| {
            let mut provision = answer.provision.expect("a provision");
            let mut signature = provision.signatures[0].signature.to_vec();
            signature[0] ^= 1;
            provision.signatures[0].signature = signature.into();
            ProvideDataResponse { provision: Some(provision), ..answer }
        })
        .await;
    granted.misbehaves("signature").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_brings_the_first_bytes_or_nothing() {
    let granted = Granted::start().await;
    let (key, calls) = (copy(&granted.skylark.working), AtomicU32::new(0));
    // The source and the recipient are one hand: each repeat would bring fresh values, and spend nothing.
    granted
        .spoil(move |answer| match calls.fetch_add(1, Ordering::SeqCst) {
            1 => resealed(&answer, &key, |sealed| {
                let mut fresh = sealed.fields[0].ciphertext.to_vec();
                fresh[0] ^= 1;
                sealed.fields[0].ciphertext = fresh.into();
            }),
            _ => answer,
        })
        .await;
    let fetch = bare_fetch(&granted).await;
    let first = granted.send(&fetch).await.expect("released");
    let fresh = reason_of(granted.send(&fetch).await);
    assert_eq!((fresh.reason.as_str(), fresh.check.as_str()), ("SOURCE_MISBEHAVED", "repeat"));
    let again = granted.send(&fetch).await.expect("the same bytes");
    assert_eq!(first.sealed_fields, again.sealed_fields);
    assert_eq!(granted.world.count(Kind::Transfer).await, 2);
    assert_eq!(granted.world.count(Kind::ProvidedNotReleased).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stop_overtakes_is_dropped_and_recorded() {
    let granted = Arc::new(Granted::start().await);
    let held = granted.hold().await;
    let fetching = tokio::spawn({
        let granted = Arc::clone(&granted);
        async move { granted.fetch().await }
    });
    held.provided.notified().await;
    granted.mei.stop(&granted.grant, false).await.expect("recorded");
    held.go.notify_one();
    let refused = fetching.await.expect("no panic").expect_err("stopped meanwhile");
    assert_eq!(refused.reason(), Some("GRANT_ENDED"));

    let records = granted.world.records().await;
    check_world(&records);
    let place = |kind| records.iter().position(|record| record.kind() == kind);
    let (stopped, dropped) = (place(Kind::GrantWithdrawn), place(Kind::ProvidedNotReleased));
    assert!(stopped.is_some() && stopped < dropped, "{stopped:?}, {dropped:?}");
    assert_eq!(place(Kind::Transfer), None);
    // The source hears of it, and waits for nothing more.
    granted.skylark.until_receipts_are_in().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_while_the_source_answers_is_dropped() {
    let granted = Granted::start().await;
    let clock = granted.world.clock.clone();
    granted
        .spoil(move |answer| {
            clock.advance(Duration::from_secs(25 * 3_600));
            answer
        })
        .await;
    let refused = reason_of(granted.send(&bare_fetch(&granted).await).await);
    assert_eq!(refused.reason, "GRANT_ENDED");
    assert_eq!(granted.world.count(Kind::Transfer).await, 0);
    assert_eq!(granted.world.count(Kind::ProvidedNotReleased).await, 1);

    // A fetch is fresh or stale by when it came.
    let granted = Granted::start().await;
    let clock = granted.world.clock.clone();
    granted
        .spoil(move |answer| {
            clock.advance(Duration::from_secs(121));
            answer
        })
        .await;
    granted.send(&bare_fetch(&granted).await).await.expect("released");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_down_or_hangs_is_unavailable() {
    let granted = Granted::start().await;
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let nobody = format!("http://{}", socket.local_addr().expect("bound"));
    drop(socket);
    granted.endpoint(nobody).await;
    let down = granted.fetch().await.expect_err("nobody listens");
    assert_eq!(down.reason(), Some("SOURCE_UNAVAILABLE"));

    // A handler that takes longer than a source may. The SDK's own limit ends it before the broker's does.
    let granted = Granted::start().await;
    granted.skylark.shelf.slow_down(Duration::from_secs(3600));
    let request = bare_fetch(&granted).await;
    let slow = reason_of(granted.send(&request).await);
    assert!(matches!(slow.reason.as_str(), "SOURCE_UNAVAILABLE" | "SOURCE_REFUSED"), "{slow:?}");
    assert_eq!(granted.world.count(Kind::Transfer).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_refuses_by_its_own_book() {
    // The customer stopped the grant in the source's own app: no broker takes part.
    let granted = Granted::start().await;
    let standing = granted.skylark.partner.standing_grants(&granted.at_skylark);
    assert_eq!(
        standing.iter().map(countersign_client::book::GrantRow::name).collect::<Vec<_>>(),
        [&granted.grant]
    );
    granted.skylark.partner.stop_locally(&granted.grant).await.expect("stops");
    let refused = granted.fetch().await.expect_err("refused");
    assert_eq!(refused.reason(), Some("SOURCE_REFUSED"));
    assert_eq!(granted.skylark.shelf.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_takes_calls_of_its_broker_alone() {
    let granted = Granted::start().await;
    let partner =
        granted.world.broker.partner(granted.skylark.name()).await.expect("reads").row.source_endpoint;
    let channel = tonic::transport::Endpoint::from_shared(partner).expect("an address").connect_lazy();
    let mut client = countersign_proto::v1::source_service_client::SourceServiceClient::new(channel);
    let status = client.provide_data(ProvideDataRequest::default()).await.expect_err("no token");
    assert_eq!(status.code(), tonic::Code::Unauthenticated);

    let issuer = |key: &SigningKey| {
        countersign_grants::token::Issuer::new(
            countersign_grants::id::Principal::Broker(granted.world.trust.origin.clone()),
            key,
        )
    };
    let forged = issuer(&SigningKey::from_secret(&[98; 32]));
    let token = forged.issue(granted.skylark.name().as_str(), granted.world.system().now());
    let mut request = Request::new(ProvideDataRequest::default());
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
    let status = client.provide_data(request).await.expect_err("a forged token");
    assert_eq!(status.code(), tonic::Code::Unauthenticated);

    let meant_for_another =
        issuer(&granted.world.call_key).issue(granted.hopp.name().as_str(), granted.world.system().now());
    let mut request = Request::new(ProvideDataRequest::default());
    let value = format!("Bearer {meant_for_another}").parse().expect("ASCII");
    request.metadata_mut().insert("authorization", value);
    let status = client.provide_data(request).await.expect_err("another source's token");
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_answers_rubbish_is_put_out_until_a_person_has_looked() {
    let granted = Granted::start().await;
    granted.stand_in(Rubbish).await;
    for _ in 0..MISBEHAVIOURS {
        granted.misbehaves("present").await;
    }
    let put_out = granted.fetch().await.expect_err("it is suspended");
    assert_eq!(put_out.reason(), Some("SOURCE_UNAVAILABLE"));
    assert_eq!(granted.world.count(Kind::PartnerSuspendedAutomatically).await, 1);
    let asked = GetPartnerRequest { name: granted.skylark.name().to_string() };
    let skylark = granted.skylark.partner.connection().partners().get_partner(asked).await;
    assert_eq!(reason_of(skylark).reason, "PARTNER_SUSPENDED", "from its very next call");
    let resume = ResumePartnerRequest { name: granted.skylark.name().to_string() };
    granted.world.operator.partners().resume_partner(resume).await.expect("resumes");
    granted.misbehaves("present").await;
}
