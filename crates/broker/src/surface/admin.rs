//! What the operator looks at. It tells volumes, so it stands on a port of its own.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use serde_json::json;

use crate::stack::Gate;

/// The buckets of `countersign_call_seconds`: from a read that is answered from memory to the longest call, each some
/// two to three times the one before.
pub const CALL_SECONDS_BUCKETS: [f64; 12] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The type of the metrics page, by the Prometheus text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What keeps the metrics of a process. Whoever runs the process installs it, once; its handle goes into
/// [`Options`](super::Options).
pub fn recorder() -> PrometheusRecorder {
    let builder = PrometheusBuilder::new().set_buckets(&CALL_SECONDS_BUCKETS);
    builder.expect("the buckets above are not none").build_recorder()
}

pub(super) fn pages(gate: &Arc<Gate>, metrics: Option<&PrometheusHandle>) -> Router {
    let mut pages = Router::new()
        .route("/health", get(health))
        .route("/health/detail", get(detail))
        .with_state(Arc::clone(gate));
    if let Some(metrics) = metrics {
        let metrics = metrics.clone();
        pages =
            pages.route("/metrics", get(async move || ([(CONTENT_TYPE, METRICS_TYPE)], metrics.render())));
    }
    pages
}

async fn health(State(gate): State<Arc<Gate>>) -> Response {
    let text = match gate.broker().ledger().failure() {
        _ if gate.is_serving() => "serving\n".to_owned(),
        Some(failure) => format!("not serving: {failure}\n"),
        None => "not serving\n".to_owned(),
    };
    (status(&gate), text).into_response()
}

async fn detail(State(gate): State<Arc<Gate>>) -> Response {
    let broker = gate.broker();
    let (ledger, head) = (broker.ledger(), broker.store().head());
    let detail = json!({
        "origin": broker.origin().as_str(),
        "time_ms": broker.now().as_millis(),
        "serving": gate.is_serving(),
        "log": {
            "available": ledger.is_available(),
            "failure": ledger.failure(),
            "publishing_failure": ledger.publishing_failure(),
            "published_size": ledger.published().size(),
            "latest_size": ledger.latest().size(),
        },
        "store": { "size": head.size, "epoch": head.epoch, "sequence": head.sequence },
        "calls": { "in_progress": gate.in_progress() },
        "catalogue": broker.catalogues().current().version().to_string(),
    });
    (status(&gate), [(CONTENT_TYPE, "application/json")], detail.to_string() + "\n").into_response()
}

fn status(gate: &Gate) -> StatusCode {
    if gate.is_serving() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
