//! What a browser sends, and what it gets: gRPC-Web over both protocols, leave for pages of other addresses, the files of
//! the app. Requests are written by hand, as a page's script and its browser write them.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use bytes::{BufMut as _, Bytes, BytesMut};
use countersign_proto::v1::{GetCatalogueRequest, ListCataloguesRequest, ListCataloguesResponse};
use http_body_util::BodyExt as _;
use prost::Message;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckResponse;
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::surface::{PageOrigin, WebApp, WebFile};

const LIST: &str = "/countersign.v1.CatalogueService/ListCatalogues";
const GET: &str = "/countersign.v1.CatalogueService/GetCatalogue";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const APP: &str = "https://app.example";

/// The first bit of a frame that holds trailers.
const TRAILERS: u8 = 0x80;

async fn served() -> Served {
    let listener = Listener::bind(LOOPBACK, &[Surface::Api, Surface::Web], None).await.expect("binds");
    let files = [
        WebFile { path: "index.html", bytes: "<!doctype html>".into(), brotli: Some("packed".into()) },
        WebFile { path: "assets/app-1.js", bytes: "script".into(), brotli: None },
    ];
    let api = PageOrigin::parse("https://api.example").expect("an origin");
    let options = Options {
        page_origins: vec![PageOrigin::parse(APP).expect("an origin")],
        web: Some(WebApp::new(files, "{}\n".to_owned(), Some(&api))),
        ..Options::default()
    };
    Served::as_told(listener, options).await
}

/// An answer: head and body.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// What the call came to: its messages, or why there are none.
    fn call<M: Message + Default>(mut self) -> Result<Vec<M>, Status> {
        assert_eq!(self.status, 200);
        assert_eq!(self.header("content-type"), "application/grpc-web+proto");
        if let Some(status) = Status::from_header_map(&self.headers) {
            assert!(self.body.is_empty(), "a status in the headers is all there is");
            return Err(status);
        }
        let mut messages = Vec::new();
        loop {
            let head = self.body.split_to(5);
            let length = u32::from_be_bytes(head[1..].try_into().expect("four bytes")) as usize;
            let frame = self.body.split_to(length);
            if head[0] != TRAILERS {
                messages.push(M::decode(frame).expect("a message"));
                continue;
            }
            assert!(self.body.is_empty(), "nothing follows the trailers");
            let mut trailers = HeaderMap::new();
            for line in std::str::from_utf8(&frame).expect("text").lines() {
                let (name, value) = line.split_once(':').expect("a line of a header");
                let name: HeaderName = name.parse().expect("a name");
                trailers.append(name, HeaderValue::from_str(value.trim()).expect("a value"));
            }
            let status = Status::from_header_map(&trailers).expect("the last word");
            return if status.code() == Code::Ok { Ok(messages) } else { Err(status) };
        }
    }
}

/// A message as gRPC frames it.
fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).expect("a short message"));
    message.encode(&mut bytes).expect("there is room");
    bytes.freeze()
}

/// One request over HTTP/1.1.
async fn http1(served: &Served, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(served.address).await.expect("connects");
    let mut lines = vec![
        format!("{method} {path} HTTP/1.1"),
        format!("host: {}", served.address),
        "connection: close".to_owned(),
        format!("content-length: {}", body.len()),
    ];
    lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
    let head = lines.join("\r\n") + "\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sends");
    // The answer to what is too much may come, and the connection end, before all of it is sent.
    stream.write_all(body).await.ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    parse(&answer)
}

/// An answer's bytes: its head, and its body, which HTTP/1.1 may have sent in chunks.
fn parse(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
    let mut lines = std::str::from_utf8(&answer[..end]).expect("text").split("\r\n");
    let status = lines.next().expect("a status line")[9..12].parse().expect("a status");
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        headers.append(name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"));
    }
    let mut rest = &answer[end + 4..];
    if !headers.contains_key("transfer-encoding") {
        return Answer { status, headers, body: Bytes::copy_from_slice(rest) };
    }
    let mut body = BytesMut::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").expect("the length of a chunk");
        let length = std::str::from_utf8(&rest[..line]).expect("text");
        let length = usize::from_str_radix(length, 16).expect("a length");
        if length == 0 {
            return Answer { status, headers, body: body.freeze() };
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 2 + length + 2..];
    }
}

/// A call over HTTP/1.1, as the app's page makes it.
async fn call(served: &Served, path: &str, headers: &[(&str, &str)], message: &impl Message) -> Answer {
    let spoken = [("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1")];
    http1(served, "POST", path, &[&spoken, headers].concat(), &framed(message)).await
}

