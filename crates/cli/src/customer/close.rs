//! Closing the account.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use countersign_client::{
    Error,
    customer::{Closing, Unheard},
    grants::id::GrantName,
};
use serde_json::{Value, json};

use crate::{arguments::Setting, homes::CustomerHome, output::Output, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many seconds to wait until every brand has the signed order to delete in its book
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// Close even if a brand has not, or a stop is not recorded: they will have no more than the log's word, if that
    #[arg(long)]
    anyway: bool,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let customer = self.home.open(setting)?;
        let closing = Box::pin(customer.close_account(Duration::from_secs(self.wait), self.anyway)).await?;
        let output = setting.output();
        match closing {
            Closing::Closed { receipt } => {
                let record = receipt.index();
                output.show(&json!({ "state": "closed", "record": record }), |output| {
                    format!("{}: record {record} of the log, proven", output.good("closed"))
                });
                Ok(())
            }
            Closing::Unproven { stranger: true, refused } => {
                let json = json!({ "state": "closed_unproven", "error": refused.to_string() });
                output.show(&json, |output| {
                    format!(
                        "{}: the broker says that it does not know you, as it does once an account is closed. The proof was \
                         lost on the way",
                        output.bold("closed, by the broker's word alone")
                    )
                });
                Ok(())
            }
            Closing::Unproven { stranger: false, refused } => {
                let json = json!({ "state": "unknown", "error": refused.to_string() });
                output.show(&json, |output| {
                    format!(
                        "{}: the answer of the last try was lost",
                        output.bad("closed, or your token is refused")
                    )
                });
                Err(refused.into())
            }
            Closing::Waits { unheard, not_stopped, list } => {
                let left = Left { unheard: &unheard, not_stopped: &not_stopped, list: list.as_ref() };
                output.show(&left.json(), |output| left.words(output));
                bail!("nothing is closed: something is left, as said above")
            }
        }
    }
}

/// What keeps an account open.
struct Left<'a> {
    unheard: &'a [Unheard],
    not_stopped: &'a [(GrantName, Error)],
    list: Option<&'a Error>,
}

impl Left<'_> {
    fn json(&self) -> Value {
        let unheard = self.unheard.iter().map(|one| {
            json!({
                "grant": one.grant.as_str(), "partner": one.partner.as_str(),
                "blame": one.blame.as_ref().map(ToString::to_string),
            })
        });
        let not_stopped = self.not_stopped.iter();
        let not_stopped =
            not_stopped.map(|(grant, error)| json!({ "grant": grant.as_str(), "error": error.to_string() }));
        json!({
            "state": "not_closed",
            "unheard": unheard.collect::<Vec<_>>(),
            "not_stopped": not_stopped.collect::<Vec<_>>(),
            "list_error": self.list.map(ToString::to_string),
        })
    }

    fn words(&self, output: Output) -> String {
        let mut lines = vec![format!("{}:", output.bad("not closed"))];
        if let Some(error) = self.list {
            lines.push(format!("  the broker's list of your grants is no measure of what stands: {error}"));
        }
        for (grant, error) in self.not_stopped {
            lines.push(format!("  not stopped: {grant}: {error}"));
        }
        for Unheard { grant, partner, blame } in self.unheard {
            let partner = words::short(partner.as_str());
            let blame = blame.as_ref().map_or_else(String::new, |error| format!(": {error}"));
            lines.push(format!("  {partner} has not said that it knows of the stop: {grant}{blame}"));
        }
        lines.push("Try again later, stop it in the brand's own app, or close with --anyway".to_owned());
        lines.join("\n")
    }
}
