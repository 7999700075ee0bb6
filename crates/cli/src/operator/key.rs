//! Publishing a partner's working key.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use countersign_client::KeyCertificate;
use serde_json::json;

use crate::{arguments::Setting, homes::OperatorHome};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Publish a working key that the partner's identity key has certified
    Publish {
        /// The certificate
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        #[command(flatten)]
        home: OperatorHome,
    },
}

impl KeyCommand {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let Self::Publish { certificate, home } = self;
        let certificate = KeyCertificate::read(&certificate)?;
        let operator = home.open(setting)?;
        let published = operator.publish_key(certificate.partner(), certificate.statement().clone()).await?;
        let json = json!({
            "name": published.name,
            "partner": certificate.partner().as_str(),
            "sequence": certificate.sequence(),
        });
        setting.output().show(&json, |output| format!("{} {}", output.good("published"), published.name));
        Ok(())
    }
}
