//! The layers, each by what a caller sees of it.

use std::{convert::Infallible, future::pending, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    http::{Request, Version},
    response::Response,
    routing::post,
};
use countersign_grants::{
    id::{PartnerName, Principal},
    key::SigningKey,
    time::Timestamp,
    token::{Issuer, broker_audience},
};
use futures_util::stream;
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use super::{
    Gate, Quotas, limits, stack,
    testing::{House, NOW, operator, operator_key, operator_name, origin},
};
use crate::{Caller, Newcomer};

const LIST: &str = "/countersign.v1.CatalogueService/ListCatalogues";
const WATCH: &str = "/countersign.v1.EventService/WatchEvents";
const ENTER: &str = "/countersign.v1.CustomerService/CreateCustomer";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const HANGS: &str = "/countersign.v1.CatalogueService/GetCatalogue";
const PANICS: &str = "/countersign.v1.OfferService/GetOffer";

/// A stack before services that tell who came through.
struct Front {
    house: House,
    gate: Arc<Gate>,
    stop: CancellationToken,
    router: Router,
}

impl Front {
    async fn open() -> Self {
        Self::with(Quotas::default()).await
    }

    async fn with(quotas: Quotas) -> Self {
        let (house, stop) = (House::open().await, CancellationToken::new());
        let gate = Gate::new(Arc::clone(&house.broker), quotas, stop.clone());
        let services = Router::new()
            .route(LIST, post(async |Extension(caller): Extension<Caller>| caller.principal.to_string()))
            .route(ENTER, post(async |Extension(newcomer): Extension<Newcomer>| newcomer.0))
            .route(HEALTH, post(async || "serving"))
            .route(HANGS, post(async || pending::<String>().await))
            .route(PANICS, post(panics))
            .route(WATCH, post(async || Body::from_stream(stream::pending::<Result<String, Infallible>>())));
        let router = stack(services, &gate);
        Self { house, gate, stop, router }
    }

    async fn send(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        self.router.clone().oneshot(request).await.expect("infallible")
    }

    async fn call(&self, path: &str, token: &str) -> Result<String, Status> {
        read(self.send(path, &[("authorization", &format!("Bearer {token}"))]).await).await
    }
}

async fn panics() -> String {
    panic!("a bug, as this test wants it")
}

/// What a call came to: its answer, or the status in the headers.
async fn read(response: Response) -> Result<String, Status> {
    if let Some(status) = Status::from_header_map(response.headers()) {
        return Err(status);
    }
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    Ok(String::from_utf8(body.into()).expect("text"))
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("every refusal has an ErrorInfo").reason
}

fn check(found: Result<String, Status>, code: Code, expected_reason: &str, part: &str) {
    let status = found.expect_err(part);
    assert_eq!((status.code(), reason(&status).as_str()), (code, expected_reason), "{}", status.message());
    assert!(status.message().contains(part), "{}", status.message());
}

fn is_refused(found: Result<String, Status>, part: &str) {
    check(found, Code::Unauthenticated, "TOKEN_INVALID", part);
}

#[tokio::test]
async fn a_good_token_says_who_calls() {
    let front = Front::open().await;
    let token = front.house.token();
    for _ in 0..2 {
        assert_eq!(front.call(LIST, &token).await.expect("let through"), "operators/root");
    }
    let lower = format!("bearer {token}");
    assert!(read(front.send(LIST, &[("authorization", &lower)]).await).await.is_ok());
}

#[tokio::test]
async fn no_call_comes_through_without_a_token_of_its_own() {
    let front = Front::open().await;
    let token = front.house.token();
    let bearer = format!("Bearer {token}");
    let send = async |headers: &[(&str, &str)]| read(front.send(LIST, headers).await).await;
    is_refused(send(&[]).await, "missing");
    is_refused(send(&[("authorization", "Basic YTpi")]).await, "not `Bearer");
    is_refused(send(&[("authorization", "Bearer")]).await, "not `Bearer");
    is_refused(send(&[("authorization", &bearer), ("authorization", &bearer)]).await, "two");
    is_refused(front.call(LIST, "a.b.c").await, "malformed");
    is_refused(front.call(LIST, "").await, "malformed");
    is_refused(front.call(LIST, &"x".repeat(1025)).await, "longer");
    is_refused(front.call("/countersign.v1.Nothing/AtAll", "a.b.c").await, "malformed");

    // The middle of the signature: its last character has bits that count for nothing.
    let mut flipped = token.clone().into_bytes();
    let at = flipped.len() - 40;
    flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
    is_refused(front.call(LIST, &String::from_utf8(flipped).expect("ASCII")).await, "signature");
}

