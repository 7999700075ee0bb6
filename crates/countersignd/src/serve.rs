//! `countersignd serve`: wires the broker, and runs it until it is told to stop.

use std::{io, io::Write as _, path::Path, sync::Arc, time::Duration};

use countersign_broker::grants::{
    budget::Defaults,
    id::{Origin, Principal},
    key::PublicKey,
    time::Clock as _,
    token::Issuer,
};
use countersign_broker::{
    Broker, BrokerParts, Settings,
    private::Kek,
    surface::{self, BindError, Ended, Listener, Options, Surface, tls},
};
use countersign_ledger::Ledger;
use countersign_store::{Store, memory::MemoryStore};
use countersign_store_sled::SledStore;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    catalogues::{self, KeepError},
    companion,
    config::{self, Config, Engine},
    folder::DataFolder,
    keyfile::{self, ReadKeyError},
    real::{SystemClock, SystemEntropy},
    scrub,
};

/// Why the broker isn't served, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A key can't be used.
    #[error(transparent)]
    Key(#[from] ReadKeyError),
    /// The log's key is another log's.
    #[error("keys/log.key is that of `{found}`, and `origin` is `{expected}`: an origin can't be changed")]
    OtherOrigin {
        /// The configured origin.
        expected: Origin,
        /// The key's name.
        found: String,
    },
    /// A setting is out of its bounds.
    #[error("{key}: {wrong}")]
    Setting {
        /// Which.
        key: &'static str,
        /// What is wrong.
        wrong: String,
    },
    /// The catalogues can't be used.
    #[error(transparent)]
    Catalogue(#[from] KeepError),
    /// A listener's certificate can't be used.
    #[error("listeners[{number}].tls: {source}")]
    Tls {
        /// Which listener.
        number: usize,
        /// What is wrong.
        source: tls::TlsError,
    },
    /// A listener's certificate can't be read.
    #[error("listeners[{number}].tls: {}: {source}", file.display())]
    TlsFile {
        /// Which listener.
        number: usize,
        /// Which file.
        file: std::path::PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A port can't be bound.
    #[error("listeners[{number}]: {source}")]
    Bind {
        /// Which listener.
        number: usize,
        /// What is wrong.
        source: BindError,
    },
    /// The store can't be opened.
    #[error("the store can't be opened: {0}")]
    Store(#[from] countersign_store_sled::OpenError),
    /// The log can't be opened.
    #[error("the log can't be opened: {0}")]
    Ledger(#[from] countersign_ledger::OpenError),
    /// The broker can't be opened.
    #[error("the broker can't be opened: {0}")]
    Broker(#[from] countersign_broker::OpenError),
    /// The log takes nothing any more.
    #[error("the log takes nothing any more, since a commit failed: start again, so that it is opened again")]
    LogUnavailable,
    /// Nobody can be told that it is ready.
    #[error("the ready file: {0}")]
    Ready(io::Error),
    /// The system gives no signals.
    #[error("signals can't be received: {0}")]
    Signals(io::Error),
}

impl ServeError {
    /// Whether a file of the operator's is wrong, so that starting again changes nothing.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Key(_)
            | Self::OtherOrigin { .. }
            | Self::Setting { .. }
            | Self::Catalogue(_)
            | Self::Tls { .. }
            | Self::TlsFile { .. }
            | Self::Bind { source: BindError::NeedsTls { .. } | BindError::NoSurface { .. }, .. } => true,
            Self::Bind { source: BindError::Socket { .. }, .. }
            | Self::Store(_)
            | Self::Ledger(_)
            | Self::Broker(_)
            | Self::LogUnavailable
            | Self::Ready(_)
            | Self::Signals(_) => false,
        }
    }
}

/// A broker whose ports are bound: whoever connects waits until it [runs](Ready::run).
pub struct Ready {
    broker: Arc<Broker>,
    listeners: Vec<Listener>,
    options: Options,
    engine: Opened,
    scrub_after: Duration,
}

/// Opens everything that the configuration names.
pub async fn prepare(config: &Config) -> Result<Ready, ServeError> {
    let asking = config.asking.defaults().map_err(|(key, wrong)| ServeError::Setting { key, wrong })?;
    // Everything that can be wrong about files, before the store is opened.
    let keys = Keys::read(config)?;
    let kept = catalogues::keep(&DataFolder::at(&config.data).catalogues(), config.catalogue.as_deref())?;
    let listeners = bind(config).await?;
    // Before anything is counted: what is counted first keeps the counter that it found.
    let mut options = options(config);
    options.web = companion::app(config, keys.log.verifier(), &keys.call);

    let engine = Opened::open(config).await?;
    let now = Arc::new(|| SystemClock.now().as_millis());
    let ledger = Ledger::open(engine.store(), keys.log, now).await?;
    let broker = Broker::open(BrokerParts {
        ledger,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        issuer: keys.issuer,
        kek: keys.kek,
        catalogue: kept.current.into(),
        older_catalogues: kept.older.into_iter().map(Into::into).collect(),
        operators: config.operators.iter().map(|one| (one.name.clone(), one.public_key.clone())).collect(),
        settings: settings(config, asking),
    })
    .await?;
    Ok(Ready { broker, listeners, options, engine, scrub_after: config.erasure.scrub_after() })
}

impl Ready {
    /// The ports, with the numbers that the system chose.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// The broker, and its store if that is on a disk.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> (Arc<Broker>, Option<Arc<SledStore>>) {
        let store = match &self.engine {
            Opened::Embedded(store) => Some(Arc::clone(store)),
            Opened::Memory(_) => None,
        };
        (Arc::clone(&self.broker), store)
    }

    /// Says on stdout, and in `ready_file`, where it can be connected to.
    pub fn say(&self, ready_file: Option<&Path>) -> Result<(), ServeError> {
        say_ready(&self.listeners, ready_file).map_err(ServeError::Ready)
    }

    /// Serves until `stop` is cancelled; returns when everything is synced and closed. That the log takes nothing any more
    /// is an error: it recovers by being opened again, which is for whoever starts this process.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServeError> {
        let scrubbing = self.engine.scrubbing(&self.broker, self.scrub_after);
        let ended = surface::serve(self.broker, self.listeners, self.options, stop).await;
        // One that is under way ends when the store is closed.
        scrubbing.abort();
        self.engine.close().await;
        match ended {
            Ended::Stopped => {
                tracing::info!("stopped");
                Ok(())
            }
            Ended::LogUnavailable => Err(ServeError::LogUnavailable),
        }
    }
}

/// The secrets of a broker.
struct Keys {
    log: countersign_ledger::SignerKey,
    /// The public half of what the issuer signs with.
    call: PublicKey,
    issuer: Issuer,
    kek: Kek,
}

impl Keys {
    fn read(config: &Config) -> Result<Self, ServeError> {
        let folder = DataFolder::at(&config.data);
        let log = keyfile::read_log_key(&folder.log_key())?;
        if log.name().as_str() != config.origin.as_str() {
            let found = log.name().to_string();
            return Err(ServeError::OtherOrigin { expected: config.origin.clone(), found });
        }
        let call = keyfile::read_signing_key(&folder.call_key())?;
        let kek = Kek::new(*keyfile::read_wrapping_key(&folder.wrapping_key())?);
        let issuer = Issuer::new(Principal::Broker(config.origin.clone()), &call);
        Ok(Self { log, call: call.public().clone(), issuer, kek })
    }
}

/// The engine, kept apart from the contract so that it can be closed.
enum Opened {
    Embedded(Arc<SledStore>),
    Memory(Arc<MemoryStore>),
}

impl Opened {
    async fn open(config: &Config) -> Result<Self, ServeError> {
        Ok(match config.engine {
            Engine::Embedded => {
                let folder = DataFolder::at(&config.data).store();
                Self::Embedded(Arc::new(SledStore::open(folder, store_options(config)).await?))
            }
            Engine::Memory => {
                tracing::warn!("engine = \"memory\": everything is gone when this process ends");
                Self::Memory(Arc::new(MemoryStore::new()))
            }
        })
    }

    fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Embedded(store) => Arc::clone(store) as Arc<dyn Store>,
            Self::Memory(store) => Arc::clone(store) as Arc<dyn Store>,
        }
    }

    /// Has what was removed leave the disk while the broker serves.
    fn scrubbing(&self, broker: &Arc<Broker>, after: Duration) -> JoinHandle<()> {
        let store = match self {
            Self::Embedded(store) => Some(Arc::clone(store)),
            Self::Memory(_) => None,
        };
        tokio::spawn(scrub::scrub_when_due(Arc::clone(broker), store, after))
    }

    async fn close(&self) {
        let Self::Embedded(store) = self else { return };
        if let Err(error) = store.close().await {
            // The journal has everything: the next start takes longer, no more.
            tracing::warn!(%error, "the store did not close cleanly");
        }
    }
}

