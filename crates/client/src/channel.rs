//! The connection to a broker: TLS, keepalive, deadlines, and a token on every call.

use std::{fmt, sync::Arc, time::Duration};

use countersign_grants::{
    id::Principal,
    key::SigningKey,
    time::{Clock, Timestamp},
    token::{Issuer, MAX_TOKEN_LIFE},
};
use countersign_proto::v1::{
    audit_service_client::AuditServiceClient, catalogue_service_client::CatalogueServiceClient,
    customer_service_client::CustomerServiceClient, event_service_client::EventServiceClient,
    grant_service_client::GrantServiceClient, link_service_client::LinkServiceClient,
    offer_service_client::OfferServiceClient, operator_service_client::OperatorServiceClient,
    partner_service_client::PartnerServiceClient, transfer_service_client::TransferServiceClient,
};
use parking_lot::Mutex;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    error::{Error, Misuse},
    trust::BrokerTrust,
};

/// How long a connection may take to stand: three round trips around the world, and a slow handshake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one call may take. The broker asks the source within it, so it is longer than a source's own deadline.
pub const CALL_DEADLINE: Duration = Duration::from_secs(15);

/// How often a silent connection is asked whether it lives. Without that, calls keep failing after a partition heals.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How long it may take to say so.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A token is minted again at half its life: the other half covers clocks that differ and calls under way.
const TOKEN_RENEWAL: Duration = Duration::from_secs(MAX_TOKEN_LIFE.as_secs() / 2);

/// A channel that puts a token on each call.
pub type Calls = InterceptedService<Channel, Bearer>;

/// A connection to a broker as one principal. Connects at the first call, and again when it must. Cloning is cheap.
#[derive(Clone)]
pub struct Connection {
    channel: Channel,
    bearer: Bearer,
}

macro_rules! client {
    ($(#[$doc:meta])* $name:ident, $client:ident) => {
        $(#[$doc])*
        pub fn $name(&self) -> $client<Calls> {
            $client::with_interceptor(self.channel.clone(), self.bearer.clone())
        }
    };
}

impl Connection {
    /// Prepares a connection on which `principal` signs its tokens with `key`. Nothing is sent yet.
    pub fn open(
        trust: &BrokerTrust,
        principal: Principal,
        key: &SigningKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        Self::dialled(trust, principal, key, clock, Endpoint::connect_lazy)
    }

    /// The same, where the broker is not reached by TCP to its address but by what `dial` makes of it: through a tunnel, a
    /// Unix socket, a simulated network. What the address must be like stays as it is.
    pub fn dialled(
        trust: &BrokerTrust,
        principal: Principal,
        key: &SigningKey,
        clock: Arc<dyn Clock>,
        dial: impl FnOnce(&Endpoint) -> Channel,
    ) -> Result<Self, Error> {
        let channel = dial(&endpoint(trust)?);
        let issuer = Issuer::new(principal, key);
        let bearer =
            Bearer(Arc::new(Minter { issuer, audience: trust.audience(), clock, last: Mutex::default() }));
        Ok(Self { channel, bearer })
    }

    /// The value of the `authorization` header, for plain HTTP reads of entry bundles.
    pub fn authorization(&self) -> String {
        self.bearer.0.current().to_str().map(str::to_owned).unwrap_or_default()
    }

    client!(
        /// Partners and their keys.
        partners, PartnerServiceClient
    );
    client!(
        /// The catalogue.
        catalogue, CatalogueServiceClient
    );
    client!(
        /// Offers.
        offers, OfferServiceClient
    );
    client!(
        /// Links.
        links, LinkServiceClient
    );
    client!(
        /// Requests and grants.
        grants, GrantServiceClient
    );
    client!(
        /// Transfers.
        transfers, TransferServiceClient
    );
    client!(
        /// Customers.
        customers, CustomerServiceClient
    );
    client!(
        /// Events.
        events, EventServiceClient
    );
    client!(
        /// The log.
        audit, AuditServiceClient
    );
    client!(
        /// The broker's own running.
        operators, OperatorServiceClient
    );
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.bearer.0.issuer.principal())
    }
}

/// A message as a call with the usual deadline. Streams go without one.
pub fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_DEADLINE);
    request
}