#[tokio::test]
async fn a_token_is_for_this_broker_and_this_moment() {
    let front = Front::open().await;
    let audience = broker_audience(&origin());
    let at = |moment: Timestamp| operator().issue(&audience, moment);
    is_refused(front.call(LIST, &operator().issue("brokers/other.example", NOW)).await, "is for");
    is_refused(front.call(LIST, &at(NOW.plus(Duration::from_secs(60)))).await, "still to come");
    is_refused(front.call(LIST, &at(NOW.minus(Duration::from_secs(300)))).await, "expired");

    // What the cache holds is that the signature was good, not that the token is.
    let token = front.house.token();
    assert!(front.call(LIST, &token).await.is_ok());
    front.house.clock.forward(Duration::from_secs(299));
    assert!(front.call(LIST, &token).await.is_ok());
    front.house.clock.forward(Duration::from_secs(1));
    is_refused(front.call(LIST, &token).await, "expired");
}

#[tokio::test]
async fn unknown_principals_and_keys_get_one_answer() {
    let front = Front::open().await;
    let sign = |principal: Principal, secret: u8| {
        Issuer::new(principal, &SigningKey::from_secret(&[secret; 32]))
            .issue(&broker_audience(&origin()), NOW)
    };
    let partner = Principal::Partner(PartnerName::of_id("nobody").expect("an id"));
    is_refused(front.call(LIST, &sign(partner, 1)).await, "not known here");
    is_refused(front.call(LIST, &sign(Principal::Operator(operator_name()), 2)).await, "not known here");
    is_refused(front.call(LIST, &sign(Principal::Broker(origin()), 8)).await, "not known here");
}

