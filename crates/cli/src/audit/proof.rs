//! A proof file (C2SP tlog-proof), with the record as its extra data.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::auditor::proof_file;
use serde_json::json;

use crate::{arguments::Setting, homes::AuditorHome};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The record's index in the log
    index: u64,
    /// The file to write; without it, the proof goes to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    home: AuditorHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let auditor = self.home.open(setting)?;
        let entry = auditor.entry(self.index).await?;
        auditor.settle().await?;
        let proof = proof_file(&entry)?.to_string();
        let file = self.out.as_ref().map(|path| path.display().to_string());
        let json = json!({
            "index": entry.index(), "size": entry.checkpoint().size(), "file": file,
            "proof": if file.is_none() { Some(&proof) } else { None },
        });
        let Some(path) = self.out else {
            setting.output().show(&json, |_| proof.trim_end().to_owned());
            return Ok(());
        };
        std::fs::write(&path, &proof).with_context(|| path.display().to_string())?;
        setting.output().show(&json, |output| {
            format!(
                "{}; check it with `countersign log proof-verify {}`",
                output.good("written"),
                path.display()
            )
        });
        Ok(())
    }
}
