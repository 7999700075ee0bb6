//! A gRPC man in the middle: it forwards every call as it came, except where it was told to lie.
//!
//! It knows no service. Each message passes as bytes, so what nobody bends arrives as the other side wrote it.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf as _, BufMut as _, Bytes};
use countersign_grants::token::Unverified;
use countersign_proto::v1::{Event, WatchEventsResponse};
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{
    Extensions, Request, Response, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{
        Body, BoxFuture, Service, StdError,
        http::{self, uri::PathAndQuery},
    },
    metadata::MetadataMap,
    server::{Grpc, ServerStreamingService},
    service::Routes,
    transport::{Channel, Endpoint, Server},
};

/// What is said in the place of an answer.
type Lie = Arc<dyn Fn(Asked) -> Pin<Box<dyn Future<Output = Result<Bytes, Status>> + Send>> + Send + Sync>;

/// What a caller hears of an event, if anything.
type Tells = Arc<dyn Fn(&str, Event) -> Option<Event> + Send + Sync>;

/// A proxy that can be told to lie. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Proxy(Arc<Inner>);

struct Inner {
    address: String,
    onward: Channel,
    /// Who is led elsewhere, and where.
    astray: Mutex<HashMap<String, Channel>>,
    /// Ends the open streams.
    streams: Mutex<CancellationToken>,
    lies: Mutex<HashMap<String, Lie>>,
    tells: Mutex<Option<Tells>>,
    refusals: Mutex<Vec<(String, Status)>>,
}

/// A call that came in.
pub(crate) struct Asked {
    /// What was asked, as bytes.
    pub(crate) message: Bytes,
    metadata: MetadataMap,
    path: PathAndQuery,
    proxy: Proxy,
}

impl Asked {
    /// What was asked.
    pub(crate) fn read<M: Message + Default>(&self) -> M {
        M::decode(self.message.clone()).expect("a message of this method")
    }

    /// Who asks, by the token.
    pub(crate) fn caller(&self) -> String {
        caller(&self.metadata)
    }

    /// Passes the call on, and reads the honest answer.
    pub(crate) async fn honest<M: Message + Default>(&self) -> Result<M, Status> {
        let answer = self.pass_on(self.message.clone()).await?;
        Ok(M::decode(answer).expect("an answer of this method"))
    }

    async fn pass_on(&self, message: Bytes) -> Result<Bytes, Status> {
        let mut onward = tonic::client::Grpc::new(self.proxy.onward(&self.caller()));
        onward.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let request = Request::from_parts(self.metadata.clone(), Extensions::default(), message);
        let answer = onward.unary(request, self.path.clone(), Raw).await;
        if let Err(status) = &answer {
            let method = method(&self.path).to_owned();
            self.proxy.0.refusals.lock().push((method, status.clone()));
        }
        answer.map(Response::into_inner)
    }
}

impl Proxy {
    /// A proxy on a port of its own, in front of an address.
    pub(crate) async fn before(address: &str) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let own = format!("http://{}", socket.local_addr().expect("bound"));
        let proxy = Self(Arc::new(Inner {
            address: own,
            onward: channel(address),
            astray: Mutex::default(),
            streams: Mutex::default(),
            lies: Mutex::default(),
            tells: Mutex::default(),
            refusals: Mutex::default(),
        }));
        let router = Routes::default().into_axum_router().fallback_service(proxy.clone());
        let server = Server::builder().add_routes(Routes::from(router));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(socket)));
        proxy
    }

    /// Where it is called.
    pub(crate) fn address(&self) -> String {
        self.0.address.clone()
    }

    /// Sends a caller's further calls elsewhere. Open streams end, so that they are taken up there.
    pub(crate) fn lead(&self, caller: &str, address: &str) {
        self.0.astray.lock().insert(caller.to_owned(), channel(address));
        std::mem::take(&mut *self.0.streams.lock()).cancel();
    }

    /// Answers this method by itself from now on.
    pub(crate) fn lie<M, F>(&self, method: &str, lie: impl Fn(Asked) -> F + Send + Sync + 'static)
    where
        M: Message,
        F: Future<Output = Result<M, Status>> + Send + 'static,
    {
        let lie: Lie = Arc::new(move |asked| {
            let answer = lie(asked);
            Box::pin(async move { Ok(Bytes::from(answer.await?.encode_to_vec())) })
        });
        self.0.lies.lock().insert(method.to_owned(), lie);
    }

    /// Bends the honest answers to this method.
    pub(crate) fn bend<M: Message + Default>(
        &self,
        method: &str,
        bend: impl Fn(&mut M) + Send + Sync + 'static,
    ) {
        self.bend_for::<M>(method, move |_, answer| bend(answer));
    }

    /// Bends the honest answers to this method, knowing who asked.
    pub(crate) fn bend_for<M: Message + Default>(
        &self,
        method: &str,
        bend: impl Fn(&str, &mut M) + Send + Sync + 'static,
    ) {
        let bend = Arc::new(bend);
        self.lie(method, move |asked| {
            let bend = Arc::clone(&bend);
            async move {
                let mut answer: M = asked.honest().await?;
                bend(&asked.caller(), &mut answer);
                Ok(answer)
            }
        });
    }

    /// Bends what is asked by this method.
    pub(crate) fn bend_ask<M: Message + Default>(
        &self,
        method: &str,
        bend: impl Fn(&mut M) + Send + Sync + 'static,
    ) {
        let bend = Arc::new(bend);
        let lie: Lie = Arc::new(move |asked| {
            let bend = Arc::clone(&bend);
            Box::pin(async move {
                let mut message: M = asked.read();
                bend(&mut message);
                asked.pass_on(message.encode_to_vec().into()).await
            })
        });
        self.0.lies.lock().insert(method.to_owned(), lie);
    }

    /// Refuses this method without passing it on.
    pub(crate) fn refuse(&self, method: &str) {
        self.lie::<(), _>(method, |_| async { Err(Status::unavailable("not now")) });
    }

    /// Forwards this method again.
    pub(crate) fn be_honest(&self, method: &str) {
        self.0.lies.lock().remove(method);
    }

    /// Keeps those events back of which this says no, from streams that are open too.
    pub(crate) fn tell(&self, tells: impl Fn(&str, &Event) -> bool + Send + Sync + 'static) {
        *self.0.tells.lock() = Some(Arc::new(move |caller, event| tells(caller, &event).then_some(event)));
    }

    /// Bends what events say.
    pub(crate) fn bend_events(&self, bend: impl Fn(&mut Event) + Send + Sync + 'static) {
        *self.0.tells.lock() = Some(Arc::new(move |_, mut event| {
            bend(&mut event);
            Some(event)
        }));
    }

    /// What the other side last refused, and why.
    pub(crate) fn last_refusal(&self, method: &str) -> Option<Status> {
        let refusals = self.0.refusals.lock();
        refusals.iter().rev().find(|(refused, _)| refused == method).map(|(_, status)| status.clone())
    }

    fn onward(&self, caller: &str) -> Channel {
        self.0.astray.lock().get(caller).unwrap_or(&self.0.onward).clone()
    }

    fn told(&self, caller: &str, answer: Bytes) -> Option<Bytes> {
        let Some(tells) = self.0.tells.lock().clone() else { return Some(answer) };
        let event = WatchEventsResponse::decode(answer).expect("an answer of this method").event;
        let event = Some(tells(caller, event.expect("set"))?);
        Some(WatchEventsResponse { event }.encode_to_vec().into())
    }
}

