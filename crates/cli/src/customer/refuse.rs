//! Refusing a request, or putting it off.

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::grants::id::RequestName;
use serde_json::json;

use crate::{arguments::Setting, homes::CustomerHome};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `grantRequests/{request}`
    request: String,
    /// Not now: the request waits on, and lapses no later for it
    #[arg(long)]
    later: bool,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let name = RequestName::parse(&self.request).context("the request")?;
        let customer = self.home.open(setting)?;
        let (state, word) = if self.later {
            customer.defer(&name).await?;
            ("DEFERRED", "put off")
        } else {
            customer.refuse(&name).await?;
            ("REFUSED", "refused")
        };
        customer.settle().await?;
        let json = json!({ "name": name.as_str(), "state": state });
        setting.output().show(&json, |output| format!("{} {name}", output.good(word)));
        Ok(())
    }
}
