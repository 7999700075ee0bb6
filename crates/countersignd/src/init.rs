//! `countersignd init`: a data folder with keys, configuration and trust file.

use std::{
    fs::{self, DirBuilder, File},
    io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use countersign_broker::grants::{
    id::{OperatorName, Origin},
    key::SigningKey,
    time::{Entropy, draw},
};
use countersign_ledger::{KeyName, SignerKey, VerifierKey};
use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{folder::DataFolder, keyfile};

/// The operators that every broker begins with: one vets a partner, and another lets it in.
const OPERATORS: [&str; 2] = ["operators/root", "operators/second"];

/// The folder is its owner's alone.
const FOLDER_MODE: u32 = 0o700;

/// The configuration names files and ports; nobody else needs it.
const CONFIGURATION_MODE: u32 = 0o600;

/// The trust file is made to be handed out.
const TRUST_MODE: u32 = 0o644;

/// What `init` needs to know.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The data folder: absent or empty.
    pub data: PathBuf,
    /// The origin of the log.
    pub origin: Origin,
    /// Where the API and the log are served.
    pub listen: SocketAddr,
    /// Where metrics are served: loopback.
    pub admin: SocketAddr,
    /// The files of a certificate; without them `listen` is on loopback.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The authorities that vouch for the certificate, PEM: handed out with the trust file.
    pub ca_pem: Option<String>,
    /// What partners and customers connect to, unless it follows from `listen`.
    pub address: Option<String>,
}

/// What everybody needs to know of a broker to trust what it hands out: `broker.json`. Public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trust {
    /// The origin of the log, which also names the broker.
    pub origin: String,
    /// The verifier key of the log's heads, as signed notes write it.
    pub log_verifier_key: String,
    /// The key of the broker's own calls: unpadded base64url of 32 bytes.
    pub broker_public_key: String,
    /// The URL of the API and the log.
    pub address: String,
    /// The authorities that vouch for the certificate there, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
}

impl Trust {
    fn of(plan: &Plan, log: &VerifierKey, call: &SigningKey) -> Self {
        let scheme = if plan.tls.is_some() { "https" } else { "http" };
        Self {
            origin: plan.origin.to_string(),
            log_verifier_key: log.to_string(),
            broker_public_key: BASE64URL_NOPAD.encode(call.public().as_bytes()),
            address: plan.address.clone().unwrap_or_else(|| format!("{scheme}://{}", plan.listen)),
            ca_pem: plan.ca_pem.clone(),
        }
    }
}

/// Why there is no data folder.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The folder holds something. Keys are never overwritten.
    #[error("{}: holds `{}` already; nothing was written. `init` takes an absent or empty folder", folder.display(), entry.display())]
    NotEmpty {
        /// Which folder.
        folder: PathBuf,
        /// The first thing in it.
        entry: PathBuf,
    },
    /// Without TLS others than this machine may not connect.
    #[error(
        "{address} is not a loopback address: give --tls-certificate and --tls-key, or listen on 127.0.0.1"
    )]
    NeedsTls {
        /// The address.
        address: SocketAddr,
    },
    /// A log's name is narrower than an origin.
    #[error("--origin: {0}")]
    Origin(countersign_ledger::KeyNameError),
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Makes the folder, the keys, the configuration and the trust file.
pub fn init(plan: &Plan, entropy: &dyn Entropy) -> Result<Trust, InitError> {
    if plan.tls.is_none() && !plan.listen.ip().is_loopback() {
        return Err(InitError::NeedsTls { address: plan.listen });
    }
    if !plan.admin.ip().is_loopback() {
        return Err(InitError::NeedsTls { address: plan.admin });
    }
    let name = KeyName::parse(plan.origin.as_str()).map_err(InitError::Origin)?;
    let folder = DataFolder::at(&plan.data);
    claim(folder.path())?;
    make_folder(&folder.keys())?;
    make_folder(&folder.catalogues())?;

    let log = SignerKey::from_seed(name, &Zeroizing::new(draw(entropy)));
    let [call, operator, second] = [(); 3].map(|()| SigningKey::from_secret(&Zeroizing::new(draw(entropy))));
    let trust = Trust::of(plan, log.verifier(), &call);

    write(folder.log_key(), |path| keyfile::write_log_key(path, &log))?;
    write(folder.call_key(), |path| keyfile::write_signing_key(path, &call))?;
    write(folder.wrapping_key(), |path| keyfile::write_wrapping_key(path, &Zeroizing::new(draw(entropy))))?;
    write(folder.operator_key(), |path| keyfile::write_signing_key(path, &operator))?;
    write(folder.second_operator_key(), |path| keyfile::write_signing_key(path, &second))?;
    write(folder.trust(), |path| {
        let text = serde_json::to_string_pretty(&trust).expect("strings are JSON") + "\n";
        keyfile::write_new(path, TRUST_MODE, text.as_bytes())
    })?;
    // Last, so that a folder with a configuration is a whole one.
    write(folder.configuration(), |path| {
        keyfile::write_new(path, CONFIGURATION_MODE, configuration(plan, [&operator, &second]).as_bytes())
    })?;
    for made in [folder.keys(), folder.path().to_owned()] {
        write(made, |made| File::open(made)?.sync_all())?;
    }
    Ok(trust)
}

