//! The log as files, by C2SP: the checkpoint and the hash tiles for everybody, the entries for auditors.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri,
        header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;
use countersign_tlog::{BundleCoord, LogPath, tile::TILE_WIDTH};
use metrics::counter;
use tokio::time::timeout;

use crate::{
    Fault,
    service::audit::enter_read,
    stack::{Gate, admit, bearer, enter, limits},
};

/// A checkpoint is published once a second at most.
const CHECKPOINT_CACHING: &str = "public, max-age=1";

/// A tile never changes: a year is the longest that caches take for an answer.
const TILE_CACHING: &str = "public, max-age=31536000, immutable";

/// A bundle never changes, and is for the auditor alone who asked.
const BUNDLE_CACHING: &str = "private, max-age=31536000, immutable";

const TEXT: &str = "text/plain; charset=utf-8";
const OCTETS: &str = "application/octet-stream";

pub(super) fn pages(gate: &Arc<Gate>) -> Router {
    // The routes only keep other pages apart; which path is a file of the log, `LogPath` alone decides.
    Router::new()
        .route("/checkpoint", get(file))
        .route("/tile/{*rest}", get(file))
        .with_state(Arc::clone(gate))
}

async fn file(State(gate): State<Arc<Gate>>, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().strip_prefix('/').and_then(|path| LogPath::parse(path).ok());
    let (kind, content_type, caching) = match path {
        Some(LogPath::Checkpoint) => ("checkpoint", TEXT, CHECKPOINT_CACHING),
        Some(LogPath::Tile(_)) => ("tile", OCTETS, TILE_CACHING),
        Some(LogPath::Bundle(_)) => ("entries", OCTETS, BUNDLE_CACHING),
        None => ("unknown", TEXT, CHECKPOINT_CACHING),
    };
    let found = match path {
        Some(path) => timeout(limits::MAX_DEADLINE, read(&gate, path, &headers)).await,
        None => Ok(Ok(None)),
    };
    let response = match found.unwrap_or(Err(Fault::DeadlineExceeded)) {
        Ok(Some(bytes)) => ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, caching)], bytes).into_response(),
        Ok(None) => (StatusCode::NOT_FOUND, "no such file in this log\n").into_response(),
        Err(fault) => refused(&fault),
    };
    let status = response.status().as_u16().to_string();
    counter!("countersign_log_reads_total", "file" => kind, "status" => status).increment(1);
    response
}

/// The bytes of a file that is public by now.
async fn read(gate: &Gate, path: LogPath, headers: &HeaderMap) -> Result<Option<Bytes>, Fault> {
    let _place = enter(gate)?;
    let broker = gate.broker();
    let text = path.to_string();
    let LogPath::Bundle(bundle) = path else { return Ok(broker.store().file(&text).await?) };
    let caller = bearer(gate, headers).await?;
    caller.auditor()?;
    let _slot = admit(gate, &caller)?;
    // The engine writes a full bundle before a checkpoint covers it; until then it is nobody's business.
    if end(bundle) > broker.ledger().published().size() {
        return Ok(None);
    }
    let found = broker.store().file(&text).await?;
    if found.is_some() {
        enter_read(broker, &caller, &text).await?;
    }
    Ok(found)
}

/// The size of the smallest log that has all of this bundle.
fn end(bundle: BundleCoord) -> u64 {
    bundle.index().saturating_mul(u64::from(TILE_WIDTH)).saturating_add(u64::from(bundle.width()))
}

/// A refusal as plain HTTP says it.
fn refused(fault: &Fault) -> Response {
    let status = match fault {
        Fault::TokenInvalid { .. } => StatusCode::UNAUTHORIZED,
        Fault::CallerNotAllowed { .. }
        | Fault::PartnerSuspended { .. }
        | Fault::PartnerNotLive { .. }
        | Fault::CustomerStolen => StatusCode::FORBIDDEN,
        Fault::QuotaExceeded { .. } => StatusCode::TOO_MANY_REQUESTS,
        Fault::Overloaded { .. } | Fault::LogUnavailable { .. } | Fault::StoreUnavailable(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Fault::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if status.is_server_error() {
        tracing::warn!(?fault, "a file of the log can't be served");
    }
    let mut response = (status, format!("{}: {fault}\n", fault.reason())).into_response();
    let headers = response.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from(limits::COME_AGAIN.as_secs()));
        }
        _ => {}
    }
    response
}