#[tokio::test]
async fn a_suspended_partner_is_stopped_at_the_door() {
    let front = Front::open().await;
    let name = PartnerName::of_id("hopp").expect("an id");
    let key = SigningKey::from_secret(&[5; 32]);
    front.house.enter_suspended(&name, &key).await;
    let token = Issuer::new(Principal::Partner(name.clone()), &key).issue(&broker_audience(&origin()), NOW);
    for _ in 0..2 {
        // The second time the signature is remembered.
        let found = front.call(LIST, &token).await;
        check(found, Code::PermissionDenied, "PARTNER_SUSPENDED", "partners/hopp");
    }

    // Who does not hold the key learns neither that it is suspended, nor that it is known, nor which keys it has.
    let stranger = Issuer::new(Principal::Partner(name), &operator_key());
    let of = |issuer: &Issuer| issuer.issue(&broker_audience(&origin()), NOW);
    let nobody = Principal::Partner(PartnerName::of_id("nobody").expect("an id"));
    let (start, signature) = token.rsplit_once('.').expect("three parts");
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{start}.{flipped}{}", &signature[1..]);
    let mut answers = Vec::new();
    for token in [of(&stranger), of(&Issuer::new(nobody, &key)), forged] {
        let status = front.call(LIST, &token).await.expect_err("refused");
        answers.push((status.code(), status.message().to_owned(), status.details().to_vec()));
    }
    assert_eq!(answers[0].0, Code::Unauthenticated);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn health_needs_no_token_and_newcomers_share_a_quota() {
    let one = NonZeroU32::new(1).expect("not zero");
    let front = Front::with(Quotas { newcomers: one, operator: one, ..Quotas::default() }).await;
    assert_eq!(read(front.send(HEALTH, &[]).await).await.expect("let through"), "serving");
    is_refused(read(front.send(ENTER, &[]).await).await, "missing");
    // A second's worth twice over, then no more.
    assert_eq!(front.call(ENTER, "their.own.token").await.expect("let through"), "their.own.token");
    assert!(front.call(ENTER, "another.own.token").await.is_ok());
    let third = front.call(ENTER, "a.third.token").await.expect_err("too many");
    assert_eq!((third.code(), reason(&third).as_str()), (Code::ResourceExhausted, "QUOTA_EXCEEDED"));
    assert!(third.get_details_retry_info().is_some());

    let token = front.house.token();
    assert!(front.call(LIST, &token).await.is_ok());
    assert!(front.call(LIST, &token).await.is_ok());
    check(front.call(LIST, &token).await, Code::ResourceExhausted, "QUOTA_EXCEEDED", "calls a second");
}

#[tokio::test]
async fn a_full_house_turns_away_before_any_work() {
    let front = Front::open().await;
    let all = u32::try_from(limits::MAX_CALLS).expect("fits");
    let everybody = Arc::clone(&front.gate.house).acquire_many_owned(all).await.expect("open");
    let found = read(front.send(LIST, &[]).await).await;
    check(found, Code::Unavailable, "OVERLOADED", "busy");
    drop(everybody);
    assert!(front.call(LIST, &front.house.token()).await.is_ok());
}

#[tokio::test]
async fn one_principal_leaves_room_for_others() {
    let front = Front::open().await;
    let root = Principal::Operator(operator_name());
    let mut held = Vec::new();
    for _ in 0..limits::MAX_CALLS_PER_PRINCIPAL {
        held.push(front.gate.calls.take(root.clone(), limits::MAX_CALLS_PER_PRINCIPAL).expect("free"));
    }
    let token = front.house.token();
    check(front.call(LIST, &token).await, Code::ResourceExhausted, "QUOTA_EXCEEDED", "in progress");
    held.pop();
    assert!(front.call(LIST, &token).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_or_at_ours() {
    let front = Front::open().await;
    let bearer = format!("Bearer {}", front.house.token());
    for (asked, within) in [("250m", Duration::from_millis(250)), ("8H", limits::MAX_DEADLINE)] {
        let began = tokio::time::Instant::now();
        let found = front.send(HANGS, &[("authorization", &bearer), ("grpc-timeout", asked)]).await;
        check(read(found).await, Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "deadline");
        assert!(began.elapsed() >= within && began.elapsed() < within * 2, "{:?}", began.elapsed());
    }
    let wrong = front.send(LIST, &[("authorization", &bearer), ("grpc-timeout", "soon")]).await;
    check(read(wrong).await, Code::InvalidArgument, "FIELD_INVALID", "grpc-timeout");
}

#[tokio::test]
async fn a_panic_ends_its_call_alone() {
    let front = Front::open().await;
    check(front.call(PANICS, &front.house.token()).await, Code::Internal, "INTERNAL", "internal");
    assert_eq!(front.gate.in_progress(), 0);
    assert!(front.call(LIST, &front.house.token()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stream_outlives_the_deadline_and_ends_with_the_broker() {
    let front = Front::open().await;
    let bearer = format!("Bearer {}", front.house.token());
    let mut streams = Vec::new();
    for _ in 0..limits::MAX_STREAMS_PER_PRINCIPAL {
        streams.push(front.send(WATCH, &[("authorization", &bearer)]).await);
    }
    let one_more = read(front.send(WATCH, &[("authorization", &bearer)]).await).await;
    check(one_more, Code::ResourceExhausted, "QUOTA_EXCEEDED", "streams");
    assert_eq!(front.gate.in_progress(), 0, "a stream takes no place of a call");

    let stream = streams.pop().expect("one of them").into_body();
    let ending = tokio::spawn(stream.collect());
    tokio::time::advance(limits::MAX_DEADLINE * 2).await;
    assert!(!ending.is_finished());
    front.stop.cancel();
    let ended = ending.await.expect("no panic").expect("no error");
    let status = Status::from_header_map(ended.trailers().expect("trailers")).expect("a status");
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_only_where_its_reader_can_be_asked_whether_it_is_there() {
    let front = Front::open().await;
    let bearer = format!("Bearer {}", front.house.token());
    let open = async |version: Version| {
        let request = Request::post(WATCH).version(version).header("authorization", &bearer);
        let request = request.body(Body::empty()).expect("a request");
        front.router.clone().oneshot(request).await.expect("infallible").into_body()
    };
    let first = tokio::spawn(open(Version::HTTP_11).await.collect());
    let second = tokio::spawn(open(Version::HTTP_2).await.collect());
    tokio::time::sleep(limits::STREAM_OVER_HTTP1.saturating_sub(Duration::from_secs(1))).await;
    assert!(!first.is_finished());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ended = first.await.expect("no panic").expect("no error");
    let status = Status::from_header_map(ended.trailers().expect("trailers")).expect("a status");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "OVERLOADED"));
    assert!(!second.is_finished());
}
