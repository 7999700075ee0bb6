//! One connection, from its first byte to its end.

use std::{convert::Infallible, pin::pin, sync::Arc};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    pages::Doors,
    underway::{Found, UnderWay},
};
use crate::stack::limits;

/// What the connections of a listener share.
#[derive(Clone)]
pub(super) struct Connections {
    /// What they lead to.
    pub(super) doors: Doors,
    /// Those that are open, over all listeners.
    pub(super) open: TaskTracker,
    /// Told to finish what is in flight.
    pub(super) stop: CancellationToken,
    /// Told to end at once.
    pub(super) cut: CancellationToken,
}

impl Connections {
    pub(super) async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        tls: Option<TlsAcceptor>,
    ) {
        let quiet_until = Instant::now() + limits::FIRST_REQUEST;
        let Some(tls) = tls else { return self.speak(stream, quiet_until).await };
        let handshake = tokio::select! {
            biased;
            () = self.stop.cancelled() => return,
            handshake = timeout_at(quiet_until, tls.accept(stream)) => handshake,
        };
        match handshake {
            Ok(Ok(stream)) => self.speak(stream, quiet_until).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    /// Speaks HTTP/1.1 or HTTP/2, whichever the other side begins with.
    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, quiet_until: Instant) {
        let under_way = Arc::new(UnderWay::default());
        let service = service_fn({
            let (doors, under_way) = (self.doors, Arc::clone(&under_way));
            move |request: hyper::Request<Incoming>| {
                let (doors, entered) = (doors.clone(), under_way.enter());
                async move {
                    let response = doors.answer(request.map(axum::body::Body::new)).await;
                    Ok::<_, Infallible>(entered.answer(response))
                }
            }
        });
        let builder = builder();
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let (mut stopping, mut looked, mut quiet) = (false, 0, 0);
        let mut look_at = quiet_until;
        loop {
            tokio::select! {
                // The ends come first: a connection that is never done with its frames must not hide them.
                biased;
                () = self.cut.cancelled() => return,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = sleep_until(look_at) => {
                    look_at += limits::LOOK_AT_CONNECTION_EVERY;
                    if !under_way.was_asked() {
                        // Before or after the protocol is known: it must not keep a place for ever.
                        tracing::debug!("a connection asked for nothing");
                        return;
                    }
                    let found = under_way.look(&mut looked);
                    quiet = if found == Found::Quiet { quiet + 1 } else { 0 };
                    if found == Found::Slow {
                        tracing::debug!("a connection does not take its answers");
                        return;
                    }
                    if quiet == limits::QUIET_LOOKS {
                        tracing::debug!("a connection was quiet for long");
                        connection.as_mut().graceful_shutdown();
                    } else if quiet > limits::QUIET_LOOKS {
                        return;
                    }
                }
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection broke");
                    }
                    return;
                }
            }
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_READ)
        .max_headers(limits::MAX_HTTP1_HEADERS)
        .max_buf_size(limits::MAX_HTTP1_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::KEEPALIVE_EVERY)
        .keep_alive_timeout(limits::KEEPALIVE_ANSWER)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(limits::MAX_STREAMS_PER_CONNECTION)
        .max_header_list_size(limits::MAX_HEADER_BYTES);
    builder
}
