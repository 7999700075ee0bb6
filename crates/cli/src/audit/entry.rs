//! One entry, proven.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::{arguments::Setting, homes::AuditorHome, output::pretty, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The record's index in the log
    index: u64,
    #[command(flatten)]
    home: AuditorHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let auditor = self.home.open(setting)?;
        let entry = auditor.entry(self.index).await?;
        auditor.settle().await?;
        let mut json = words::record_json(entry.index(), entry.record());
        json["proven_in_size"] = json!(entry.checkpoint().size());
        setting.output().show(&json, |output| {
            let sentence = words::sentence(entry.record(), &[]);
            let proven = format!("proven in a log of {} records", entry.checkpoint().size());
            format!("{}\n{}\n{}", output.bold(&sentence), pretty(&json), output.good(&proven))
        });
        Ok(())
    }
}
