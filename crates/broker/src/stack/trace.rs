//! What an operator sees of a call, whatever became of it.

use std::panic::AssertUnwindSafe;

use axum::response::Response;
use futures_util::FutureExt as _;
use metrics::{Gauge, counter, gauge, histogram};
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::{Instrument as _, field};

use super::refuse::refusal;
use crate::Fault;

/// Outermost, so that it sees and counts what every other layer refuses; it also keeps a panic to its call.
pub(super) async fn traced(method: &'static str, call: impl Future<Output = Response>) -> Response {
    let span = tracing::info_span!("call", method, principal = field::Empty);
    let _in_progress = InProgress::enter(method);
    let began = Instant::now();
    // A bug in one call must not end the other calls of its connection. Nothing that the call held is used again:
    // what outlives it, the ledger and the store, has no state that a handler's panic could leave half done.
    let run = AssertUnwindSafe(call).catch_unwind();
    let response = run.instrument(span.clone()).await;
    let response = response.unwrap_or_else(|_| refusal(Fault::Bug { what: "a handler panicked" }));

    let took = began.elapsed();
    let code = code(&response);
    span.in_scope(|| tracing::debug!(?took, ?code, "done"));
    counter!("countersign_calls_total", "method" => method, "code" => name(code)).increment(1);
    histogram!("countersign_call_seconds", "method" => method).record(took.as_secs_f64());
    response
}

/// One more call in progress, for as long as this is held: a caller that goes away ends its call without an answer.
struct InProgress(Gauge);

impl InProgress {
    fn enter(method: &'static str) -> Self {
        let gauge = gauge!("countersign_calls_in_progress", "method" => method);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// What became of the call. An error without a message stands in the headers; a success says so only in the trailers,
/// after the message.
fn code(response: &Response) -> Code {
    Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
