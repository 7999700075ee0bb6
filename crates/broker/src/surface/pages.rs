//! Which surface a request is for.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, header::CONTENT_TYPE},
    response::Response,
};
use tower::ServiceExt as _;

use super::{Options, Surface, admin, api::Api, browser::Browsers, log};
use crate::stack::Gate;

/// The content type of gRPC, alone or with the name of an encoding after a `+`.
const GRPC: &str = "application/grpc";

/// What a listener leads to.
///
/// gRPC is told apart by its content type, not by its path: any path may be a method, and an unknown one must be
/// answered in gRPC's own way.
#[derive(Clone)]
pub(super) struct Doors {
    grpc: Router,
    browsers: Browsers,
    pages: Router,
}

/// What a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Grpc,
    GrpcWeb,
    /// Whatever is no call.
    Http,
}

impl Doors {
    pub(super) fn new(surfaces: &[Surface], gate: &Arc<Gate>, api: &Api, options: &Options) -> Self {
        let browsers = Browsers::of(&options.page_origins);
        let mut doors = Self { grpc: Api::nothing(), browsers, pages: Router::new() };
        for surface in surfaces {
            match surface {
                Surface::Api => doors.grpc = api.router(),
                Surface::Web => {
                    if let Some(web) = &options.web {
                        doors.pages = doors.pages.merge(web.pages());
                    }
                }
                Surface::Log => doors.pages = doors.pages.merge(log::pages(gate)),
                Surface::Admin => {
                    doors.pages = doors.pages.merge(admin::pages(gate, options.metrics.as_ref()));
                }
            }
        }
        doors
    }

    pub(super) async fn answer(self, request: Request) -> Response {
        let router = match Speaks::of(&request) {
            Speaks::Grpc => self.grpc,
            Speaks::GrpcWeb => return self.browsers.call(self.grpc, request).await,
            Speaks::Http if Browsers::asks_leave(&request) => return self.browsers.leave(&request),
            Speaks::Http => self.pages,
        };
        match router.oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        }
    }
}

impl Speaks {
    fn of(request: &Request) -> Self {
        let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let Some(rest) = content_type.and_then(|value| value.strip_prefix(GRPC.as_bytes())) else {
            return Self::Http;
        };
        match rest.first() {
            None | Some(b'+' | b';' | b' ') => Self::Grpc,
            // `application/grpc-web` is another protocol.
            _ if rest.starts_with(b"-web") => Self::GrpcWeb,
            _ => Self::Http,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, expected: Speaks) {
        let request =
            Request::builder().header(CONTENT_TYPE, content_type).body(Body::empty()).expect("a request");
        assert_eq!(Speaks::of(&request), expected, "{content_type}");
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        check("application/grpc", Speaks::Grpc);
        check("application/grpc+proto", Speaks::Grpc);
        check("application/grpc; charset=utf-8", Speaks::Grpc);
        check("application/grpc-web", Speaks::GrpcWeb);
        check("application/grpc-web+proto", Speaks::GrpcWeb);
        check("application/grpc-web-text", Speaks::GrpcWeb);
        check("application/grpcx", Speaks::Http);
        check("application/json", Speaks::Http);
        assert_eq!(Speaks::of(&Request::new(Body::empty())), Speaks::Http);
    }
}
