//! Reporting the root secret stolen.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::grants::id::GrantName;
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
        stolen.wallet.write(&path).context("the report stands; `customer new` makes another wallet")?;
        let json = json!({
            "old": customer.name().as_str(),
            "new": stolen.wallet.customer().as_str(),
            "wallet": path.display().to_string(),
            "stopped": stolen.stopped.iter().map(GrantName::as_str).collect::<Vec<_>>(),
            "not_stopped": stolen.not_stopped.iter().map(|(grant, error)| {
                json!({ "grant": grant.as_str(), "error": error.to_string() })
            }).collect::<Vec<_>>(),
            "relink": stolen.relink.iter().map(|(partner, subject, label)| {
                json!({ "partner": partner.as_str(), "subject": subject.as_str(), "account": label })
            }).collect::<Vec<_>>(),
            "index": stolen.receipt.as_ref().map(countersign_client::receipt::ProvenLeaf::index),
        });
        setting.output().show(&json, |output| {
            let mut lines = vec![format!(
                "{} {}; {} stopped",
                output.good("reported:"),
                customer.name(),
                words::counted(stolen.stopped.len() as u64, "grant")
            )];
            for (grant, error) in &stolen.not_stopped {
                lines.push(output.bad(&format!("{grant} could not be stopped by you: {error}")));
            }
            lines.push(format!(
                "A new wallet is in {}; enter it with `customer new`, and link anew:",
                path.display()
            ));
            lines.extend(stolen.relink.iter().map(|(partner, _, label)| format!("  {partner} ({label})")));
            lines.join("\n")
        });
        Ok(())
    }
}