/// How the embedded engine is opened.
pub(crate) fn store_options(config: &Config) -> countersign_store_sled::Options {
    let mut options = countersign_store_sled::Options::default();
    let (set, journal) = (&mut options, config.journal);
    set.segment_bytes = journal.segment_bytes.unwrap_or(set.segment_bytes);
    set.snapshot_bytes = journal.snapshot_bytes.unwrap_or(set.snapshot_bytes);
    options
}

async fn bind(config: &Config) -> Result<Vec<Listener>, ServeError> {
    let mut listeners = Vec::with_capacity(config.listeners.len());
    for (number, listener) in config.listeners.iter().enumerate() {
        let read = |file: &Path| {
            std::fs::read(file).map_err(|source| ServeError::TlsFile {
                number,
                file: file.to_owned(),
                source,
            })
        };
        let tls = match &listener.tls {
            Some(files) => {
                let made = tls::server_config(&read(&files.certificate)?, &read(&files.key)?);
                Some(made.map_err(|source| ServeError::Tls { number, source })?)
            }
            None => None,
        };
        let surfaces: Vec<_> = listener.surfaces.iter().copied().map(Surface::from).collect();
        let bound = Listener::bind(listener.address, &surfaces, tls).await;
        let bound = bound.map_err(|source| ServeError::Bind { number, source })?;
        // Metrics are meant for this machine alone.
        if !bound.has_tls() && bound.surfaces() != [Surface::Admin] {
            tracing::warn!(address = %bound.address(), "no TLS: this listener serves this machine alone");
        }
        listeners.push(bound);
    }
    Ok(listeners)
}

