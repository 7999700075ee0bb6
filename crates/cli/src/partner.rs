//! A partner's offline work: its identity, and certificates of its working keys.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use countersign_client::{KeyCertificate, grants::id::PartnerName, keyfile};
use serde_json::{Value, json};

use crate::{
    arguments::Setting,
    key::{self, key_json, key_words},
    words,
};

/// How far a certificate reaches back, for machines whose clocks are late.
const BACK: Duration = Duration::from_secs(300);

/// The seconds of a day.
const DAY: u64 = 86_400;

#[derive(Debug, Subcommand)]
pub(crate) enum PartnerCommand {
    /// The identity key, which stays off line
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// Working keys
    #[command(subcommand)]
    Key(PartnerKeyCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Draw an identity key
    New {
        /// The file, which only its owner can read; keep it off line
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PartnerKeyCommand {
    /// Certify a working key with the identity key
    Certify(Certify),
    /// Show a certificate
    Show {
        /// The certificate
        #[arg(value_name = "FILE")]
        certificate: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Certify {
    /// The identity key file
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// The partner: `partners/{partner}`
    #[arg(long, value_name = "NAME")]
    partner: String,
    /// The working key: its public half in base64url, or its key file
    #[arg(long, value_name = "KEY")]
    key: String,
    /// The certificate before this one; none for the first
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// How many days it is good for
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3660))]
    days: u64,
    /// The file to write, which must not exist yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl PartnerCommand {
    pub(crate) fn run(self, setting: &Setting) -> Result<()> {
        match self {
            Self::Identity(IdentityCommand::New { out }) => {
                let key = key::make(setting, &out)?;
                setting.output().show(&key_json(&key), |output| key_words(output, &key));
                Ok(())
            }
            Self::Key(PartnerKeyCommand::Certify(arguments)) => arguments.run(setting),
            Self::Key(PartnerKeyCommand::Show { certificate }) => {
                show(setting, &KeyCertificate::read(&certificate)?);
                Ok(())
            }
        }
    }
}

impl Certify {
    fn run(self, setting: &Setting) -> Result<()> {
        let identity = keyfile::read(&self.identity).context("--identity")?;
        let partner = PartnerName::parse(&self.partner).context("--partner")?;
        let key = key::public(&self.key)?;
        let previous =
            self.previous.as_deref().map(KeyCertificate::read).transpose().context("--previous")?;
        let now = setting.system().now();
        let times = (now.minus(BACK), now.plus(Duration::from_secs(self.days * DAY)));
        let broker = setting.trust()?.origin;
        let certificate =
            KeyCertificate::certify(&identity, &broker, &partner, &key, times, previous.as_ref())?;
        certificate.write(&self.out)?;
        show(setting, &certificate);
        Ok(())
    }
}

fn show(setting: &Setting, certificate: &KeyCertificate) {
    let (from, to) = certificate.validity();
    setting.output().show(&certificate_json(certificate), |output| {
        format!(
            "{} of {}, from {} to {}\n{}",
            output.bold(&format!("Key {}", certificate.sequence())),
            certificate.partner(),
            words::moment(from),
            words::moment(to),
            key_words(output, certificate.key())
        )
    });
}

fn certificate_json(certificate: &KeyCertificate) -> Value {
    let (from, to) = certificate.validity();
    json!({
        "partner": certificate.partner().as_str(),
        "sequence": certificate.sequence(),
        "identity_key_id": certificate.identity().id().as_str(),
        "key": key_json(certificate.key()),
        "not_before": words::rfc3339(from),
        "not_after": words::rfc3339(to),
    })
}
