//! The configuration: a TOML file, and environment variables over it.

mod environment;
mod read;
mod values;

use std::path::PathBuf;

use countersign_broker::grants::id::Origin;

pub use self::{
    environment::PREFIX,
    read::{ConfigError, read},
    values::{
        Asking, Companion, Engine, Erasure, JournalFiles, Listener, LogFormat, Logging, Operator, Quotas,
        Surface, Tls,
    },
};

/// Everything that the daemon can be told. Paths are as given: relative ones are meant from the folder that the
/// configuration file stands in, which [`read`] has applied already.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The origin of the log, which also names the broker. It stands in every statement, so it can't be changed later.
    #[serde(deserialize_with = "values::origin")]
    pub origin: Origin,
    /// The data folder.
    pub data: PathBuf,
    /// Where state is kept.
    #[serde(default)]
    pub engine: Engine,
    /// How the embedded engine cuts its journal.
    #[serde(default)]
    pub journal: JournalFiles,
    /// A catalogue of the operator's own in place of the one that is shipped.
    #[serde(default)]
    pub catalogue: Option<PathBuf>,
    /// Whether the API describes itself to reflection clients.
    #[serde(default = "yes")]
    pub reflection: bool,
    /// The most connections at a time on each listener.
    #[serde(default)]
    pub max_connections: Option<std::num::NonZeroU32>,
    /// What is logged, and how.
    #[serde(default)]
    pub logging: Logging,
    /// Calls a second, by who calls; notices a minute of each grant.
    #[serde(default)]
    pub quotas: Quotas,
    /// How often customers are asked who have set nothing.
    #[serde(default)]
    pub asking: Asking,
    /// When what was removed leaves the disk.
    #[serde(default)]
    pub erasure: Erasure,
    /// The app of customers, here or elsewhere.
    #[serde(default)]
    pub companion: Companion,
    /// Who may run this broker through the API.
    #[serde(default)]
    pub operators: Vec<Operator>,
    /// Where it listens.
    pub listeners: Vec<Listener>,
}

fn yes() -> bool {
    true
}
