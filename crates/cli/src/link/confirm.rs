//! Confirming a link.

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::grants::id::LinkName;
use serde_json::json;

use crate::{arguments::Setting, homes::PartnerHome};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `links/{link}`
    link: String,
    /// The six digits that the signed-in person brought back
    code: String,
    #[command(flatten)]
    home: PartnerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let link = LinkName::parse(&self.link).context("the link")?;
        let row = self.home.open(setting)?.confirm(&link, &self.code).await?;
        let json = json!({ "link": link.as_str(), "subject": row.subject().as_str(), "state": "CONFIRMED" });
        setting.output().show(&json, |output| format!("{} {}", output.good("linked"), row.subject()));
        Ok(())
    }
}
