//! A full house turns callers away at once, rather than let all of them wait.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tokio::sync::OwnedSemaphorePermit;

use super::{Gate, limits, refuse::refusal};
use crate::Fault;

pub(super) async fn layer(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match enter(&gate) {
        // Held until the answer begins; what streams on is counted by the layer of streams.
        Ok(_place) => next.run(request).await,
        Err(fault) => refusal(fault),
    }
}

/// A place in the house, for as long as it is held.
pub(crate) fn enter(gate: &Gate) -> Result<OwnedSemaphorePermit, Fault> {
    let place = Arc::clone(&gate.house).try_acquire_owned();
    place.map_err(|_| Fault::Overloaded { retry_after: limits::COME_AGAIN })
}
