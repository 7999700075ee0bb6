//! Calling sources: one channel for each approved endpoint, and a token for each.

use std::{collections::HashMap, ops::Range, sync::Arc, time::Duration};

use countersign_grants::{id::PartnerName, time::Timestamp, token::MAX_TOKEN_LIFE};
use countersign_proto::{
    row::v1::PartnerRow,
    v1::{
        ProvideDataRequest, ProvideDataResponse, ProvidePreviewRequest, ProvidePreviewResponse,
        source_service_client::SourceServiceClient,
    },
};
use parking_lot::Mutex;
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use tonic_types::StatusExt as _;

use crate::{
    broker::Broker,
    error::{DOMAIN, Fault},
};

/// How long a source may take to answer. People wait for what comes of it.
pub const SOURCE_DEADLINE: Duration = Duration::from_secs(10);

/// How long connecting may take: three round trips over a bad network.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// How often a quiet connection is asked whether it still stands, so that a healed partition is noticed.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);

/// How long the answer to that may take.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);

/// A token is drawn anew when less than this is left of it: the longest call, several times over.
const TOKEN_RESERVE: Duration = Duration::from_secs(60);

/// The largest answer: 32 fields of 4,112 bytes each, their names and a signed provision; rounded up.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// The sources that were called, by name.
pub struct Sources {
    broker: Arc<Broker>,
    known: Mutex<HashMap<PartnerName, Known>>,
}

struct Known {
    endpoint: String,
    channel: Channel,
    token: MetadataValue<Ascii>,
    /// When it is used. One from the future is of a clock that was set back since: no source would take it.
    token_times: Range<Timestamp>,
}

/// A client for one source, and the token to call it with.
pub struct Called {
    client: SourceServiceClient<Channel>,
    token: MetadataValue<Ascii>,
}

impl Called {
    /// A call with the token and a deadline.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request.set_timeout(SOURCE_DEADLINE);
        request
    }

    /// The client.
    pub fn client(&mut self) -> &mut SourceServiceClient<Channel> {
        &mut self.client
    }
}

impl Sources {
    /// The sources of this broker.
    pub fn new(broker: Arc<Broker>) -> Self {
        Self { broker, known: Mutex::default() }
    }

    /// A client for the source at the endpoint that its row names *now*.
    pub fn reach(&self, name: &PartnerName, row: &PartnerRow) -> Result<Called, Fault> {
        let unreachable = |problem: String| Fault::SourceUnavailable { source_name: name.clone(), problem };
        if row.source_endpoint.is_empty() {
            return Err(unreachable("no endpoint is approved".to_owned()));
        }
        let now = self.broker.now();
        let mut known = self.known.lock();
        let stands = known.get(name).is_some_and(|source| {
            source.endpoint == row.source_endpoint && source.token_times.contains(&now)
        });
        if !stands {
            let channel = match known.remove(name).filter(|source| source.endpoint == row.source_endpoint) {
                Some(source) => source.channel,
                None => self.connect(&row.source_endpoint).map_err(|error| unreachable(error.to_string()))?,
            };
            let token = format!("Bearer {}", self.broker.issuer().issue(name.as_str(), now));
            let source = Known {
                endpoint: row.source_endpoint.clone(),
                channel,
                token: token.parse().expect("a token is base64url and dots"),
                token_times: now..now.plus(MAX_TOKEN_LIFE).minus(TOKEN_RESERVE),
            };
            known.insert(name.clone(), source);
        }
        let source = &known[name];
        let client =
            SourceServiceClient::new(source.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        Ok(Called { client, token: source.token.clone() })
    }

    /// Has a source provide data.
    pub async fn provide(
        &self,
        name: &PartnerName,
        row: &PartnerRow,
        message: ProvideDataRequest,
    ) -> Result<ProvideDataResponse, Fault> {
        let mut called = self.reach(name, row)?;
        let request = called.request(message);
        answered(name, called.client().provide_data(request)).await
    }

    /// Has a source show a customer what would leave.
    pub async fn provide_preview(
        &self,
        name: &PartnerName,
        row: &PartnerRow,
        message: ProvidePreviewRequest,
    ) -> Result<ProvidePreviewResponse, Fault> {
        let mut called = self.reach(name, row)?;
        let request = called.request(message);
        answered(name, called.client().provide_preview(request)).await
    }

    /// A channel that connects when it is first used, and again when it broke.
    fn connect(&self, endpoint: &str) -> Result<Channel, tonic::transport::Error> {
        let mut channel = Endpoint::from_shared(endpoint.to_owned())?
            .connect_timeout(CONNECT_DEADLINE)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_EVERY)
            .keep_alive_timeout(KEEPALIVE_ANSWER)
            .keep_alive_while_idle(true);
        if endpoint.starts_with("https://") {
            channel = channel.tls_config(ClientTlsConfig::new().with_native_roots())?;
        }
        Ok((self.broker.settings().dial)(&channel))
    }
}

/// The reason of a source whose own systems have no answer now.
const UNAVAILABLE: &str = "SOURCE_UNAVAILABLE";

/// Waits for a source's answer. The client's deadline travels with the call; this one holds if the source doesn't.
async fn answered<T>(
    name: &PartnerName,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(SOURCE_DEADLINE, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(refused(name, &status)),
        Err(_) => Err(Fault::SourceUnavailable {
            source_name: name.clone(),
            problem: format!("no answer within {} s", SOURCE_DEADLINE.as_secs()),
        }),
    }
}

/// A source that says why it refuses is heard; all else is silence.
fn refused(name: &PartnerName, status: &Status) -> Fault {
    let source_name = name.clone();
    match status.get_details_error_info() {
        // One that can't answer now may answer the next try; one that refuses won't.
        Some(info) if info.domain == DOMAIN && is_reason(&info.reason) && info.reason != UNAVAILABLE => {
            Fault::SourceRefused { source_name, source_reason: info.reason }
        }
        _ => Fault::SourceUnavailable {
            source_name,
            problem: format!("{:?}: {}", status.code(), status.message()),
        },
    }
}

/// What comes from a source goes on to a recipient: a short word in capitals, and nothing else.
fn is_reason(reason: &str) -> bool {
    /// The longest of ours has 20 characters.
    const MAX_CHARS: usize = 40;
    (1..=MAX_CHARS).contains(&reason.len()) && reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}
