//! Which surface a request is for.

use std::sync::Arc;

use axum::{Router, body::Body, extract::Request, http::header::CONTENT_TYPE, response::Response};
use metrics_exporter_prometheus::PrometheusHandle;
use tower::ServiceExt as _;

use super::{Surface, admin, api::Api, log};
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
    pages: Router,
}

impl Doors {
    pub(super) fn new(
        surfaces: &[Surface],
        gate: &Arc<Gate>,
        api: &Api,
        metrics: Option<&PrometheusHandle>,
    ) -> Self {
        let mut doors = Self { grpc: Api::nothing(), pages: Router::new() };
        for surface in surfaces {
            match surface {
                Surface::Api => doors.grpc = api.router(),
                Surface::Log => doors.pages = doors.pages.merge(log::pages(gate)),
                Surface::Admin => doors.pages = doors.pages.merge(admin::pages(gate, metrics)),
            }
        }
        doors
    }

    pub(super) async fn answer(self, request: Request) -> Response {
        let router = if is_grpc(&request) { self.grpc } else { self.pages };
        match router.oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        }
    }
}

fn is_grpc(request: &Request) -> bool {
    let Some(rest) =
        request.headers().get(CONTENT_TYPE).and_then(|value| value.as_bytes().strip_prefix(GRPC.as_bytes()))
    else {
        return false;
    };
    // `application/grpc-web` is another protocol.
    matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, expected: bool) {
        let request =
            Request::builder().header(CONTENT_TYPE, content_type).body(Body::empty()).expect("a request");
        assert_eq!(is_grpc(&request), expected, "{content_type}");
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        check("application/grpc", true);
        check("application/grpc+proto", true);
        check("application/grpc; charset=utf-8", true);
        check("application/grpc-web", false);
        check("application/grpc-web+proto", false);
        check("application/json", false);
        assert!(!is_grpc(&Request::new(Body::empty())));
    }
}
