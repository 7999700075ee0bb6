//! Where each principal keeps its keys and its book, and how its side of the SDK is opened.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::{
    Book, FileBook, KeyCertificate, Partner, PartnerConfig,
    auditor::{Auditor, HeadFolder},
    customer::{Customer, CustomerBook, Wallet},
    grants::{
        id::{AuditorName, OperatorName},
        key::SigningKey,
    },
    keyfile,
    operator::Operator,
};

use crate::arguments::Setting;

/// The operator that every broker begins with.
const FIRST_OPERATOR: &str = "operators/root";

/// A customer's files.
#[derive(Debug, Args)]
pub(crate) struct CustomerHome {
    /// The customer's folder, with `wallet` and `book`
    #[arg(long, value_name = "DIR", default_value = ".")]
    home: PathBuf,
    /// The wallet, if it is elsewhere
    #[arg(long, value_name = "FILE")]
    wallet: Option<PathBuf>,
    /// The book, if it is elsewhere
    #[arg(long, value_name = "FILE")]
    book: Option<PathBuf>,
}

/// A partner's files.
#[derive(Debug, Args)]
pub(crate) struct PartnerHome {
    /// The partner's folder, with `key`, `certificate` and `book`
    #[arg(long, value_name = "DIR", default_value = ".")]
    home: PathBuf,
    /// The working key, if it is elsewhere
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The key's certificate, if it is elsewhere
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The book, if it is elsewhere
    #[arg(long, value_name = "FILE")]
    book: Option<PathBuf>,
}

/// An operator's files.
#[derive(Debug, Args)]
pub(crate) struct OperatorHome {
    /// The operator's folder, with `key`
    #[arg(long, value_name = "DIR", default_value = ".")]
    home: PathBuf,
    /// The operator's key, if it is elsewhere: `keys/operator.key` of the broker's data folder, and `keys/second-operator.key`
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The operator's name; the second one is `operators/second`
    #[arg(long, value_name = "NAME", default_value = FIRST_OPERATOR)]
    name: String,
}

/// An auditor's files.
#[derive(Debug, Args)]
pub(crate) struct AuditorHome {
    /// The auditor's folder, with `key`, and with the log's newest head that was seen
    #[arg(long, value_name = "DIR", default_value = ".")]
    home: PathBuf,
    /// The auditor's key, if it is elsewhere
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The auditor's name: `auditors/{auditor}`
    #[arg(long, value_name = "NAME")]
    name: String,
}

impl CustomerHome {
    pub(crate) fn wallet_file(&self) -> PathBuf {
        elsewhere(self.wallet.as_ref(), &self.home, "wallet")
    }

    pub(crate) fn make_folder(&self) -> Result<()> {
        make_folder(&self.home)
    }

    pub(crate) fn open(&self, setting: &Setting) -> Result<Customer> {
        let wallet =
            Wallet::read(&self.wallet_file()).context("`countersign customer new` makes a wallet")?;
        let book = elsewhere(self.book.as_ref(), &self.home, "book");
        let book = CustomerBook::open(FileBook::open(&book)?)?;
        Ok(Customer::open(setting.trust()?, wallet, book, setting.system())?)
    }

    /// Whether the folder is a customer's.
    pub(crate) fn is_one(&self) -> bool {
        self.wallet_file().is_file()
    }
}

impl PartnerHome {
    pub(crate) fn open(&self, setting: &Setting) -> Result<Partner> {
        let certificate = elsewhere(self.certificate.as_ref(), &self.home, "certificate");
        let certificate = KeyCertificate::read(&certificate)
            .context("`countersign partner key certify` makes a certificate")?;
        let system = setting.system();
        let config = PartnerConfig {
            trust: setting.trust()?,
            name: certificate.partner().clone(),
            identity: certificate.identity().clone(),
            certificate: certificate.statement().clone(),
            key: read_key(&elsewhere(self.key.as_ref(), &self.home, "key"))?,
            known_keys: Vec::new(),
        };
        let book = elsewhere(self.book.as_ref(), &self.home, "book");
        let book = Book::open(FileBook::open(&book)?, system.now())?;
        Ok(Partner::open(config, book, system)?)
    }

    /// The customer's files under the same folder.
    pub(crate) fn as_customer(&self) -> CustomerHome {
        CustomerHome { home: self.home.clone(), wallet: None, book: self.book.clone() }
    }
}

impl OperatorHome {
    pub(crate) fn open(&self, setting: &Setting) -> Result<Operator> {
        let key = read_key(&elsewhere(self.key.as_ref(), &self.home, "key"))?;
        let name = OperatorName::parse(&self.name).context("--name")?;
        Ok(Operator::open(&setting.trust()?, name, &key, setting.system())?)
    }
}

impl AuditorHome {
    pub(crate) fn open(&self, setting: &Setting) -> Result<Auditor> {
        let key = elsewhere(self.key.as_ref(), &self.home, "key");
        auditor(setting, &self.name, &key, &self.home)
    }
}

/// An auditor with this key, which keeps the log's heads in a folder.
pub(crate) fn auditor(setting: &Setting, name: &str, key: &Path, heads: &Path) -> Result<Auditor> {
    let name = AuditorName::parse(name).context("--name")?;
    let heads = Arc::new(HeadFolder::open(heads)?);
    Ok(Auditor::open(&setting.trust()?, name, &read_key(key)?, heads, &setting.system())?)
}

/// Makes a folder for secrets.
pub(crate) fn make_folder(folder: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).with_context(|| folder.display().to_string())
}

fn read_key(path: &Path) -> Result<SigningKey> {
    keyfile::read(path).context("`countersign key new` makes a key")
}

fn elsewhere(given: Option<&PathBuf>, home: &Path, name: &str) -> PathBuf {
    given.cloned().unwrap_or_else(|| home.join(name))
}
