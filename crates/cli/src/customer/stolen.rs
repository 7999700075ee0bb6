//! Reporting the root secret stolen.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::{
    customer::Report,
    grants::{id::GrantName, lifecycle::ABANDONED_FOR},
};
use serde_json::json;

use crate::{
    arguments::Setting,
    homes::{CustomerHome, make_folder},
    words,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder of the new wallet, which must not have one
    #[arg(long, value_name = "DIR")]
    new_home: PathBuf,
    /// The recipients must delete what they received
    #[arg(long)]
    erase: bool,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        make_folder(&self.new_home)?;
        let path = self.new_home.join("wallet");
        anyhow::ensure!(!path.exists(), "{}: there is a wallet already", path.display());
        let customer = self.home.open(setting)?;
        let stolen = customer.report_stolen(self.erase).await?;
        let (report, index) = match &stolen.report {
            Report::Recorded(proof) => ("RECORDED", Some(proof.index())),
            Report::RecordedBefore { index } => ("RECORDED_BEFORE", Some(*index)),
            Report::BrokersWord => ("BROKERS_WORD", None),
            Report::NotProven(_) => ("NOT_PROVEN", None),
        };
        // Where the broker could not be reached, the same again settles it; in all other cases she has to link anew.
        let again = matches!(&stolen.report, Report::NotProven(error) if error.is_transient());
        if !again {
            stolen.wallet.write(&path).context("the new wallet; `customer new` makes another one")?;
        }
        let json = json!({
            "old": customer.name().as_str(),
            "new": (!again).then(|| stolen.wallet.customer().as_str()),
            "wallet": (!again).then(|| path.display().to_string()),
            "report": report,
            "stopped": stolen.stopped.iter().map(GrantName::as_str).collect::<Vec<_>>(),
            "not_stopped": stolen.not_stopped.iter().map(|(grant, error)| {
                json!({ "grant": grant.as_str(), "error": error.to_string() })
            }).collect::<Vec<_>>(),
            "relink": stolen.relink.iter().map(|(partner, subject, label)| {
                json!({ "partner": partner.as_str(), "subject": subject.as_str(), "account": label })
            }).collect::<Vec<_>>(),
            "index": index,
        });
        setting.output().show(&json, |output| {
            let name = customer.name();
            let mut lines = vec![match &stolen.report {
                Report::Recorded(_) => format!("{} {name}", output.good("reported:")),
                Report::RecordedBefore { index } => {
                    format!("{} {name}, by entry {index}", output.good("reported before:"))
                }
                Report::BrokersWord => output.bad(&format!(
                    "the broker says that {name} was reported before; it gives no proof. Ask the brands."
                )),
                Report::NotProven(error) => {
                    output.bad(&format!("the report of {name} is not proven: {error}"))
                }
            }];
            lines.push(format!("{} stopped", words::counted(stolen.stopped.len() as u64, "grant")));
            for (grant, error) in &stolen.not_stopped {
                lines.push(output.bad(&format!("{grant} is not proven to be stopped: {error}")));
            }
            if !again {
                lines.push(format!(
                    "A new wallet is in {}; enter it with `customer new`, and link anew:",
                    path.display()
                ));
                lines
                    .extend(stolen.relink.iter().map(|(partner, _, label)| format!("  {partner} ({label})")));
                let after = words::counted(ABANDONED_FOR.as_secs() / (24 * 3600), "day");
                lines.push(format!(
                    "What the broker keeps of {name} is erased {after} after all of it is over."
                ));
            }
            lines.join("\n")
        });
        match stolen.report {
            Report::NotProven(error) => Err(error).context(if again {
                "the broker did not answer: report it again"
            } else {
                "the theft is not proven to be reported: tell the brands"
            }),
            _ => Ok(()),
        }
    }
}