fn bearer(served: &Served) -> String {
    format!("Bearer {}", served.house.token())
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("every refusal has an ErrorInfo").reason
}

#[tokio::test]
async fn a_call_is_answered_over_both_protocols() {
    let served = served().await;
    let token = bearer(&served);
    let answer = call(&served, LIST, &[("authorization", &token)], &ListCataloguesRequest::default()).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"), "no page asked");
    let over_http1 = answer.call::<ListCataloguesResponse>().expect("answered");
    assert_eq!(over_http1.len(), 1);
    assert!(!over_http1[0].catalogues.is_empty());

    let request = Request::post(LIST)
        .header("content-type", "application/grpc-web+proto")
        .header("authorization", &token)
        .header("origin", APP)
        .body(tonic::body::Body::new(http_body_util::Full::new(framed(&ListCataloguesRequest::default()))));
    let response = plain(served.address).await.oneshot(request.expect("a request")).await.expect("answered");
    assert_eq!(response.version(), axum::http::Version::HTTP_2);
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let answer = Answer { status: head.status.as_u16(), headers: head.headers, body };
    assert_eq!(answer.header("access-control-allow-origin"), APP);
    assert_eq!(answer.call::<ListCataloguesResponse>().expect("answered"), over_http1);
    served.end().await;
}

#[tokio::test]
async fn a_refusal_comes_with_its_details() {
    let served = served().await;
    let message = GetCatalogueRequest { name: "catalogues/none".to_owned() };
    let nobody = call(&served, GET, &[("origin", APP)], &message).await;
    for header in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        assert!(nobody.headers.contains_key(header), "{header}");
        assert!(nobody.header("access-control-expose-headers").contains(header), "a page may read {header}");
    }
    let refused = nobody.call::<HealthCheckResponse>().expect_err("without a token");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unauthenticated, "TOKEN_INVALID"));

    let token = bearer(&served);
    let refused = call(&served, GET, &[("authorization", &token)], &message).await;
    let refused = refused.call::<HealthCheckResponse>().expect_err("there is none");
    assert_eq!(reason(&refused), "FIELD_INVALID");
    let violations = refused.get_details_bad_request().expect("names the field").field_violations;
    assert_eq!(violations[0].field, "name");
    served.end().await;
}

#[tokio::test]
async fn a_stream_comes_as_it_is_made_and_ends_with_the_broker() {
    let served = served().await;
    let mut stream = TcpStream::connect(served.address).await.expect("connects");
    let message = framed(&HealthCheckRequest::default());
    let head = format!(
        "POST {WATCH} HTTP/1.1\r\nhost: broker\r\ncontent-type: application/grpc-web+proto\r\ncontent-length: {}\r\n\r\n",
        message.len()
    );
    stream.write_all(&[head.as_bytes(), &message].concat()).await.expect("sends");
    let mut received = Vec::new();
    // Until the first message is here, whole: `SERVING` is the two bytes 8 and 1.
    while !received.windows(7).any(|bytes| bytes == [0, 0, 0, 0, 2, 8, 1]) {
        assert_ne!(stream.read_buf(&mut received).await.expect("receives"), 0, "it goes on");
    }
    served.stop.cancel();
    stream.read_to_end(&mut received).await.expect("ends in order");
    let ended = parse(&received).call::<HealthCheckResponse>().expect_err("come again");
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Unavailable, "OVERLOADED"));
    served.end().await;
}

#[tokio::test]
async fn only_pages_of_named_origins_may_call() {
    let served = served().await;
    let token = bearer(&served);
    let own = format!("http://{}", served.address);
    let asked = ListCataloguesRequest::default();
    for origin in [APP, &own] {
        let answer = call(&served, LIST, &[("authorization", &token), ("origin", origin)], &asked).await;
        assert_eq!(answer.header("access-control-allow-origin"), if origin == APP { APP } else { "" });
        answer.call::<ListCataloguesResponse>().expect("it may");
    }
    for origin in ["https://other.example", "https://app.example.evil.example", "http://app.example", "null"]
    {
        let answer = call(&served, LIST, &[("authorization", &token), ("origin", origin)], &asked).await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}");
        let refused = answer.call::<ListCataloguesResponse>().expect_err("it may not");
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::PermissionDenied, "ORIGIN_NOT_ALLOWED")
        );
        let info = refused.get_details_error_info().expect("has one");
        assert_eq!(info.metadata.get("origin").map(String::as_str), Some(origin));
    }
    served.end().await;
}

