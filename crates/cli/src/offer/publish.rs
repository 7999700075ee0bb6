//! Publishing an offer.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::draft::DraftFile;
use crate::{arguments::Setting, homes::PartnerHome};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The offer, in TOML or JSON
    #[arg(value_name = "FILE")]
    offer: PathBuf,
    #[command(flatten)]
    home: PartnerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let draft = DraftFile::read(&self.offer)?.draft()?;
        let partner = self.home.open(setting)?;
        let offer = partner.publish_offer(&draft).await?;
        let json = json!({ "name": offer.as_str(), "recipient": partner.name().as_str() });
        setting.output().show(&json, |output| format!("{} {offer}", output.good("published")));
        Ok(())
    }
}