/// The address for metrics that goes with a listener's: loopback, the next port; a port that the system chooses stays
/// one.
pub fn admin_beside(listen: SocketAddr) -> SocketAddr {
    let port = if listen.port() == 0 { 0 } else { listen.port().checked_add(1).unwrap_or(0) };
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Makes sure of a folder that is there, empty, and its owner's alone.
fn claim(folder: &Path) -> Result<(), InitError> {
    let failed = |source| InitError::File { path: folder.to_owned(), source };
    match fs::read_dir(folder) {
        Ok(mut entries) => {
            if let Some(entry) = entries.next() {
                let entry = entry.map_err(failed)?.file_name().into();
                return Err(InitError::NotEmpty { folder: folder.to_owned(), entry });
            }
            fs::set_permissions(folder, fs::Permissions::from_mode(FOLDER_MODE)).map_err(failed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = folder.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            make_folder(folder)
        }
        Err(error) => Err(failed(error)),
    }
}

fn make_folder(folder: &Path) -> Result<(), InitError> {
    let made = DirBuilder::new().mode(FOLDER_MODE).create(folder);
    made.map_err(|source| InitError::File { path: folder.to_owned(), source })
}

fn write(path: PathBuf, how: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), InitError> {
    how(&path).map_err(|source| InitError::File { path, source })
}

/// The configuration, with every key that has a default as a comment.
fn configuration(plan: &Plan, operators: [&SigningKey; 2]) -> String {
    let operator = |(name, key): (&str, &SigningKey)| {
        let name = OperatorName::parse(name).expect("a constant of the right form");
        let public = BASE64URL_NOPAD.encode(key.public().as_bytes());
        format!("[[operators]]\nname = \"{name}\"\npublic_key = \"{public}\"\n")
    };
    let operators = OPERATORS.into_iter().zip(operators).map(operator).collect::<Vec<_>>().join("\n");
    let tls = plan.tls.as_ref().map_or_else(
        || "# Without TLS this listener serves this machine alone.\n# tls = { certificate = \"chain.pem\", key = \"key.pem\" }".to_owned(),
        |(certificate, key)| format!("tls = {{ certificate = {}, key = {} }}", absolute(certificate), absolute(key)),
    );
    let Plan { origin, listen, admin, .. } = plan;
    let origin = text(origin.as_str());
    format!(
        r#"# Countersign: the configuration of one broker. Relative paths are meant from this file's folder.
# Each key can be set by an environment variable instead: COUNTERSIGN_ and the key in capitals, with two underscores
# between its parts and list entries numbered from 0, as COUNTERSIGN_LISTENERS__0__ADDRESS.

# The log's origin, which also names the broker. It stands in every signed statement: it can't be changed.
origin = {origin}
data = "."

# "embedded", or "memory" for trials.
engine = "embedded"

# When the journal begins a new segment, and how many bytes of full segments make a snapshot.
# journal = {{ segment_bytes = 67108864, snapshot_bytes = 268435456 }}

# A catalogue of your own in place of the one that is shipped.
# catalogue = "catalogue.toml"

# Whether the API describes itself to reflection clients.
# reflection = true

# The most connections at a time on each listener.
# max_connections = 896

# Which lines are logged, and whether as "text" or as "json".
# logging = {{ format = "text", filter = "info" }}

# Calls a second: each partner, customer, auditor, operator; and all who have no key here yet, together. Notices a minute:
# each grant.
# quotas = {{ partner = 5000, customer = 50, auditor = 2000, operator = 200, newcomers = 200, notices = 60 }}

# How often customers are asked by all partners together, in any 24 hours and any 7 days, unless they set their own; and for
# how long a partner is silent that was refused twice.
# asking = {{ per_day = 1, per_week = 3, silence_days = 90 }}

# How many seconds after a customer closed the account what is left of it leaves the disk.
# erasure = {{ scrub_after_seconds = 86400 }}

# The companion, in which customers approve, watch and stop, is served where `surfaces` name "web" beside "api". Whoever
# serves it can act as the people who use it: in production that is another operator's host, which is named here as
# browsers write it, for instance "https://app.example". `address` is where an app that is served here calls the API, if
# not where it came from.
# companion = {{ origins = [], address = "https://api.example" }}

# What one of them vets, another approves: with fewer than two no partner is let in.
{operators}
[[listeners]]
address = "{listen}"
surfaces = ["api", "log"]
{tls}

# Metrics and health detail tell volumes: loopback.
[[listeners]]
address = "{admin}"
surfaces = ["admin"]
"#
    )
}

/// A path as TOML text that doesn't depend on the configuration's folder.
fn absolute(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    text(&path.to_string_lossy())
}

/// A TOML string.
fn text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, keyfile::read_signing_key, real::SystemEntropy};

    fn plan(data: &Path) -> Plan {
        let listen = "127.0.0.1:7443".parse().expect("an address");
        let origin = Origin::parse("broker.example/log").expect("an origin");
        Plan {
            data: data.to_owned(),
            origin,
            listen,
            admin: admin_beside(listen),
            tls: None,
            ca_pem: None,
            address: None,
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("is there").permissions().mode() & 0o777
    }

    #[test]
    fn the_folder_is_whole_and_its_owners_alone() {
        let place = tempfile::tempdir().expect("a folder");
        let data = place.path().join("deep/data");
        let trust = init(&plan(&data), &SystemEntropy).expect("makes it");
        let folder = DataFolder::at(&data);
        for folder in [folder.path(), &folder.keys(), &folder.catalogues()] {
            assert_eq!(mode(folder), 0o700, "{}", folder.display());
        }
        let operators = [folder.operator_key(), folder.second_operator_key()];
        let keys = [folder.log_key(), folder.call_key(), folder.wrapping_key()];
        for file in keys.iter().chain(&operators).chain([&folder.configuration()]) {
            assert_eq!(mode(file), 0o600, "{}", file.display());
        }

        let config = config::read(&folder.configuration(), []).expect("reads");
        assert_eq!(config.origin.as_str(), "broker.example/log");
        for (operator, file) in config.operators.iter().zip(&operators) {
            assert_eq!(&operator.public_key, read_signing_key(file).expect("reads").public());
        }
        assert_eq!(config.operators.len(), 2);
        assert_ne!(config.operators[0].name, config.operators[1].name);
        assert_eq!(config.listeners[1].address.to_string(), "127.0.0.1:7444");

        let log = keyfile::read_log_key(&folder.log_key()).expect("reads");
        assert_eq!(trust.log_verifier_key, log.verifier().to_string());
        assert_eq!(trust.address, "http://127.0.0.1:7443");
        let written: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(folder.trust()).expect("reads")).expect("JSON");
        assert_eq!(written["broker_public_key"], trust.broker_public_key);
    }

    #[test]
    fn nothing_is_overwritten() {
        let place = tempfile::tempdir().expect("a folder");
        let data = place.path().join("data");
        init(&plan(&data), &SystemEntropy).expect("makes it");
        let before = fs::read(DataFolder::at(&data).log_key()).expect("reads");
        let again = init(&plan(&data), &SystemEntropy);
        assert!(matches!(again, Err(InitError::NotEmpty { .. })), "{again:?}");
        assert_eq!(fs::read(DataFolder::at(&data).log_key()).expect("reads"), before);
    }

    #[test]
    fn other_machines_need_tls() {
        let place = tempfile::tempdir().expect("a folder");
        let data = place.path().join("data");
        let mut plan = Plan { listen: "0.0.0.0:7443".parse().expect("an address"), ..plan(&data) };
        assert!(matches!(init(&plan, &SystemEntropy), Err(InitError::NeedsTls { .. })));
        assert!(!data.exists(), "nothing was written");
        plan.tls = Some(("chain.pem".into(), "key.pem".into()));
        assert_eq!(init(&plan, &SystemEntropy).expect("makes it").address, "https://0.0.0.0:7443");
        let config = config::read(&DataFolder::at(&data).configuration(), []).expect("reads");
        assert!(config.listeners[0].tls.as_ref().expect("set").certificate.is_absolute());
    }
}
