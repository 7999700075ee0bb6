//! The ports, from outside.

mod browsers;

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, body::Body, http::HeaderMap, routing::post};
use countersign_grants::{
    id::{AuditorName, Principal},
    key::SigningKey,
    token::{Issuer, broker_audience},
};
use countersign_proto::{log::v1::Kind, row::v1::PrincipalRow};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Certificate, Channel, ClientTlsConfig},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{BindError, Ended, Listener, Options, Surface, api::Api, serve, serve_api, tls};
use crate::{
    record::Happening,
    rows,
    service::Services,
    stack::{
        Gate, Quotas,
        testing::{House, NOW, ORIGIN, origin},
    },
    work::Work,
};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const PUBLIC: [Surface; 2] = [Surface::Api, Surface::Log];

/// A broker that is served.
struct Served {
    house: House,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<Ended>,
}

impl Served {
    async fn on(surfaces: &[Surface]) -> Self {
        Self::with(Listener::bind(LOOPBACK, surfaces, None).await.expect("binds")).await
    }

    async fn with(listener: Listener) -> Self {
        Self::as_told(listener, Options::default()).await
    }

    async fn as_told(listener: Listener, options: Options) -> Self {
        let (house, address, stop) = (House::open().await, listener.address(), CancellationToken::new());
        let options = Options { metrics: Some(super::recorder().handle()), ..options };
        let serving = tokio::spawn(serve(Arc::clone(&house.broker), vec![listener], options, stop.clone()));
        Self { house, address, stop, serving }
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        get(TcpStream::connect(self.address).await.expect("connects"), path, headers).await
    }

    async fn end(self) {
        self.stop.cancel();
        assert_eq!(self.serving.await.expect("no panic"), Ended::Stopped);
        assert!(!self.house.broker.ledger().is_available(), "the log is shut down");
        assert!(TcpStream::connect(self.address).await.is_err(), "the port is closed");
    }
}

/// One HTTP/1.1 request, written by hand.
async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: broker\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("receives");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn health(channel: Channel) -> Result<ServingStatus, tonic::Status> {
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await?;
    Ok(answer.into_inner().status())
}

async fn plain(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).expect("a URL").connect().await.expect("connects")
}

