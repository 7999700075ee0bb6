//! Answers that go on: counted by principal, and ended with the broker.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, Version},
    middleware::Next,
    response::Response,
};
use countersign_grants::id::Principal;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
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
    // Over HTTP/2 a peer that is gone is noticed by its silence.
    let until = (request.version() < Version::HTTP_2).then_some(limits::STREAM_OVER_HTTP1);
    let stopping = Box::pin(stopping(gate.stopping.clone(), until));
    let mut response = next.run(request).await;
    response.extensions_mut().insert(Endless);
    Ok(response.map(|body| Body::new(Stream { body, stopping, ended: false, _slot: slot })))
}

/// Until the broker stops, or this time is over.
async fn stopping(broker: CancellationToken, within: Option<Duration>) {
    match within {
        None => broker.cancelled().await,
        // Either is the end.
        Some(within) => drop(timeout(within, broker.cancelled()).await),
    }
}

/// The body of a stream. What it has to say it says; once it would wait and is to end, it ends.
struct Stream<S> {
    body: Body,
    stopping: Pin<Box<S>>,
    ended: bool,
    _slot: Slot<Option<Principal>>,
}

impl<S: Future<Output = ()>> HttpBody for Stream<S> {
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
