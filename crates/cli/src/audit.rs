//! Auditors: entries and their proofs. Each read is a record of the log itself.

mod entry;
mod list;
mod proof;

use anyhow::Result;
use clap::Subcommand;

use crate::arguments::Setting;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List entries, oldest first, with filters
    List(list::Arguments),
    /// Show one entry, proven
    Entry(entry::Arguments),
    /// Get the proof of an entry as a file that anybody verifies offline
    Proof(proof::Arguments),
}

impl AuditCommand {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        match self {
            Self::List(arguments) => arguments.run(setting).await,
            Self::Entry(arguments) => arguments.run(setting).await,
            Self::Proof(arguments) => arguments.run(setting).await,
        }
    }
}