#[tokio::test]
async fn a_browser_is_told_before_it_calls_who_may() {
    let served = served().await;
    let ask = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type,x-grpc-web"),
        ];
        http1(&served, "OPTIONS", LIST, &headers, b"").await
    };
    let given = ask(APP).await;
    assert_eq!(given.status, 204);
    assert_eq!(given.header("access-control-allow-origin"), APP);
    assert_eq!(given.header("access-control-allow-methods"), "POST");
    assert_eq!(given.header("vary"), "origin");
    for header in ["authorization", "content-type", "grpc-timeout", "x-grpc-web"] {
        assert!(given.header("access-control-allow-headers").contains(header), "{header}");
    }
    assert!(!given.headers.contains_key("access-control-allow-credentials"), "there are no cookies");
    let refused = ask("https://other.example").await;
    assert_eq!(refused.status, 403);
    assert!(!refused.headers.contains_key("access-control-allow-origin"));
    assert!(refused.body.starts_with(b"ORIGIN_NOT_ALLOWED: pages of `https://other.example`"));
    served.end().await;
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused() {
    let served = served().await;
    let token = bearer(&served);
    let large = GetCatalogueRequest { name: "x".repeat(crate::service::MAX_REQUEST_BYTES + 1) };
    let refused = call(&served, GET, &[("authorization", &token)], &large).await;
    let refused = refused.call::<HealthCheckResponse>().expect_err("too large");
    assert_eq!(refused.code(), Code::OutOfRange, "{}", refused.message());
    served.end().await;
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let hangs = Router::new().route(GET, post(async || std::future::pending::<String>().await));
    let (health, _) = tonic_health::server::health_reporter();
    let (house, stop) = (House::open().await, CancellationToken::new());
    let gate = Gate::new(Arc::clone(&house.broker), Quotas::default(), stop.clone());
    let api = Api::of(Services { routes: Routes::from(hangs), health }, &gate);
    let listener = Listener::bind(LOOPBACK, &[Surface::Api], None).await.expect("binds");
    let address = listener.address();
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move { serve_api(&gate, &api, vec![listener], &Options::default(), stop).await }
    });
    let served = Served { house, address, stop, serving };
    let token = bearer(&served);
    let headers = [("authorization", token.as_str()), ("grpc-timeout", "20m")];
    let ended = call(&served, GET, &headers, &GetCatalogueRequest::default()).await;
    let ended = ended.call::<HealthCheckResponse>().expect_err("it hangs");
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    served.stop.cancel();
    assert_eq!(served.serving.await.expect("no panic"), Ended::Stopped);
}

#[tokio::test]
async fn what_is_no_call_in_grpc_web_is_told_so() {
    let served = served().await;
    for wrong in ["application/grpc-web-text", "application/grpc-web+json"] {
        let answer = http1(&served, "POST", LIST, &[("content-type", wrong)], b"").await;
        assert_eq!(answer.status, 415, "{wrong}");
        assert!(answer.body.starts_with(b"gRPC-Web is served as application/grpc-web"), "{wrong}");
    }
    let get = http1(&served, "GET", LIST, &[("content-type", "application/grpc-web")], b"").await;
    assert_eq!(get.status, 405);
    served.end().await;
}

#[tokio::test]
async fn the_files_of_the_app_are_served_under_its_policy() {
    let served = served().await;
    let plain = http1(&served, "GET", "/", &[("accept-encoding", "gzip, br;q=0")], b"").await;
    assert_eq!((plain.status, plain.body.as_ref()), (200, b"<!doctype html>".as_slice()));
    assert_eq!(plain.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(plain.header("cache-control"), "no-cache");
    let packed = http1(&served, "GET", "/index.html", &[("accept-encoding", "gzip, deflate, br")], b"").await;
    assert_eq!((packed.header("content-encoding"), packed.body.as_ref()), ("br", b"packed".as_slice()));
    assert_eq!(packed.header("vary"), "accept-encoding");
    assert_ne!(packed.header("etag"), plain.header("etag"));
    let again = http1(&served, "GET", "/", &[("if-none-match", plain.header("etag"))], b"").await;
    assert_eq!((again.status, again.body.len()), (304, 0));

    let script = http1(&served, "GET", "/assets/app-1.js", &[], b"").await;
    assert_eq!(script.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    let broker = http1(&served, "GET", "/broker.json", &[], b"").await;
    assert_eq!((broker.header("cache-control"), broker.body.as_ref()), ("no-cache", b"{}\n".as_slice()));

    for answer in [&plain, &packed, &again, &script, &broker] {
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self';",
            "connect-src 'self' https://api.example;",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{part}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(name), value);
        }
    }
    for path in ["/assets/", "/assets/app-2.js", "/assets/../index.html", "//index.html", "/index.html/"] {
        assert_eq!(http1(&served, "GET", path, &[], b"").await.status, 404, "{path}");
    }
    served.end().await;
}
