//! Checking a log, or a proof, without trusting anybody but the log's key.

mod proof_verify;
mod verify;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use countersign_client::tlog::VerifierKey;

use crate::arguments::Setting;

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Check a whole log: every record, every tile, the root, the signature, and what the records say
    Verify(verify::Arguments),
    /// Check a proof file
    ProofVerify(proof_verify::Arguments),
}

/// Under which key a log signs.
#[derive(Debug, Args)]
pub(crate) struct LogKey {
    /// The log's verifier key, `name+id+key`; without it, the one of the broker file
    #[arg(long, value_name = "VKEY")]
    key: Option<String>,
}

impl LogCommand {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        match self {
            Self::Verify(arguments) => arguments.run(setting).await,
            Self::ProofVerify(arguments) => arguments.run(setting),
        }
    }
}

impl LogKey {
    fn read(&self, setting: &Setting) -> Result<VerifierKey> {
        match &self.key {
            Some(key) => VerifierKey::parse(key).context("--key"),
            None => Ok(setting.trust().context("or name the log's key with --key")?.log_key),
        }
    }
}
