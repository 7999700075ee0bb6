//! How long a connection may do nothing, too much, or half of something. Peers are written by hand, frame by frame, over
//! pipes in memory; time is paused, so that nobody waits.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, http::HeaderMap, routing::post};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use super::{Options, Surface, api::Api, connection::Connections, pages::Doors};
use crate::{
    service::Services,
    stack::{Gate, Quotas, limits, testing::House},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const METHOD: &str = "/grpc.health.v1.Health/Check";

/// An answer that no window takes at once.
const LARGE: usize = 1 << 20;

/// How much of a pipe lies between both ends, as in a socket's buffers.
const PIPE_BYTES: usize = 64 * 1024;

/// Types of frames (RFC 9113, section 6), and the two flags that are needed.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A call's header lines in HPACK, with no compression; `extra` is one more value.
fn header_block(extra: usize) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &[u8]| {
        block.push(0);
        for text in [name, value] {
            // A length of seven bits, and the rest in groups of seven.
            let mut length = text.len();
            if length < 127 {
                block.push(length as u8);
            } else {
                block.push(127);
                length -= 127;
                while length >= 128 {
                    block.push((length % 128) as u8 | 0x80);
                    length /= 128;
                }
                block.push(length as u8);
            }
            block.extend_from_slice(text);
        }
    };
    literal(b":path", METHOD.as_bytes());
    literal(b":authority", b"broker");
    literal(b"content-type", b"application/grpc");
    literal(b"te", b"trailers");
    if extra > 0 {
        literal(b"x-large", &vec![b'x'; extra]);
    }
    block
}

/// Preface and settings with this window for each answer.
fn hello(window: u32) -> Vec<u8> {
    let mut setting = vec![0, 4];
    setting.extend_from_slice(&window.to_be_bytes());
    [PREFACE, &frame(SETTINGS, 0, 0, &setting)].concat()
}

/// A call with an empty message.
fn ask(stream: u32) -> Vec<u8> {
    [frame(HEADERS, END_HEADERS, stream, &header_block(0)), frame(DATA, END_STREAM, stream, &[0; 5])].concat()
}

/// A gate, and connections to a method that answers with so many bytes.
async fn doors(bytes: usize) -> (House, Arc<Gate>, Connections) {
    let house = House::open().await;
    let stop = CancellationToken::new();
    let gate = Gate::new(Arc::clone(&house.broker), Quotas::default(), stop.clone());
    let handler = async move || {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("a value"));
        let message = http_body_util::Full::from(vec![0_u8; bytes]);
        let body = http_body_util::BodyExt::with_trailers(message, async { Some(Ok(trailers)) });
        ([("content-type", "application/grpc")], Body::new(body))
    };
    let (health, _) = tonic_health::server::health_reporter();
    let routes = Routes::from(Router::new().route(METHOD, post(handler)));
    let api = Api::of(Services { routes, health }, &gate);
    let doors = Doors::new(&[Surface::Api], &gate, &api, &Options::default());
    let connections = Connections { doors, open: TaskTracker::new(), stop, cut: CancellationToken::new() };
    (house, gate, connections)
}

/// The other end of a connection.
struct Peer {
    stream: DuplexStream,
    serving: JoinHandle<()>,
    /// Bytes of answers so far.
    data: usize,
    /// Whether an answer began.
    answered: bool,
}

impl Peer {
    async fn connect(connections: &Connections, says: &[u8]) -> Self {
        let (ours, theirs) = duplex(PIPE_BYTES);
        let serving = tokio::spawn(connections.clone().serve(theirs, None));
        let mut peer = Self { stream: ours, serving, data: 0, answered: false };
        peer.stream.write_all(says).await.expect("sends");
        peer
    }

    /// Says nothing more, not even what the protocol asks for; how long until the other side ends.
    async fn sulk(mut self) -> Duration {
        let began = Instant::now();
        let mut heard = Vec::new();
        // However it ends.
        let _ = self.stream.read_to_end(&mut heard).await;
        self.serving.await.expect("no panic");
        began.elapsed()
    }

