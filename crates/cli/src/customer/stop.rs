//! Stopping, pausing, resuming: *recorded* on the log's proof, done on the source's own word.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::{
    customer::{Acknowledged, Recorded},
    grants::id::GrantName,
};
use serde_json::json;

use crate::{arguments::Setting, homes::CustomerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    one: One,
    /// The recipient must delete what it received
    #[arg(long)]
    erase: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    one: One,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    one: One,
}

#[derive(Debug, Args)]
struct One {
    /// `grants/{grant}`
    grant: String,
    /// How many seconds to wait for the source's word
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let grant = self.one.grant()?;
        let customer = self.one.home.open(setting)?;
        let recorded = customer.stop(&grant, self.erase).await?;
        self.one.wait(setting, &recorded, "stopped", "stop it there").await?;
        Ok(customer.settle().await?)
    }
}

impl Pause {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let customer = self.one.home.open(setting)?;
        let recorded = customer.pause(&self.one.grant()?).await?;
        self.one.wait(setting, &recorded, "paused", "stop it there, if it must not flow").await?;
        Ok(customer.settle().await?)
    }
}

impl Resume {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let customer = self.one.home.open(setting)?;
        let recorded = customer.resume(&self.one.grant()?).await?;
        self.one.wait(setting, &recorded, "resumed", "it flows once the source knows").await?;
        Ok(customer.settle().await?)
    }
}

impl One {
    fn grant(&self) -> Result<GrantName> {
        GrantName::parse(&self.grant).context("the grant")
    }

    async fn wait(&self, setting: &Setting, recorded: &Recorded, done: &str, otherwise: &str) -> Result<()> {
        let output = setting.output();
        let (grant, record) = (recorded.grant().as_str(), recorded.receipt().index());
        output.stream(&json!({ "state": "recorded", "grant": grant, "record": record }), |output| {
            format!("{}: record {record} of the log, proven", output.good("recorded"))
        });
        match recorded.wait_until_acknowledged(Duration::from_secs(self.wait)).await? {
            Acknowledged::BySource { source, time } => {
                let json = json!({
                    "state": done, "grant": grant, "source": source.as_str(), "time": words::rfc3339(time),
                });
                output.stream(&json, |output| {
                    format!(
                        "{}: {source} signed that it is in its book, {}",
                        output.good(done),
                        words::moment(time)
                    )
                });
            }
            Acknowledged::NotConfirmed { source } => {
                let json = json!({ "state": "not_confirmed", "grant": grant, "source": source.as_str() });
                output.stream(&json, |output| {
                    let brand = words::short(source.as_str());
                    format!(
                        "{}: no word from {source} within {} s. The log lets nothing more through; {brand}'s own app needs \
                         no broker: {otherwise}",
                        output.bad("not confirmed"),
                        self.wait
                    )
                });
            }
        }
        Ok(())
    }
}
