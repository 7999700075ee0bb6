//! Refusals of the layers, as a gRPC answer.

use axum::{body::Body, response::Response};
use tonic::Status;

use crate::Fault;

/// The answer to a call that a layer refuses: its status in the headers, and no message.
pub(crate) fn refusal(fault: Fault) -> Response {
    Status::from(fault).into_http::<Body>()
}
