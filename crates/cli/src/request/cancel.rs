//! Taking a request back.

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::grants::id::RequestName;
use serde_json::json;

use crate::{arguments::Setting, homes::PartnerHome};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `grantRequests/{request}`
    request: String,
    #[command(flatten)]
    home: PartnerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let request = RequestName::parse(&self.request).context("the request")?;
        self.home.open(setting)?.cancel_request(&request).await?;
        let json = json!({ "name": request.as_str(), "state": "CANCELLED" });
        setting.output().show(&json, |output| format!("{} {request}", output.good("cancelled")));
        Ok(())
    }
}
