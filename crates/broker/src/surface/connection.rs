//! One connection, from its first byte to its end.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

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

use super::pages::Doors;
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
        let asked = Arc::new(AtomicBool::new(false));
        let service = service_fn({
            let (doors, asked) = (self.doors, Arc::clone(&asked));
            move |request: hyper::Request<Incoming>| {
                asked.store(true, Ordering::Relaxed);
                let doors = doors.clone();
                async move { Ok::<_, Infallible>(doors.answer(request.map(axum::body::Body::new)).await) }
            }
        });
        let builder = builder();
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let (mut stopping, mut heard) = (false, false);
        loop {
            tokio::select! {
                biased;
                () = self.cut.cancelled() => return,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                // One that asks for nothing, before or after the protocol is known, must not keep a place for ever.
                () = sleep_until(quiet_until), if !heard => {
                    heard = true;
                    if !asked.load(Ordering::Relaxed) {
                        tracing::debug!("a connection asked for nothing");
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
        .max_concurrent_streams(limits::MAX_STREAMS_PER_CONNECTION)
        .max_header_list_size(limits::MAX_HEADER_BYTES);
    builder
}