#[tokio::test]
async fn a_log_that_takes_nothing_ends_the_serving() {
    let served = Served::on(&PUBLIC).await;
    assert_eq!(health(plain(served.address).await).await.expect("answers"), ServingStatus::Serving);
    served.house.broker.ledger().shutdown().await;
    assert_eq!(served.serving.await.expect("no panic"), Ended::LogUnavailable);
    assert!(served.stop.is_cancelled(), "streams end too");
    assert!(TcpStream::connect(served.address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn one_port_speaks_grpc_and_http_1() {
    let served = Served::on(&PUBLIC).await;
    assert_eq!(health(plain(served.address).await).await.expect("answers"), ServingStatus::Serving);
    let checkpoint = served.get("/checkpoint", "").await;
    assert!(checkpoint.starts_with("HTTP/1.1 200 OK\r\n"), "{checkpoint}");
    assert!(checkpoint.contains("content-type: text/plain; charset=utf-8\r\n"), "{checkpoint}");
    assert!(checkpoint.contains(&format!("\r\n\r\n{ORIGIN}\n1\n")), "{checkpoint}");
    let tile = served.get("/tile/0/000.p/1", "").await;
    assert!(tile.starts_with("HTTP/1.1 200 OK\r\n") && tile.contains("immutable\r\n"), "{tile}");
    served.end().await;
}

#[tokio::test]
async fn what_is_no_file_of_the_log_is_not_there() {
    let served = Served::on(&PUBLIC).await;
    for path in [
        "/",
        "/checkpoint/",
        "/tile/0/000",
        "/tile/00/000.p/1",
        "/tile/0/000.p/01",
        "/tile/64/000",
        "/tile/0/../0/000",
        "/tile/%30/000.p/1",
        "/tile/0/000.p/1/",
        "//checkpoint",
        "/MANIFEST",
        "/tile/entries",
        "/metrics",
        "/health",
    ] {
        let answer = served.get(path, "").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    served.end().await;
}

#[tokio::test]
async fn entries_are_for_auditors_alone() {
    let served = Served::on(&PUBLIC).await;
    let bundle = "/tile/entries/000.p/1";
    let refused = served.get(bundle, "").await;
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("TOKEN_INVALID"), "{refused}");
    let operator = format!("authorization: Bearer {}\r\n", served.house.token());
    let refused = served.get(bundle, &operator).await;
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("an auditor"), "{refused}");

    let key = SigningKey::from_secret(&[5; 32]);
    let name = AuditorName::of_id("ministry").expect("an id");
    let row = PrincipalRow {
        name: name.to_string(),
        public_key: key.public().as_bytes().to_vec().into(),
        ..PrincipalRow::default()
    };
    let mut work = Work::default();
    work.create(&rows::auditor(&name), &row).expect("a row");
    let broker = &served.house.broker;
    work.record(broker.draft(Happening { kind: Kind::AuditorCreated, ..Happening::default() }));
    broker.enter(work).await.expect("the log takes it").expect("no conflict");
    let token = Issuer::new(Principal::Auditor(name), &key).issue(&broker_audience(&origin()), NOW);
    let auditor = format!("authorization: Bearer {token}\r\n");
    let entries = served.get(bundle, &auditor).await;
    assert!(entries.starts_with("HTTP/1.1 200 OK") && entries.contains("private, "), "{entries}");
    assert_eq!(served.house.broker.ledger().latest().size(), 3, "the read is a record");
    assert!(served.get("/tile/entries/001", &auditor).await.starts_with("HTTP/1.1 404"));
    served.end().await;
}

#[tokio::test]
async fn the_admin_surface_tells_health_and_metrics_and_no_more() {
    let served = Served::on(&[Surface::Admin]).await;
    assert!(served.get("/health", "").await.ends_with("\r\n\r\nserving\n"));
    let detail = served.get("/health/detail", "").await;
    assert!(detail.contains(r#""published_size":1"#) && detail.contains(ORIGIN), "{detail}");
    assert!(served.get("/metrics", "").await.starts_with("HTTP/1.1 200 OK"));
    assert!(served.get("/checkpoint", "").await.starts_with("HTTP/1.1 404"));
    let found = health(plain(served.address).await).await.expect_err("no API here");
    assert_eq!(found.code(), tonic::Code::Unimplemented);
    served.end().await;
}

#[tokio::test]
async fn without_tls_only_loopback_is_served() {
    let everywhere = "0.0.0.0:0".parse().expect("an address");
    let refused = Listener::bind(everywhere, &PUBLIC, None).await.err().expect("refused");
    assert!(matches!(refused, BindError::NeedsTls { .. }), "{refused}");
    let (server, _) = certificates();
    let bound = Listener::bind(everywhere, &PUBLIC, Some(server)).await.expect("with TLS it is");
    assert!(bound.to_string().starts_with("https://0.0.0.0:") && bound.to_string().ends_with(" (api, log)"));
    assert!(matches!(Listener::bind(LOOPBACK, &[], None).await, Err(BindError::NoSurface { .. })));
}

/// An authority, and a listener's configuration under it.
fn certificates() -> (Arc<tokio_rustls::rustls::ServerConfig>, rcgen::Certificate) {
    let mut authority = CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(authority, authority_key).expect("signs");
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let server = server.signed_by(&key, &authority).expect("signs");
    let config =
        tls::server_config(server.pem().as_bytes(), key.serialize_pem().as_bytes()).expect("they fit");
    (config, authority.as_ref().clone())
}

#[tokio::test]
async fn one_port_speaks_both_protocols_over_tls() {
    let (config, authority) = certificates();
    let served = Served::with(Listener::bind(LOOPBACK, &PUBLIC, Some(config)).await.expect("binds")).await;

    let trust = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.pem()))
        .domain_name("localhost");
    let url = format!("https://{}", served.address);
    let endpoint = Channel::from_shared(url).expect("a URL").tls_config(trust).expect("a configuration");
    let channel = endpoint.connect().await.expect("connects");
    assert_eq!(health(channel).await.expect("answers"), ServingStatus::Serving);

    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("an authority");
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(served.address).await.expect("connects");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    let checkpoint = get(stream, "/checkpoint", "").await;
    assert!(checkpoint.starts_with("HTTP/1.1 200 OK\r\n"), "{checkpoint}");
    served.end().await;
}

#[test]
fn a_certificate_and_a_key_that_do_not_belong_together_are_refused() {
    let key = || KeyPair::generate().expect("a key");
    let (one, other) = (key(), key());
    let certificate =
        CertificateParams::new(["localhost".to_owned()]).expect("a name").self_signed(&one).expect("signs");
    let (chain, other) = (certificate.pem(), other.serialize_pem());
    assert!(matches!(
        tls::server_config(chain.as_bytes(), other.as_bytes()),
        Err(tls::TlsError::Unusable(_))
    ));
    assert!(matches!(tls::server_config(b"", other.as_bytes()), Err(tls::TlsError::NoCertificate)));
    assert!(matches!(tls::server_config(chain.as_bytes(), b"nothing"), Err(tls::TlsError::Key(_))));
}

#[tokio::test]
async fn a_call_in_flight_finishes_while_the_port_is_closed() {
    let (entered, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (entered, released) = (Arc::clone(&entered), Arc::clone(&released));
        async move || {
            entered.notify_one();
            released.notified().await;
            // An empty message, which is `UNKNOWN` as a health status, and the end.
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().expect("a value"));
            let message = Body::new(http_body_util::Full::from(vec![0_u8; 5]));
            let body = http_body_util::BodyExt::with_trailers(message, async { Some(Ok(trailers)) });
            ([("content-type", "application/grpc")], Body::new(body))
        }
    };
    let (health_reporter, _) = tonic_health::server::health_reporter();
    let router = Router::new().route("/grpc.health.v1.Health/Check", post(handler));
    let (house, stop) = (House::open().await, CancellationToken::new());
    let gate = Gate::new(Arc::clone(&house.broker), Quotas::default(), stop.clone());
    let api = Api::of(Services { routes: Routes::from(router), health: health_reporter }, &gate);
    let listener = Listener::bind(LOOPBACK, &[Surface::Api], None).await.expect("binds");
    let address = listener.address();
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move { serve_api(&gate, &api, vec![listener], &Options::default(), stop).await }
    });

    let call = tokio::spawn(health(plain(address).await));
    entered.notified().await;
    stop.cancel();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!serving.is_finished(), "it waits for the call");
    released.notify_one();
    assert_eq!(call.await.expect("no panic").expect("answered"), ServingStatus::Unknown);
    assert_eq!(serving.await.expect("no panic"), Ended::Stopped);
}
