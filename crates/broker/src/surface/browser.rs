//! What a browser needs to call the API: gRPC-Web, and leave for pages of other addresses.
//!
//! A browser can't read trailers, so gRPC-Web puts them into the body; behind that it is the same call, through the same
//! stack. Which pages may call, the browser enforces by what is answered here (CORS, in the Fetch standard): pages that
//! came from this very address, and those of the origins that the operator named. Nothing rests on that for the broker's
//! own sake, since every call carries its token and no cookie; it keeps a page that got hold of a token from using it.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
            CONTENT_TYPE, HOST, ORIGIN, VARY,
        },
    },
    response::{IntoResponse as _, Response},
};
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _};

use crate::{Fault, stack::refusal};

/// The content types that are served. `application/grpc-web-text` is for browsers that can't read bytes as they come,
/// which none of today's is.
const SERVED: [&str; 2] = ["application/grpc-web", "application/grpc-web+proto"];

/// What a page may send.
const MAY_SEND: &str = "authorization, content-type, grpc-timeout, x-grpc-web, x-user-agent";

/// What a page may read of an answer: a refusal stands in the headers.
const MAY_READ: &str = "grpc-status, grpc-message, grpc-status-details-bin";

/// How many seconds a browser may remember its leave: two hours, the longest that Chromium does.
const LEAVE_SECONDS: &str = "7200";

/// The origin of pages that may call: `https://app.example`, or `http` on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageOrigin(HeaderValue);

/// Why a text is no origin of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an origin as browsers write it: `https://`, the host in lower case, and its port unless that is 443; `http://` only for localhost, 127.0.0.1 and [::1]; nothing after that, not even a `/`"
)]
pub struct NotAPageOrigin;

impl PageOrigin {
    /// Reads an origin exactly as a browser would write it, since that is what it is compared with.
    pub fn parse(text: &str) -> Result<Self, NotAPageOrigin> {
        let uri: Uri = text.parse().map_err(|_| NotAPageOrigin)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(NotAPageOrigin);
        };
        let local = matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]");
        let default_port = match scheme {
            "https" => 443,
            "http" if local => 80,
            _ => return Err(NotAPageOrigin),
        };
        let port = match authority.port_u16() {
            Some(port) if port == default_port => return Err(NotAPageOrigin),
            Some(port) => format!(":{port}"),
            None => String::new(),
        };
        let host = authority.host().to_lowercase();
        let written = format!("{scheme}://{host}{port}");
        let value = HeaderValue::from_str(&written).map_err(|_| NotAPageOrigin)?;
        if written == text && host != "*" { Ok(Self(value)) } else { Err(NotAPageOrigin) }
    }

    /// As a browser writes it.
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("it was read from text, and its characters are those of a host and a port")
    }
}

/// Which pages may call on a listener.
#[derive(Clone)]
pub(super) struct Browsers(Arc<[PageOrigin]>);

/// Whose page sends a request.
enum Page {
    /// No browser's, or one that came from this address: nothing has to be said.
    Own,
    /// One of an origin that may call.
    Named(HeaderValue),
}

impl Browsers {
    pub(super) fn of(origins: &[PageOrigin]) -> Self {
        Self(origins.into())
    }

    /// Whether a browser asks on behalf of a page, before it sends the request itself.
    pub(super) fn asks_leave(request: &Request) -> bool {
        let headers = request.headers();
        request.method() == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The answer to that. The same for every path: which methods there are is no secret, and a call of one that isn't
    /// there is answered as such.
    pub(super) fn leave(&self, request: &Request) -> Response {
        let mut response = match self.page(request) {
            Ok(Page::Own) => StatusCode::NO_CONTENT.into_response(),
            Ok(Page::Named(origin)) => {
                let given = [
                    (ACCESS_CONTROL_ALLOW_ORIGIN, origin),
                    (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST")),
                    (ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(MAY_SEND)),
                    (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(LEAVE_SECONDS)),
                ];
                (StatusCode::NO_CONTENT, given).into_response()
            }
            Err(fault) => (StatusCode::FORBIDDEN, format!("{}: {fault}\n", fault.reason())).into_response(),
        };
        response.headers_mut().insert(VARY, HeaderValue::from_static("origin"));
        response
    }

    /// Has `api` answer a call in gRPC-Web.
    pub(super) async fn call(&self, api: Router, request: Request) -> Response {
        let page = match self.page(&request) {
            Ok(page) => page,
            Err(fault) => return as_web(refusal(fault)),
        };
        let mut response = if is_served(request.headers()) {
            match GrpcWebLayer::new().layer(api).oneshot(request).await {
                Ok(response) => response.map(Body::new),
                Err(never) => match never {},
            }
        } else {
            let served = SERVED.join(" and ");
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("gRPC-Web is served as {served}\n")).into_response()
        };
        if let Page::Named(origin) = page {
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(MAY_READ));
            headers.insert(VARY, HeaderValue::from_static("origin"));
        }
        response
    }

    fn page(&self, request: &Request) -> Result<Page, Fault> {
        let Some(origin) = request.headers().get(ORIGIN) else { return Ok(Page::Own) };
        if self.0.iter().any(|named| named.0 == *origin) {
            return Ok(Page::Named(origin.clone()));
        }
        // The scheme is not compared: what terminates TLS before this listener may be a proxy.
        let own = authority(request);
        if own.is_some_and(|own| after_scheme(origin) == Some(own)) {
            return Ok(Page::Own);
        }
        Err(Fault::OriginNotAllowed { origin: String::from_utf8_lossy(origin.as_bytes()).into_owned() })
    }
}

/// What the request was sent to: host and port. HTTP/2 says it in the request's own address.
fn authority(request: &Request) -> Option<&[u8]> {
    let own = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    own.or_else(|| request.headers().get(HOST).map(HeaderValue::as_bytes))
}

/// Host and port of an origin.
fn after_scheme(origin: &HeaderValue) -> Option<&[u8]> {
    let origin = origin.as_bytes();
    origin.strip_prefix(b"https://").or_else(|| origin.strip_prefix(b"http://"))
}

fn is_served(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| SERVED.iter().any(|served| value == served))
}

/// A refusal of the stack's, as gRPC-Web: its status stands in the headers, so only the content type differs.
fn as_web(mut response: Response) -> Response {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(SERVED[1]));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for good in [
            "https://app.example",
            "https://app.example:8443",
            "http://localhost:5173",
            "http://127.0.0.1:7443",
            "http://[::1]:7443",
        ] {
            assert!(PageOrigin::parse(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "*",
            "null",
            "https://*",
            "https://app.example/",
            "https://app.example:443",
            "https://App.example",
            "https://user@app.example",
            "http://app.example",
            "http://localhost:80",
            "app.example",
            "ftp://app.example",
            "https://",
            "https://app.example?x",
        ] {
            assert_eq!(PageOrigin::parse(wrong), Err(NotAPageOrigin), "{wrong}");
        }
    }
}
