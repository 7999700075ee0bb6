//! Stopping, pausing, resuming: *recorded* on the log's proof, done on the source's own word.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use countersign_client::{
    Error,
    customer::{Acknowledged, All, Recorded},
    grants::{id::GrantName, statement::Verb},
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
            None => each(setting, &customer.stop_all(self.erase).await, waiting).await,
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
            None => each(setting, &customer.pause_all().await, waiting).await,
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
        failed => bail!(
            "{failed} of the lines above say why not all is done; what is recorded is. A brand's own app needs no broker"
        ),
    }
}

/// Shows what came of each, and waits for the sources. How much of it failed.
async fn each(setting: &Setting, all: &All, waiting: (u64, &str, &str)) -> usize {
    let output = setting.output();
    if all.each.is_empty() && all.list.is_none() {
        output.stream(&json!({ "state": "nothing" }), |_| "no grant stands".to_owned());
    }
    let (mut recorded, mut failed) = (Vec::new(), 0);
    let show = |grant: &GrantName, error: &Error| {
        let json = json!({ "state": "failed", "grant": grant.as_str(), "error": error.to_string() });
        output.stream(&json, |output| format!("{}: {grant}: {error}", output.bad("failed")));
    };
    if let Some(error) = &all.list {
        failed += 1;
        output.stream(&json!({ "state": "list_unreliable", "error": error.to_string() }), |output| {
            format!(
                "{}: what was approved on another device may stand: {error}",
                output.bad("the broker's list is no measure")
            )
        });
    }
    for (grant, came) in &all.each {
        match came {
            Ok(one) => recorded.push(one),
            Err(error) => {
                failed += 1;
                show(grant, error);
            }
        }
    }
    let (seconds, done, otherwise) = waiting;
    let until = Instant::now() + Duration::from_secs(seconds);
    for one in recorded {
        // One wait for all of them; who comes last still gets one look.
        let left = until.saturating_duration_since(Instant::now()).as_secs().max(1);
        if let Err(error) = wait_for_word(setting, one, (left.min(seconds), done, otherwise)).await {
            failed += 1;
            show(one.grant(), &error);
        }
    }
    failed
}

/// Shows the proof, and waits for the source's word.
pub(super) async fn wait_for_word(
    setting: &Setting,
    recorded: &Recorded,
    (seconds, done, otherwise): (u64, &str, &str),
) -> Result<(), Error> {
    let output = setting.output();
    let (grant, record) = (recorded.grant().as_str(), recorded.receipt().index());
    output.stream(&json!({ "state": "recorded", "grant": grant, "record": record }), |output| {
        format!("{}: record {record} of the log, proven: {grant}", output.good("recorded"))
    });
    match recorded.wait_until_acknowledged(Duration::from_secs(seconds)).await? {
        Acknowledged::BySource { source, time, later: None } => {
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
        Acknowledged::BySource { source, time, later: Some(later) } => {
            let (number, verb) = (later.sequence, verb(later.verb));
            let json = json!({
                "state": "changed_since", "grant": grant, "source": source.as_str(),
                "time": words::rfc3339(time), "later_sequence": number, "later_verb": verb,
            });
            output.stream(&json, |output| {
                format!(
                    "{}: {source} signed that your later change {number} is in its book, a {verb}, {}: it builds on this one",
                    output.good("changed since"),
                    words::moment(time)
                )
            });
        }
        Acknowledged::NotConfirmed { source, blame } => {
            let blame = blame.map(|error| error.to_string());
            let json = json!({
                "state": "not_confirmed", "grant": grant, "source": source.as_str(), "blame": blame,
            });
            output.stream(&json, |output| {
                let brand = words::short(source.as_str());
                let blame = blame.map_or_else(String::new, |blame| format!(". In its place came: {blame}"));
                format!(
                    "{}: no word from {source} within {seconds} s. The log lets nothing more through; {brand}'s own app \
                     needs no broker: {otherwise}{blame}",
                    output.bad("not confirmed"),
                )
            });
        }
    }
    Ok(())
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Pause => "pause",
        Verb::Resume => "resumption",
        Verb::Narrow => "narrowing",
        Verb::Stop => "stop",
        Verb::Unspecified => "change",
    }
}