fn channel(address: &str) -> Channel {
    Endpoint::from_shared(address.to_owned()).expect("an address").connect_lazy()
}

fn method(path: &PathAndQuery) -> &str {
    path.path().rsplit('/').next().unwrap_or_default()
}

fn caller(metadata: &MetadataMap) -> String {
    let token = metadata.get("authorization").and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    token
        .and_then(|token| Unverified::read(token).ok())
        .map(|token| token.issuer().to_string())
        .unwrap_or_default()
}

type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// One call on its way.
struct Call {
    proxy: Proxy,
    path: PathAndQuery,
}

impl ServerStreamingService<Bytes> for Call {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = BoxFuture<Response<Answers>, Status>;

    /// Every method takes one message; one answer is a short stream.
    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (proxy, path) = (self.proxy.clone(), self.path.clone());
        let (metadata, _, message) = request.into_parts();
        Box::pin(async move {
            let asked = Asked { message, metadata, path, proxy };
            let answers: Answers = if method(&asked.path) == "WatchEvents" {
                watch(asked).await?
            } else {
                let lie = asked.proxy.0.lies.lock().get(method(&asked.path)).cloned();
                let answer = match lie {
                    Some(lie) => lie(asked).await?,
                    None => asked.pass_on(asked.message.clone()).await?,
                };
                Box::pin(tokio_stream::once(Ok(answer)))
            };
            Ok(Response::new(answers))
        })
    }
}

async fn watch(asked: Asked) -> Result<Answers, Status> {
    let (caller, proxy) = (asked.caller(), asked.proxy);
    let ends = proxy.0.streams.lock().clone();
    let mut onward = tonic::client::Grpc::new(proxy.onward(&caller));
    onward.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = Request::from_parts(asked.metadata, Extensions::default(), asked.message);
    let answers = onward.server_streaming(request, asked.path, Raw).await?.into_inner();
    let answers = answers.filter_map(move |answer| match answer {
        Ok(answer) => proxy.told(&caller, answer).map(Ok),
        Err(status) => Some(Err(status)),
    });
    // Ends with the proxy's way there, so that the caller comes again.
    let (hand, taken) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        tokio::pin!(answers);
        loop {
            let answer = tokio::select! {
                answer = answers.next() => answer,
                () = ends.cancelled() => Some(Err(Status::unavailable("led elsewhere"))),
                () = hand.closed() => None,
            };
            let Some(answer) = answer else { return };
            let over = answer.is_err();
            if hand.send(answer).await.is_err() || over {
                return;
            }
        }
    });
    Ok(Box::pin(tokio_stream::wrappers::ReceiverStream::new(taken)))
}

impl<B> Service<http::Request<B>> for Proxy
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let call = Call { proxy: self.clone(), path };
        Box::pin(async move { Ok(Grpc::new(Raw).server_streaming(call, request).await) })
    }
}

/// Messages as bytes.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let left = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(left)))
    }
}
