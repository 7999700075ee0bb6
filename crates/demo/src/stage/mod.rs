//! What demo and bench stand on: a fresh folder, the broker's process, and the processes of the brands, entered at the
//! broker by its operators. All through the public API.

mod binaries;
mod brand;
mod broker;
mod folder;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result, bail};
use countersign_client::{
    BrokerTrust, System,
    grants::{
        id::{AuditorName, OperatorName, PartnerName},
        key::PublicKey,
    },
    keyfile,
    operator::Operator,
    proto::statement::v1::Envelope,
};
use data_encoding::BASE64URL_NOPAD;
use prost::Message as _;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

pub(crate) use self::{
    binaries::Binaries,
    brand::{BrandProcess, refusal},
    broker::{Broker, output_of},
    folder::Folder,
};
use crate::{
    control::{Answer, Command, Event, Ready},
    journey::Brand,
};

/// The origin of the demo's log.
const ORIGIN: &str = "demo.countersign.example/log";

/// The operators that `countersignd init` names: what one vets, the other approves.
const OPERATORS: [&str; 2] = ["operators/root", "operators/second"];

/// Under which number the brands' people are reached: of those that are kept for stories.
const CONTACT: &str = "+1 212 555 0100";

/// The auditor that the operator enters.
pub(crate) const AUDITOR: &str = "auditors/ada";

/// Settings with which the broker serves the companion too.
pub(crate) fn with_companion() -> Vec<(String, String)> {
    vec![("COUNTERSIGN_LISTENERS__0__SURFACES".to_owned(), r#"["api", "web", "log"]"#.to_owned())]
}

/// How a stage is set.
pub(crate) struct Setting<'a> {
    /// Who takes part.
    pub(crate) brands: &'a [Brand],
    /// Keys of the broker's configuration, as environment variables.
    pub(crate) environment: Vec<(String, String)>,
}

/// Broker and brands, running.
pub(crate) struct Stage {
    pub(crate) binaries: Binaries,
    pub(crate) trust: BrokerTrust,
    pub(crate) broker: Broker,
    pub(crate) brands: BTreeMap<Brand, BrandProcess>,
    /// What happens at the brands by itself.
    pub(crate) events: UnboundedReceiver<(Brand, Event)>,
    /// The offers by the number of their row.
    pub(crate) offers: BTreeMap<u8, String>,
    /// Last, so that it goes after the processes that work in it.
    pub(crate) folder: Folder,
}

impl Stage {
    /// Sets it up: init, serve, brands, keys, endpoints, offers, an auditor.
    pub(crate) async fn set(folder: Folder, setting: Setting<'_>) -> Result<Self> {
        let binaries = Binaries::beside_this_one()?;
        let system = System::real();
        let broker = Broker::start(&binaries, &folder, ORIGIN, setting.environment).await?;
        // `init` could not know the port that the system chose.
        let mut trust = BrokerTrust::read(&folder.data().join("broker.json"))?;
        broker.address().clone_into(&mut trust.address);
        std::fs::write(folder.broker_file(), trust.to_json())?;

        let [operator, second] = operators(&folder, &trust)?;
        let (sender, events) = unbounded_channel();
        let (mut brands, mut offers) = (BTreeMap::new(), BTreeMap::new());
        for brand in setting.brands.iter().copied() {
            let (process, ready) = BrandProcess::start(&binaries, &folder, brand, sender.clone()).await?;
            enter_brand([&operator, &second], brand, &ready)
                .await
                .with_context(|| format!("entering {brand}"))?;
            process.ask(Command::Open).await?;
            brands.insert(brand, process);
        }
        // An offer names its source, so all are entered before the first is published.
        for process in brands.values() {
            if let Answer::Published { offers: published } = process.ask(Command::Publish).await? {
                offers.extend(published);
            }
        }
        let auditor = keyfile::draw(&system);
        keyfile::write(&folder.auditor_key(), &auditor)?;
        operator.create_auditor(&AuditorName::parse(AUDITOR)?, "Ada, auditor", auditor.public()).await?;
        Ok(Self { binaries, trust, broker, brands, events, offers, folder })
    }

    /// The process of a brand.
    pub(crate) fn brand(&self, brand: Brand) -> Result<&BrandProcess> {
        self.brands.get(&brand).with_context(|| format!("{brand} takes no part"))
    }

    /// Where the companion is, by the name that a passkey can belong to.
    pub(crate) fn app_address(&self) -> String {
        self.broker.address().replace("127.0.0.1", "localhost")
    }

    /// The broker's operators.
    pub(crate) fn operators(&self) -> Result<[Operator; 2]> {
        operators(&self.folder, &self.trust)
    }

    /// Ends the brands alone.
    pub(crate) async fn dismiss(&mut self) -> Result<()> {
        for (_, brand) in std::mem::take(&mut self.brands) {
            brand.stop().await?;
        }
        Ok(())
    }

    /// Ends the brands, then the broker; the broker's exit code.
    pub(crate) async fn close(&mut self) -> Result<Option<i32>> {
        self.dismiss().await?;
        self.broker.stop().await
    }
}

fn operators(folder: &Folder, trust: &BrokerTrust) -> Result<[Operator; 2]> {
    let open = |name, key| -> Result<_> {
        Ok(Operator::open(trust, OperatorName::parse(name)?, &keyfile::read(key)?, System::real())?)
    };
    let [first, second] = folder.operator_keys();
    Ok([open(OPERATORS[0], &first)?, open(OPERATORS[1], &second)?])
}

/// A brand, and where it serves.
async fn enter_brand(operators: [&Operator; 2], brand: Brand, ready: &Ready) -> Result<()> {
    let identity = PublicKey::from_slice(&BASE64URL_NOPAD.decode(ready.identity.as_bytes())?)?;
    let certificate = BASE64URL_NOPAD.decode(ready.certificate.as_bytes())?;
    let certificate = Envelope::decode(certificate.as_slice())?;
    let names = (&brand.partner(), brand.display_name());
    enter(operators, names, (&identity, certificate), Some(&ready.endpoint)).await
}

/// A partner itself, its certified key, where it serves if it does; and that two operators let it in.
pub(crate) async fn enter(
    [operator, second]: [&Operator; 2],
    (name, display_name): (&PartnerName, &str),
    (identity, certificate): (&PublicKey, Envelope),
    endpoint: Option<&str>,
) -> Result<()> {
    operator.create_partner(name, (display_name, CONTACT), identity).await?;
    operator.publish_key(name, certificate).await?;
    if let Some(endpoint) = endpoint {
        operator.set_endpoint(name, endpoint).await?;
    }
    operator.vet(name).await?;
    second.approve(name).await?;
    Ok(())
}

/// Checks that a file is there before anything is started with it.
fn present(path: PathBuf, how: &str) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path);
    }
    bail!("{} is not there; {how}", path.display())
}