impl From<config::Surface> for Surface {
    fn from(surface: config::Surface) -> Self {
        match surface {
            config::Surface::Api => Self::Api,
            config::Surface::Web => Self::Web,
            config::Surface::Log => Self::Log,
            config::Surface::Admin => Self::Admin,
        }
    }
}

fn settings(config: &Config, asking: Defaults) -> Settings {
    let default = Settings::default();
    let notices = config.quotas.notices.unwrap_or(default.notices);
    Settings { reflection: config.reflection, asking, notices, ..default }
}

fn options(config: &Config) -> Options {
    let mut options = Options::default();
    if let Some(most) = config.max_connections {
        options.max_connections = most.get();
    }
    let (set, quotas) = (&config.quotas, &mut options.quotas);
    quotas.partner = set.partner.unwrap_or(quotas.partner);
    quotas.customer = set.customer.unwrap_or(quotas.customer);
    quotas.auditor = set.auditor.unwrap_or(quotas.auditor);
    quotas.operator = set.operator.unwrap_or(quotas.operator);
    quotas.newcomers = set.newcomers.unwrap_or(quotas.newcomers);
    options.page_origins.clone_from(&config.companion.origins);
    let recorder = surface::recorder();
    let metrics = recorder.handle();
    // A process has one recorder; a second broker in it would count into the first one's.
    options.metrics = metrics::set_global_recorder(recorder).is_ok().then_some(metrics);
    options
}

