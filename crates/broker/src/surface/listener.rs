//! A port: plain on loopback, TLS everywhere else.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::{Surface, connection::Connections};

/// How long to wait when the system has no file or memory for another connection: some connection ends meanwhile.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Where connections come from: a port of the system, or what stands in for one.
pub trait Incoming: Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection. Dropping the future loses none.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Incoming for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        // Small answers must not wait for the acknowledgement of the ones before: that costs 40 ms a call.
        stream.set_nodelay(true).map(|()| stream)
    }
}

/// A bound port with its surfaces. It is bound before it is served, so that whoever lets the system choose the port
/// learns it.
pub struct Listener<I = TcpListener> {
    incoming: I,
    address: SocketAddr,
    surfaces: Vec<Surface>,
    tls: Option<TlsAcceptor>,
}

/// Why a port can't be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Tokens and data would travel in clear.
    #[error(
        "{address} is not a loopback address: without TLS only this machine is served. Configure `tls`, or listen on 127.0.0.1 or [::1]"
    )]
    NeedsTls {
        /// The address.
        address: SocketAddr,
    },
    /// Nothing would be served.
    #[error("{address} has no surface to serve")]
    NoSurface {
        /// The address.
        address: SocketAddr,
    },
    /// The system refused.
    #[error("{address}: {source}")]
    Socket {
        /// The address.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
}

impl Listener {
    /// Binds a port. Without `tls` the address must be on loopback.
    pub async fn bind(
        address: SocketAddr,
        surfaces: &[Surface],
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<Self, BindError> {
        if tls.is_none() && !address.ip().is_loopback() {
            return Err(BindError::NeedsTls { address });
        }
        if surfaces.is_empty() {
            return Err(BindError::NoSurface { address });
        }
        let failed = |source| BindError::Socket { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { incoming: socket, address, surfaces: surfaces.to_vec(), tls: tls.map(TlsAcceptor::from) })
    }
}

impl<I: Incoming> Listener<I> {
    /// Serves these surfaces to connections that come by other ways than a port of the system, without TLS: through a
    /// tunnel, in a simulated network. Whoever accepts them keeps strangers from listening in; `address` is what is said of
    /// them.
    pub fn over(incoming: I, address: SocketAddr, surfaces: &[Surface]) -> Result<Self, BindError> {
        if surfaces.is_empty() {
            return Err(BindError::NoSurface { address });
        }
        Ok(Self { incoming, address, surfaces: surfaces.to_vec(), tls: None })
    }

    /// Where it listens: the port that the system chose, if it was asked to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// What it serves.
    pub fn surfaces(&self) -> &[Surface] {
        &self.surfaces
    }

    /// Whether connections are encrypted.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Accepts connections until it is told to stop; then the port is closed.
    pub(super) async fn accept(self, connections: Connections, most: u32) {
        // One more than these waits in the system's queue rather than here, where it would cost memory.
        let places = Arc::new(Semaphore::new(most as usize)); // a u32 fits on every machine that has an operating system
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                let place = place.expect("nobody closes this semaphore");
                (self.incoming.next().await, place)
            };
            let (accepted, place) = tokio::select! {
                biased;
                () = connections.stop.cancelled() => return,
                next = next => next,
            };
            match accepted {
                Ok(stream) => {
                    let (connections, tls) = (connections.clone(), self.tls.clone());
                    connections.open.clone().spawn(async move {
                        connections.serve(stream, tls).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "a connection can't be accepted");
                    sleep(AFTER_FAILURE).await;
                }
            }
        }
    }
}

/// `listening on http://127.0.0.1:7443 (api, log)` is a line that others parse.
impl<I: Incoming> fmt::Display for Listener<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let surfaces: Vec<_> = self.surfaces.iter().map(Surface::to_string).collect();
        write!(f, "{} ({})", self.url(), surfaces.join(", "))
    }
}
