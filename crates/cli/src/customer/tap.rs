//! The person's own tap.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::grants::id::GrantName;
use serde_json::json;

use crate::{arguments::Setting, homes::CustomerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `grants/{grant}`
    grant: String,
    /// How long it counts; five minutes at most
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let grant = GrantName::parse(&self.grant).context("the grant")?;
        let customer = self.home.open(setting)?;
        let tapped = customer.tap(&grant, Duration::from_secs(self.seconds)).await?;
        customer.settle().await?;
        let fields: Vec<String> = tapped.fields.iter().map(ToString::to_string).collect();
        let json = json!({
            "grant": grant.as_str(),
            "fields": fields,
            "expire_time": words::rfc3339(tapped.expires),
            "record": tapped.receipt.index(),
        });
        setting.output().show(&json, |output| {
            let (what, until) = (fields.join(", "), words::moment(tapped.expires));
            let tapped = output.good("tapped");
            format!("{tapped}: {what} may be fetched once, until {until}; record {}", json["record"])
        });
        Ok(())
    }
}
