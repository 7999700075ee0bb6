//! Stopping, pausing, resuming: *recorded* on the log's proof, done on the source's own word.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use countersign_client::{
    customer::{Acknowledged, Each, Recorded},
    grants::id::GrantName,
};
use serde_json::json;
use tokio::time::Instant;

use crate::{arguments::Setting, homes::CustomerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// The recipient must delete what it received
    #[arg(long)]
    erase: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// `grants/{grant}`
    grant: String,
    #[command(flatten)]
    rest: Rest,
}

#[derive(Debug, Args)]
struct Which {
    /// `grants/{grant}`
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    grant: Option<String>,
    /// Every grant that stands
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    rest: Rest,
}

#[derive(Debug, Args)]
struct Rest {
    /// How many seconds to wait for the source's word
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let customer = self.which.rest.home.open(setting)?;
        let waiting = (self.which.rest.wait, "stopped", "stop it there");
        let failed = match self.which.one()? {
            Some(grant) => {
                let recorded = customer.stop(&grant, self.erase).await?;
                wait_for_word(setting, &recorded, waiting).await?;
                0
            }
            None => each(setting, &customer.stop_all(self.erase).await?, waiting).await?,
        };
        customer.settle().await?;
        all_done(failed)
    }
}

impl Pause {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let customer = self.which.rest.home.open(setting)?;
        let waiting = (self.which.rest.wait, "paused", "stop it there, if it must not flow");
        let failed = match self.which.one()? {
            Some(grant) => {
                let recorded = customer.pause(&grant).await?;
                wait_for_word(setting, &recorded, waiting).await?;
                0
            }
            None => each(setting, &customer.pause_all().await?, waiting).await?,
        };
        customer.settle().await?;
        all_done(failed)
    }
}

impl Resume {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let customer = self.rest.home.open(setting)?;
        let recorded = customer.resume(&parse(&self.grant)?).await?;
        let waiting = (self.rest.wait, "resumed", "it flows once the source knows");
        wait_for_word(setting, &recorded, waiting).await?;
        Ok(customer.settle().await?)
    }
}

impl Which {
    /// The one grant that is meant, or all.
    fn one(&self) -> Result<Option<GrantName>> {
        self.grant.as_deref().map(parse).transpose()
    }
}

fn parse(grant: &str) -> Result<GrantName> {
    GrantName::parse(grant).context("the grant")
}

fn all_done(failed: usize) -> Result<()> {
    match failed {
        0 => Ok(()),
        failed => bail!("{failed} of the grants could not be changed; the others were"),
    }
}

/// Shows what came of each, and waits for the sources. How many failed.
async fn each(setting: &Setting, all: &[Each], waiting: (u64, &str, &str)) -> Result<usize> {
    let output = setting.output();
    if all.is_empty() {
        output.stream(&json!({ "state": "nothing" }), |_| "no grant stands".to_owned());
    }
    let (mut recorded, mut failed) = (Vec::new(), 0);
    for (grant, came) in all {
        match came {
            Ok(one) => recorded.push(one),
            Err(error) => {
                failed += 1;
                let json = json!({ "state": "failed", "grant": grant.as_str(), "error": error.to_string() });
                output.stream(&json, |output| format!("{}: {grant}: {error}", output.bad("failed")));
            }
        }
    }
    let (seconds, done, otherwise) = waiting;
    let until = Instant::now() + Duration::from_secs(seconds);
    for one in recorded {
        // One wait for all of them; who comes last still gets one look.
        let left = until.saturating_duration_since(Instant::now()).as_secs().max(1);
        wait_for_word(setting, one, (left.min(seconds), done, otherwise)).await?;
    }
    Ok(failed)
}

/// Shows the proof, and waits for the source's word.
pub(super) async fn wait_for_word(
    setting: &Setting,
    recorded: &Recorded,
    (seconds, done, otherwise): (u64, &str, &str),
) -> Result<()> {
    let output = setting.output();
    let (grant, record) = (recorded.grant().as_str(), recorded.receipt().index());
    output.stream(&json!({ "state": "recorded", "grant": grant, "record": record }), |output| {
        format!("{}: record {record} of the log, proven: {grant}", output.good("recorded"))
    });
    match recorded.wait_until_acknowledged(Duration::from_secs(seconds)).await? {
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
                    "{}: no word from {source} within {seconds} s. The log lets nothing more through; {brand}'s own app \
                     needs no broker: {otherwise}",
                    output.bad("not confirmed"),
                )
            });
        }
    }
    Ok(())
}
