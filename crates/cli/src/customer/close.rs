//! Closing the account.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use countersign_client::customer::Closing;
use serde_json::{Value, json};

use crate::{arguments::Setting, homes::CustomerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many seconds to wait until every brand has the signed order to delete in its book
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// Close even if a brand has not: it will have no more than the log's word for the stop
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
                let record = receipt.as_ref().map(|receipt| receipt.index());
                output.show(&json!({ "state": "closed", "record": record }), |output| {
                    let proof = match record {
                        Some(record) => format!("record {record} of the log, proven"),
                        None => {
                            "the broker does not know you any more; the proof was lost on the way".to_owned()
                        }
                    };
                    format!("{}: {proof}", output.good("closed"))
                });
            }
            Closing::Waits { unheard } => {
                let json: Vec<Value> = unheard
                    .iter()
                    .map(|(grant, partner)| json!({ "grant": grant.as_str(), "partner": partner.as_str() }))
                    .collect();
                output.show(&json!({ "state": "not_closed", "unheard": json }), |output| {
                    let brands: Vec<String> = unheard
                        .iter()
                        .map(|(grant, partner)| format!("  {}: {grant}", words::short(partner.as_str())))
                        .collect();
                    format!(
                        "{}: every grant is stopped, and these have not said that they know:\n{}\n\
                         Try again later, stop it in the brand's own app, or close with --anyway",
                        output.bad("not closed"),
                        brands.join("\n")
                    )
                });
            }
        }
        Ok(())
    }
}