    /// Answers pings, as any peer that is alive; until there was `enough`, or the other side ended.
    async fn live(&mut self, enough: impl Fn(&Self) -> bool) -> bool {
        while !enough(self) {
            let mut head = [0; 9];
            if self.stream.read_exact(&mut head).await.is_err() {
                return false;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            if self.stream.read_exact(&mut payload).await.is_err() {
                return false;
            }
            match head[3] {
                DATA => self.data += length,
                HEADERS => self.answered = true,
                PING if head[4] & ACK == 0 => {
                    // The other side may just have gone.
                    let _ = self.stream.write_all(&frame(PING, ACK, 0, &payload)).await;
                }
                _ => {}
            }
        }
        true
    }
}

#[tokio::test(start_paused = true)]
async fn half_open_connections_end() {
    let (_house, _, connections) = doors(5).await;
    let (hello, unfinished) = (hello(65_535), frame(HEADERS, 0, 1, &header_block(0)));
    for says in [
        b"".as_slice(),
        b"PRI * HTTP/2.0\r\n",
        b"GET /checkpoint HTTP/1.1\r\nhost: ",
        &hello,
        &[hello.as_slice(), &unfinished].concat(),
        &[hello.as_slice(), &frame(HEADERS, END_HEADERS, 1, &header_block(0))[..20]].concat(),
    ] {
        let took = Peer::connect(&connections, says).await.sulk().await;
        let shown = String::from_utf8_lossy(&says[..says.len().min(30)]).into_owned();
        assert!(took <= limits::FIRST_REQUEST + Duration::from_secs(1), "{shown}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn huge_headers_reach_nobody() {
    let (_house, gate, connections) = doors(5).await;
    // One frame holds 16 KiB; the lines of a call may be half of that.
    let huge = frame(HEADERS, END_HEADERS | END_STREAM, 1, &header_block(limits::MAX_HEADER_BYTES as usize));
    let mut peer = Peer::connect(&connections, &[hello(65_535), huge].concat()).await;
    assert!(!peer.live(|peer| peer.data > 0).await, "no answer of the method's came");
    assert_eq!(gate.in_progress(), 0);

    let line = format!("x-large: {}\r\n", "x".repeat(limits::MAX_HTTP1_HEAD_BYTES));
    let says = format!("GET /checkpoint HTTP/1.1\r\nhost: broker\r\n{line}\r\n");
    let mut peer = Peer::connect(&connections, says.as_bytes()).await;
    let mut answer = String::new();
    peer.stream.read_to_string(&mut answer).await.expect("text");
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_its_places_and_loses_its_connection() {
    let (_house, gate, connections) = doors(LARGE).await;
    let window = 1000;
    let mut says = hello(window);
    let calls: u32 = 8;
    for call in 0..calls {
        says.extend(ask(2 * call + 1));
    }
    let mut peer = Peer::connect(&connections, &says).await;
    let full = (window * calls) as usize;
    assert!(peer.live(|peer| peer.data == full).await, "the windows are filled");
    assert_eq!(gate.in_progress(), calls as usize, "an answer that is not taken keeps its place");
    let began = Instant::now();
    assert!(!peer.live(|_| false).await, "the connection ends");
    assert!(began.elapsed() <= limits::LOOK_AT_CONNECTION_EVERY * 2, "{:?}", began.elapsed());
    assert_eq!(peer.data, full, "nothing came beyond the windows");
    peer.serving.await.expect("no panic");
    assert_eq!(gate.in_progress(), 0, "and the places are free again");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_its_answers_keeps_its_connection() {
    let (_house, gate, connections) = doors(5).await;
    let mut peer = Peer::connect(&connections, &hello(65_535)).await;
    for call in 0..40_u32 {
        peer.stream.write_all(&ask(2 * call + 1)).await.expect("stands");
        let so_far = 5 * (call as usize + 1);
        assert!(peer.live(|peer| peer.data == so_far).await, "call {call}");
        tokio::time::sleep(limits::LOOK_AT_CONNECTION_EVERY / 2).await;
    }
    assert_eq!(gate.in_progress(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_quiet_for_long_ends() {
    let (_house, _, connections) = doors(5).await;
    let mut peer = Peer::connect(&connections, &[hello(65_535), ask(1)].concat()).await;
    assert!(peer.live(|peer| peer.answered && peer.data == 5).await);
    let began = Instant::now();
    assert!(!peer.live(|_| false).await, "it ends though it answers every ping");
    let patience = limits::LOOK_AT_CONNECTION_EVERY * limits::QUIET_LOOKS;
    assert!(began.elapsed() >= patience / 2, "{:?}", began.elapsed());
    assert!(began.elapsed() <= patience + limits::LOOK_AT_CONNECTION_EVERY * 3, "{:?}", began.elapsed());
}
