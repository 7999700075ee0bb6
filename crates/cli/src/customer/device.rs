//! What opens the root secret: an authenticator's file stands in for a passkey.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use countersign_client::{customer::AuthenticatorSecret, grants::digest::Digest};
use data_encoding::HEXLOWER;
use serde_json::json;

use crate::{arguments::Setting, homes::CustomerHome};

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// List the authenticators
    List(List),
    /// Add one; its file is made if there is none
    Add(Add),
    /// Remove one, but not the last
    Remove(Remove),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    home: CustomerHome,
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The authenticator's file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What you call it; the broker never sees it
    #[arg(long, value_name = "TEXT")]
    label: String,
    #[command(flatten)]
    home: CustomerHome,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The authenticator, as `device list` shows it
    authenticator: String,
    #[command(flatten)]
    home: CustomerHome,
}

impl DeviceCommand {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        match self {
            Self::List(arguments) => arguments.run(setting).await,
            Self::Add(arguments) => arguments.run(setting).await,
            Self::Remove(arguments) => arguments.run(setting).await,
        }
    }
}

impl List {
    async fn run(self, setting: &Setting) -> Result<()> {
        let customer = self.home.open(setting)?;
        let devices = customer.devices().await?;
        customer.settle().await?;
        let json = devices
            .iter()
            .map(|one| json!({ "authenticator": one.authenticator.to_hex(), "label": one.label }));
        setting.output().show(&json.collect(), |output| {
            let row = |one: &countersign_client::customer::Device| {
                [one.authenticator.to_hex(), one.label.clone().unwrap_or_default()]
            };
            output.table(["authenticator", "label"], devices.iter().map(row).collect())
        });
        Ok(())
    }
}

impl Add {
    async fn run(self, setting: &Setting) -> Result<()> {
        let customer = self.home.open(setting)?;
        let secret = if self.file.is_file() {
            AuthenticatorSecret::read(&self.file)?
        } else {
            let secret = AuthenticatorSecret::draw(&setting.system());
            secret.write(&self.file)?;
            secret
        };
        let proof = customer.add_authenticator(&secret, &self.label).await?;
        customer.settle().await?;
        let json = json!({
            "authenticator": secret.id().to_hex(), "file": self.file.display().to_string(), "index": proof.index(),
        });
        setting.output().show(&json, |output| {
            format!("{} {} (record {})", output.good("added"), secret.id().to_hex(), proof.index())
        });
        Ok(())
    }
}

impl Remove {
    async fn run(self, setting: &Setting) -> Result<()> {
        let bytes = HEXLOWER.decode(self.authenticator.as_bytes()).ok();
        let id = bytes
            .and_then(|bytes| Digest::from_slice(&bytes))
            .context("64 hex digits name an authenticator")?;
        let customer = self.home.open(setting)?;
        let proof = customer.remove_authenticator(id).await?;
        customer.settle().await?;
        let json = json!({ "authenticator": id.to_hex(), "index": proof.index() });
        setting.output().show(&json, |output| {
            format!("{} {} (record {})", output.good("removed"), id.to_hex(), proof.index())
        });
        Ok(())
    }
}
