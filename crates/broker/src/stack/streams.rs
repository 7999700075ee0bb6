//! Answers that go on: counted by principal, and ended with the broker.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use countersign_grants::id::Principal;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;

use super::{Endless, Gate, limits, methods, slots::Slot};
use crate::{Caller, Fault};

/// Has the service answer. What streams on holds a place of its own.
pub(super) async fn run(gate: &Gate, request: Request, next: Next) -> Result<Response, Fault> {
    if !methods::is_streaming(request.uri().path()) {
        return Ok(next.run(request).await);
    }
    let principal = request.extensions().get::<Caller>().map(|caller| caller.principal.clone());
    let most =
        if principal.is_some() { limits::MAX_STREAMS_PER_PRINCIPAL } else { limits::MAX_PUBLIC_STREAMS };
    let Some(slot) = gate.streams.take(principal, most) else {
        return Err(Fault::QuotaExceeded { quota: "streams", retry_after: Some(limits::COME_AGAIN) });
    };
    let stopping = Box::pin(gate.stopping.clone().cancelled_owned());
    let mut response = next.run(request).await;
    response.extensions_mut().insert(Endless);
    Ok(response.map(|body| Body::new(Stream { body, stopping, ended: false, _slot: slot })))
}

/// The body of a stream. What it has to say it says; once it would wait and the broker stops, it ends.
struct Stream {
    body: Body,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
    _slot: Slot<Option<Principal>>,
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let stream = self.get_mut();
        if stream.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut stream.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        if stream.stopping.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        stream.ended = true;
        let mut trailers = HeaderMap::new();
        // Who watches comes again, here or at another broker, and goes on at its cursor.
        let status = Status::from(Fault::Overloaded { retry_after: limits::COME_AGAIN });
        if status.add_header(&mut trailers).is_err() {
            // Without trailers the end of a stream is an error to its reader as well.
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
