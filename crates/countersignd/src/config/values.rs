//! The parts of a configuration.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use countersign_broker::{
    grants::{
        budget::{BadBudget, Budget, Defaults},
        id::{OperatorName, Origin},
        key::PublicKey,
    },
    surface::PageOrigin,
};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Deserializer, de::Error as _};

/// Where state is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// In the data folder: the journal with its index.
    #[default]
    Embedded,
    /// In memory: for trials. Everything is gone when the process ends.
    Memory,
}

/// What is logged, and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// How a line looks.
    pub format: LogFormat,
    /// Which lines: `info`, or `warn,countersign_broker=debug`.
    pub filter: String,
}

impl Default for Logging {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Calls a second for each principal of a kind, and notices of a grant; what isn't set keeps its default.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Each partner.
    pub partner: Option<NonZeroU32>,
    /// Each customer.
    pub customer: Option<NonZeroU32>,
    /// Each auditor.
    pub auditor: Option<NonZeroU32>,
    /// Each operator.
    pub operator: Option<NonZeroU32>,
    /// All who have no key here yet, together.
    pub newcomers: Option<NonZeroU32>,
    /// Of each grant, in a minute.
    pub notices: Option<NonZeroU32>,
}

/// How often customers are asked who have set nothing; what isn't set keeps its default.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asking {
    /// Requests in any 24 hours.
    pub per_day: Option<u32>,
    /// Requests in any 7 days.
    pub per_week: Option<u32>,
    /// For how many days a partner is silent after refusals.
    pub silence_days: Option<u32>,
}

impl Asking {
    /// What the broker goes by: the key and what is wrong, if it can't.
    pub fn defaults(self) -> Result<Defaults, (&'static str, String)> {
        let Defaults { budget, silence } = Defaults::default();
        let (per_day, per_week) = (self.per_day, self.per_week);
        let (per_day, per_week) =
            (per_day.unwrap_or(budget.per_day()), per_week.unwrap_or(budget.per_week()));
        let budget = Budget::new(per_day, per_week).map_err(|wrong| {
            let key = if wrong == BadBudget::PerDay { "asking.per_day" } else { "asking.per_week" };
            (key, wrong.to_string())
        })?;
        let silence =
            self.silence_days.map_or(silence, |days| Duration::from_secs(u64::from(days) * 24 * 3600));
        Defaults::new(budget, silence).map_err(|wrong| ("asking.silence_days", wrong.to_string()))
    }
}

/// When the embedded engine begins a new journal segment, and when it takes a snapshot. What isn't set keeps the engine's
/// default, which suits every load that one machine carries; small numbers make a test see in seconds what otherwise takes
/// a day.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalFiles {
    /// A segment with this many bytes is full.
    pub segment_bytes: Option<u64>,
    /// So many bytes of full segments that no snapshot covers make a snapshot.
    pub snapshot_bytes: Option<u64>,
}

impl JournalFiles {
    /// The smallest segment: some twenty commits of one record each. With smaller ones the syncs of names would outnumber
    /// those of commits.
    pub const MIN_SEGMENT_BYTES: u64 = 64 << 10;

    /// The largest: a segment is read whole when the store is opened, so this much memory must be there.
    pub const MAX_SEGMENT_BYTES: u64 = 1 << 30;
}

/// When what was removed leaves the disk; what isn't set keeps its default.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Erasure {
    /// So long after a customer closed the account, or removed an authenticator, the store is scrubbed.
    pub scrub_after_seconds: Option<u64>,
}

impl Erasure {
    /// A day: what is removed in it leaves the disk together, for to scrub is to write all that lives anew.
    const SCRUB_AFTER_SECONDS: u64 = 24 * 3600;

    /// The longest: the month in which a request for erasure is to be answered (GDPR, article 12, 3), less two days in which a
    /// scrub can fail and be noticed.
    pub const MAX_SCRUB_AFTER_SECONDS: u64 = 28 * 24 * 3600;

    /// How long what was removed waits for a scrub.
    pub fn scrub_after(self) -> Duration {
        Duration::from_secs(self.scrub_after_seconds.unwrap_or(Self::SCRUB_AFTER_SECONDS))
    }
}

/// The app of customers. It is served where a listener's surfaces name `web`, and can be hosted anywhere else.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Companion {
    /// Where the app that is served here calls the API, unless that is where it came from.
    #[serde(deserialize_with = "page_origin")]
    pub address: Option<PageOrigin>,
    /// The origins of apps that are hosted elsewhere: their pages may call the API.
    #[serde(deserialize_with = "page_origins")]
    pub origins: Vec<PageOrigin>,
}

/// Who may run this broker through the API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// `operators/{operator}`.
    #[serde(deserialize_with = "operator")]
    pub name: OperatorName,
    /// The `public` line of the operator's key file.
    #[serde(deserialize_with = "public_key")]
    pub public_key: PublicKey,
}

/// One port, and what is behind it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// IP address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// What is served there.
    pub surfaces: Vec<Surface>,
    /// Needed everywhere but on loopback.
    #[serde(default)]
    pub tls: Option<Tls>,
}

/// A part of the broker that a listener can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Surface {
    /// The gRPC services, health and reflection; to browsers as gRPC-Web.
    Api,
    /// The companion: whoever serves it can act as the people who use it.
    Web,
    /// The checkpoint, the tiles, and for auditors the entries.
    Log,
    /// Metrics and health detail. They tell volumes: keep them from the public.
    Admin,
}

/// The files of a certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The chain, PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// The secret key, PEM.
    pub key: PathBuf,
}

pub(super) fn origin<'de, D: Deserializer<'de>>(from: D) -> Result<Origin, D::Error> {
    Origin::parse(&String::deserialize(from)?).map_err(D::Error::custom)
}

fn page_origin<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PageOrigin>, D::Error> {
    PageOrigin::parse(&String::deserialize(from)?).map(Some).map_err(D::Error::custom)
}

fn page_origins<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PageOrigin>, D::Error> {
    let parse = |text: &String| {
        PageOrigin::parse(text).map_err(|wrong| D::Error::custom(format!("`{text}`: {wrong}")))
    };
    Vec::<String>::deserialize(from)?.iter().map(parse).collect()
}

fn operator<'de, D: Deserializer<'de>>(from: D) -> Result<OperatorName, D::Error> {
    OperatorName::parse(&String::deserialize(from)?).map_err(D::Error::custom)
}

fn public_key<'de, D: Deserializer<'de>>(from: D) -> Result<PublicKey, D::Error> {
    let text = String::deserialize(from)?;
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| PublicKey::from_slice(&bytes).ok())
        .ok_or_else(|| D::Error::custom("not the unpadded base64url of an Ed25519 public key"))
}