/// Puts `authorization: Bearer <token>` on each call.
#[derive(Clone)]
pub struct Bearer(Arc<Minter>);

struct Minter {
    issuer: Issuer,
    audience: String,
    clock: Arc<dyn Clock>,
    last: Mutex<Option<(Timestamp, MetadataValue<Ascii>)>>,
}

impl Minter {
    fn current(&self) -> MetadataValue<Ascii> {
        let now = self.clock.now();
        let mut last = self.last.lock();
        // One from the future is of a clock that was set back since: whoever is called would not take it.
        if let Some((minted, value)) = last.as_ref()
            && *minted <= now
            && now.since(*minted) < TOKEN_RENEWAL
        {
            return value.clone();
        }
        let value = format!("Bearer {}", self.issuer.issue(&self.audience, now));
        let mut value: MetadataValue<Ascii> = value.parse().expect("a JWT is base64url and dots");
        value.set_sensitive(true);
        *last = Some((now, value.clone()));
        value
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.current());
        Ok(request)
    }
}

fn endpoint(trust: &BrokerTrust) -> Result<Endpoint, Error> {
    let wrong = |problem: String| Error::Misuse(Misuse::Address { address: trust.address.clone(), problem });
    let uri: http::Uri =
        trust.address.parse().map_err(|error: http::uri::InvalidUri| wrong(error.to_string()))?;
    let endpoint = Endpoint::from(uri.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    match (uri.scheme_str(), &trust.ca_pem) {
        (Some("https"), Some(pem)) => {
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
            endpoint.tls_config(tls).map_err(|error| wrong(error.to_string()))
        }
        (Some("https"), None) => Err(wrong("needs `ca_pem`, the authorities that may vouch for it".into())),
        (Some("http"), _) if is_loopback(uri.host()) => Ok(endpoint),
        (Some("http"), _) => Err(wrong("plain `http` is for loopback alone".into())),
        _ => Err(wrong("must start with `https://`, or on loopback with `http://`".into())),
    }
}

pub(crate) fn is_loopback(host: Option<&str>) -> bool {
    let host = host.unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{system::System, trust::BrokerTrust};
    use countersign_grants::id::{Origin, PartnerName};
    use countersign_tlog::{KeyName, SignerKey};

    fn trust(address: &str) -> BrokerTrust {
        let name = KeyName::parse("b").expect("a name");
        BrokerTrust {
            origin: Origin::parse("b").expect("an origin"),
            log_key: SignerKey::from_seed(name, &[1; 32]).verifier().clone(),
            call_key: SigningKey::from_secret(&[2; 32]).public().clone(),
            address: address.into(),
            ca_pem: None,
        }
    }

    fn check(address: &str, good: bool) {
        assert_eq!(endpoint(&trust(address)).is_ok(), good, "{address}");
    }

    #[test]
    fn plain_http_is_for_loopback_alone() {
        check("http://127.0.0.1:8080", true);
        check("http://[::1]:8080", true);
        check("http://localhost:8080", true);
        check("http://broker.example", false);
        check("http://127.0.0.1.example", false);
        check("https://broker.example", false);
        check("broker.example", false);
        check("", false);
    }

    #[tokio::test]
    async fn a_token_serves_many_calls() {
        let principal = Principal::Partner(PartnerName::of_id("hopp").expect("an id"));
        let key = SigningKey::from_secret(&[3; 32]);
        let connection =
            Connection::open(&trust("http://127.0.0.1:1"), principal, &key, System::real().clock)
                .expect("opens");
        assert!(connection.authorization().starts_with("Bearer "));
        assert_eq!(connection.authorization(), connection.authorization());
    }

    #[tokio::test]
    async fn no_token_is_from_the_future() {
        let world = crate::fixtures::World::new();
        let principal = Principal::Partner(PartnerName::of_id("hopp").expect("an id"));
        let key = SigningKey::from_secret(&[3; 32]);
        let connection = Connection::open(&trust("http://127.0.0.1:1"), principal, &key, world.clock.clone())
            .expect("opens");
        world.clock.set(60_000);
        let ahead = connection.authorization();
        world.clock.set(0);
        assert_ne!(connection.authorization(), ahead, "its `iat` lies ahead");
    }
}
