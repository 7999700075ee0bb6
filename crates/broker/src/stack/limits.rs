//! Every bound of the outer shell, and where its number comes from.

use std::time::Duration;

/// The header lines of one request, as HTTP/2 counts them: a token of at most 1 KiB, a path of 80 bytes, and what
/// clients and proxies add, in 8 KiB.
pub const MAX_HEADER_BYTES: u32 = 8 * 1024;

/// The buffer for the head of an HTTP/1.1 request: as above, doubled, since it holds the request line too. hyper asks
/// for at least 8 KiB.
pub const MAX_HTTP1_HEAD_BYTES: usize = 16 * 1024;

/// The header lines of one HTTP/1.1 request by number: browsers send some 20, proxies add 10; doubled.
pub const MAX_HTTP1_HEADERS: usize = 64;

/// Calls at a time on one connection. A partner's process shares one connection among all of its calls; 64 in flight
/// saturate two cores, and watching and margin make it four times that.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 256;

/// Connections at a time on one listener, unless configured: a process may by default have 1,024 files open, of which
/// the store, the sources and the other listeners need fewer than 128.
pub const MAX_CONNECTIONS: u32 = 896;

/// How long a TLS handshake, or the first request of a connection, may take. Three round trips over a bad mobile
/// network come to six seconds.
pub const FIRST_REQUEST: Duration = Duration::from_secs(15);

/// How long the head of an HTTP/1.1 request may take, and how long such a connection may idle.
pub const HEADER_READ: Duration = Duration::from_secs(15);

/// The bytes of one call that may come before they are read: half of the largest request, and all of any other.
pub const STREAM_WINDOW_BYTES: u32 = 128 * 1024;

/// The same for all calls of a connection together. All connections of a listener hold at most 224 MiB so.
pub const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;

/// What is handed to the transport of a call's answer at a time, and lies there if its reader takes nothing more: with
/// all calls of a connection 4 MiB.
pub const ANSWER_PIECE_BYTES: usize = 16 * 1024;

/// How often each connection is looked at. An answer must be taken within two looks: 30 s for at most 4 MiB are 1.1
/// Mbit/s, a bad mobile network; a call has as long to begin its answer.
pub const LOOK_AT_CONNECTION_EVERY: Duration = Duration::from_secs(15);

/// How many looks in a row may find a connection quiet, with no call and no stream: five minutes, the life of a token.
/// Whoever calls less often pays for a handshake.
pub const QUIET_LOOKS: u32 = 20;

/// How often a quiet HTTP/2 connection is asked whether it still stands. Below the 30 s after which the strictest of
/// common middleboxes forget a connection.
pub const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);

/// How long the answer to that may take.
pub const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);

/// The longest that a call may take, however long its caller would wait. A transfer waits for its source, which gets
/// ten seconds, twice if a conflict sends it there again, and for one commit.
pub const MAX_DEADLINE: Duration = Duration::from_secs(30);

/// How long a call may take whose caller names no deadline.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// Calls in progress at a time. At 5,000 calls a second of 100 ms each 500 are in progress; doubled. A call holds less
/// than its request and answer, so this is some 300 MiB at the very worst and 50 MiB in earnest.
pub const MAX_CALLS: usize = 1024;

/// Calls in progress at a time by one principal: a quarter of all, so that one partner whose source hangs leaves room
/// for the others.
pub const MAX_CALLS_PER_PRINCIPAL: usize = MAX_CALLS / 4;

/// Streams at a time by one principal: each process of a partner watches once; some 30 processes, doubled.
pub const MAX_STREAMS_PER_PRINCIPAL: usize = 64;

/// Streams at a time without a principal (health, reflection), of all together.
pub const MAX_PUBLIC_STREAMS: usize = 64;

/// How long a stream may go on over HTTP/1.1, where nobody can be asked whether he is still there: five minutes, the life
/// of a token. Whoever watches comes again and goes on at its cursor.
pub const STREAM_OVER_HTTP1: Duration = Duration::from_secs(300);

/// When a caller who met a full house should come again.
pub const COME_AGAIN: Duration = Duration::from_secs(1);

/// Tokens whose signature is remembered as good, in each of two generations. A principal has one token at a time, for
/// five minutes: this is 16,384 principals active within minutes, in some 6 MiB; whoever falls out costs one
/// verification of 47 µs.
pub const REMEMBERED_TOKENS: usize = 16 * 1024;

/// How long calls in flight may go on once the broker was told to stop: the longest call, and a margin to send its
/// answer.
pub const STOP_WITHIN: Duration = Duration::from_secs(35);

/// The same, once the log takes nothing any more. No call in flight can change anything then, reads end within
/// milliseconds, and nobody is served until the log is opened again: so a peer that is gone must not hold that up.
pub const STOP_WITHOUT_LOG_WITHIN: Duration = Duration::from_secs(2);

/// How often quotas of principals that went quiet are forgotten, and metrics tidied.
pub const TIDY_EVERY: Duration = Duration::from_secs(10);

/// How often the log is looked after. Calls fail by themselves once it takes nothing; this is how soon the process ends
/// then, and its supervisor opens the log again.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
