//! One entry, proven.

use anyhow::Result;
use clap::Args;
use countersign_client::auditor::PrivatePart;
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
        let (entry, private_part) = auditor.entry_and_private_part(self.index).await?;
        auditor.settle().await?;
        let mut json = words::record_json(entry.index(), entry.record());
        json["proven_in_size"] = json!(entry.checkpoint().size());
        let (state, by) = match &private_part {
            PrivatePart::Kept => ("KEPT", None),
            PrivatePart::Erased { by } => ("ERASED", Some(by.index())),
            PrivatePart::Missing => ("MISSING", None),
        };
        json["private_part"] = json!(state);
        json["erasure"] = json!(by);
        setting.output().show(&json, |output| {
            let sentence = words::sentence(entry.record(), &[]);
            let proven = format!("proven in a log of {} records", entry.checkpoint().size());
            let beside = match (&private_part, by) {
                (_, Some(by)) => output.good(&format!("the private part is erased: entry {by} says so")),
                (PrivatePart::Missing, _) => output.bad("the private part is missing, and no entry says why"),
                _ => output.good("the private part stands"),
            };
            let lines = [output.bold(&sentence), pretty(&json), output.good(&proven), beside];
            lines.join("\n")
        });
        Ok(())
    }
}