/// The ports are bound, so whoever reads these lines can connect.
fn say_ready(listeners: &[Listener], ready_file: Option<&Path>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for listener in listeners {
        writeln!(out, "listening on {listener}")?;
    }
    out.flush()?;
    let Some(path) = ready_file else { return Ok(()) };
    let listeners: Vec<_> = listeners
        .iter()
        .map(|one| {
            let surfaces: Vec<_> = one.surfaces().iter().map(Surface::to_string).collect();
            json!({ "address": one.url(), "surfaces": surfaces })
        })
        .collect();
    // Renamed into place: whoever waits for the file must not see half of it.
    let draft = path.with_extension("draft");
    std::fs::write(&draft, json!({ "listeners": listeners }).to_string() + "\n")?;
    std::fs::rename(draft, path)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;
    use crate::init::{Plan, init};

    fn folder(place: &tempfile::TempDir) -> DataFolder {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let data = place.path().join("data");
        let origin = Origin::parse("broker.example/log").expect("an origin");
        let plan = Plan { data, origin, listen, admin: listen, tls: None, ca_pem: None, address: None };
        init(&plan, &SystemEntropy).expect("makes it");
        DataFolder::at(plan.data)
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nhost: broker\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("receives");
        answer
    }

    /// Starts what the folder configures, asks it for its checkpoint and its health, and stops it.
    async fn check(folder: &DataFolder) -> String {
        let config = config::read(&folder.configuration(), []).expect("a configuration");
        let ready = prepare(&config).await.expect("opens");
        let listed = folder.path().join("ready.json");
        ready.say(Some(&listed)).expect("says so");
        let listed: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(listed).expect("is there")).expect("JSON");
        assert_eq!(listed["listeners"][0]["address"], ready.listeners()[0].url());
        assert_eq!(listed["listeners"][1]["surfaces"][0], "admin");

        let stop = CancellationToken::new();
        let (public, admin) = (ready.listeners()[0].address(), ready.listeners()[1].address());
        let asking = async {
            assert!(get(admin, "/health").await.ends_with("serving\n"));
            let checkpoint = get(public, "/checkpoint").await;
            stop.cancel();
            checkpoint
        };
        let (checkpoint, ended) = tokio::join!(asking, ready.run(stop.clone()));
        ended.expect("it was told to stop");
        checkpoint
    }

    #[tokio::test]
    async fn a_log_that_takes_nothing_ends_the_process_for_another_start() {
        let place = tempfile::tempdir().expect("a folder");
        let config = config::read(&folder(&place).configuration(), []).expect("a configuration");
        let ready = prepare(&config).await.expect("opens");
        ready.broker.ledger().shutdown().await;
        let error = ready.run(CancellationToken::new()).await.expect_err("it ends by itself");
        assert!(matches!(error, ServeError::LogUnavailable), "{error}");
        assert_eq!(crate::run::Failure::Serve(error).exit_code(), 1);
        prepare(&config).await.expect("opens again").engine.close().await;
    }

    #[tokio::test]
    async fn what_init_made_can_be_served_and_served_again() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = folder(&place);
        // The head with the record of the catalogue is public when the first run ends.
        check(&folder).await;
        let second = check(&folder).await;
        assert!(second.starts_with("HTTP/1.1 200 OK"), "{second}");
        assert!(second.contains("\r\n\r\nbroker.example/log\n1\n"), "{second}");
        let third = check(&folder).await;
        let body = |answer: &str| answer.split("\r\n\r\n").nth(1).map(str::to_owned);
        assert_eq!(body(&second), body(&third), "the same log, and not a record more");
    }
}
