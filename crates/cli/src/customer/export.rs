//! Taking everything along.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::{arguments::Setting, homes::CustomerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder to write: a new one, or an empty one
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let customer = self.home.open(setting)?;
        let exported = customer.export(&self.folder).await?;
        let folder = self.folder.display();
        let json = json!({
            "folder": folder.to_string(), "links": exported.links, "requests": exported.requests,
            "grants": exported.grants, "records": exported.records,
        });
        setting.output().show(&json, |output| {
            let count = |number: usize, what| words::counted(number as u64, what);
            format!(
                "{} {}, {}, {} with consent receipts, {} with proofs\n{}",
                output.good("written:"),
                count(exported.links, "link"),
                count(exported.requests, "request"),
                count(exported.grants, "grant"),
                count(exported.records, "record"),
                output.dim(&format!(
                    "Check a proof with `countersign log proof-verify {folder}/proofs/<index>.tlog-proof`."
                )),
            )
        });
        Ok(())
    }
}
