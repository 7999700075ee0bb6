//! Checking a proof file offline.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::{
    proto::log::v1::Record,
    tlog::{ProofFile, ProvenRecord},
};
use prost::Message as _;
use serde_json::json;

use super::LogKey;
use crate::{arguments::Setting, explain::Damaged, output::pretty, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The proof file
    #[arg(value_name = "FILE")]
    proof: PathBuf,
    /// The record's bytes, if the proof file does not carry them
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    key: LogKey,
}

impl Arguments {
    pub(crate) fn run(self, setting: &Setting) -> Result<()> {
        let key = self.key.read(setting)?;
        let bytes = std::fs::read(&self.proof).with_context(|| self.proof.display().to_string())?;
        let damaged =
            |error: String| anyhow::Error::from(Damaged(format!("the proof does not verify: {error}")));
        let proof = ProofFile::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
        let leaf = match (&self.record, proof.extra()) {
            (Some(path), _) => std::fs::read(path).with_context(|| path.display().to_string())?,
            (None, Some(extra)) => extra.to_vec(),
            (None, None) => anyhow::bail!("the proof file does not carry its record: name it with --record"),
        };
        let proven: ProvenRecord = proof.verify(&leaf, &key).map_err(|error| damaged(error.to_string()))?;
        let record = Record::decode(leaf.as_slice()).map_err(|error| damaged(error.to_string()))?;
        let mut json = words::record_json(proven.index(), &record);
        json["proven_in_size"] = json!(proven.checkpoint().size());
        setting.output().show(&json, |output| {
            let verified = format!("record {} of {}", proven.index(), proven.checkpoint().size());
            let sentence = words::sentence(&record, &[]);
            format!(
                "{}: {verified}\n{}\n{}",
                output.good("it stands in the log"),
                output.bold(&sentence),
                pretty(&json)
            )
        });
        Ok(())
    }
}
