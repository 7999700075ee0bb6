//! The simulated network, as product code meets it: addresses are of loopback, and a port stands for a host.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use countersign_broker::surface::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::{Channel, Endpoint, Uri, server::Connected};
use turmoil::net::{TcpListener, TcpStream};

/// The broker's port.
const BROKER: u16 = 7000;

/// The port of the first partner's source.
const SOURCES: u16 = 7001;

/// The broker's host.
pub(crate) const BROKER_HOST: &str = "broker";

/// The partners' hosts; the first is always a source.
pub(crate) const PARTNER_HOSTS: [&str; 3] = ["skylark", "hopp", "chirp"];

/// Where the broker is, for those who call it.
pub(crate) fn broker_address() -> String {
    format!("http://127.0.0.1:{BROKER}")
}

/// Where a partner's source is.
pub(crate) fn source_address(partner: usize) -> String {
    format!("http://127.0.0.1:{}", source_port(partner))
}

fn source_port(partner: usize) -> u16 {
    SOURCES + u16::try_from(partner).expect("there are three partners")
}

/// Opens a channel through the simulated network.
pub(crate) fn dial(endpoint: &Endpoint) -> Channel {
    endpoint.connect_with_connector_lazy(tower::service_fn(|uri: Uri| async move {
        let port = uri.port_u16().unwrap_or_default();
        let host = match port.checked_sub(SOURCES) {
            None => BROKER_HOST,
            Some(partner) => {
                PARTNER_HOSTS.get(usize::from(partner)).copied().ok_or(io::ErrorKind::NotFound)?
            }
        };
        let stream = TcpStream::connect((host, port)).await?;
        Ok::<_, io::Error>(TokioIo::new(stream))
    }))
}

/// The broker's port on this host.
pub(crate) struct Port(TcpListener);

impl Port {
    pub(crate) async fn of_broker() -> io::Result<Self> {
        TcpListener::bind(("0.0.0.0", BROKER)).await.map(Self)
    }

    pub(crate) async fn of_source(partner: usize) -> io::Result<Self> {
        TcpListener::bind(("0.0.0.0", source_port(partner))).await.map(Self)
    }

    /// The connections, as `SourceServer` takes them.
    pub(crate) fn connections(self) -> impl tokio_stream::Stream<Item = io::Result<Accepted>> {
        let (send, receive) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let accepted = self.0.accept().await.map(|(stream, _)| Accepted(stream));
                if send.send(accepted).await.is_err() {
                    return;
                }
            }
        });
        tokio_stream::wrappers::ReceiverStream::new(receive)
    }
}

impl Incoming for Port {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.0.accept().await.map(|(stream, _)| stream)
    }
}

/// An accepted connection, of which tonic may ask where it comes from.
pub(crate) struct Accepted(TcpStream);

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
