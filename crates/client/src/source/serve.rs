//! A server for a source that has none yet.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use futures_util::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tonic::transport::{
    Identity, Server, ServerTlsConfig,
    server::{Connected, TcpIncoming},
};

use super::{SourceHandler, SourceServer};
use crate::channel::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};

/// How long a call may take before the server gives it up: longer than the handler's deadline.
const CALL_LIMIT: Duration = Duration::from_secs(12);

/// A server's certificate and key, in PEM.
pub struct ServerTls {
    /// The certificate, with those between it and its authority.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: String,
}

/// Why a source does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Without TLS only this machine may call.
    #[error("without TLS a source serves loopback alone, not {address}")]
    NotLoopback {
        /// Where it should have listened.
        address: SocketAddr,
    },
    /// The socket fails.
    #[error("the socket: {0}")]
    Socket(io::Error),
    /// The certificate can't be used, or the server failed.
    #[error("the server: {0}")]
    Transport(tonic::transport::Error),
}

impl<H: SourceHandler> SourceServer<H> {
    /// Serves until `shutdown` is done; calls under way are finished.
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: Option<ServerTls>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let address = listener.local_addr().map_err(ServeError::Socket)?;
        let mut server = server();
        match tls {
            Some(tls) => {
                let identity = Identity::from_pem(tls.certificate_pem, tls.key_pem);
                let config = ServerTlsConfig::new().identity(identity);
                server = server.tls_config(config).map_err(ServeError::Transport)?;
            }
            None if address.ip().is_loopback() => {}
            None => return Err(ServeError::NotLoopback { address }),
        }
        // `Server::tcp_nodelay` does nothing for sockets that are handed in: without this a call takes 40 ms.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        self.serve_from(server, incoming, shutdown).await
    }

    /// The same, for connections that were accepted elsewhere: by a tunnel, on a Unix socket, in a simulated network.
    /// Whoever accepts them keeps strangers from listening in.
    pub async fn serve_accepted<C>(
        self,
        incoming: impl Stream<Item = io::Result<C>> + Send,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError>
    where
        C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        self.serve_from(server(), incoming, shutdown).await
    }

    async fn serve_from<C>(
        self,
        mut server: Server,
        incoming: impl Stream<Item = io::Result<C>> + Send,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError>
    where
        C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        server
            .add_service(self.into_service())
            .serve_with_incoming_shutdown(incoming, shutdown)
            .await
            .map_err(ServeError::Transport)
    }
}

fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .timeout(CALL_LIMIT)
}
