//! Operators: who takes part, who may read, and what leaves the disk.

mod auditor;
mod grant;
mod key;
mod partner;
mod scrub;

use anyhow::Result;
use clap::Subcommand;

use crate::arguments::Setting;

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Partners
    #[command(subcommand)]
    Partner(partner::PartnerCommand),
    /// Partners' working keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Auditors
    #[command(subcommand)]
    Auditor(auditor::AuditorCommand),
    /// Grants
    #[command(subcommand)]
    Grant(grant::GrantCommand),
    /// Have all that was removed leave the broker's disk now, and wait until it has
    Scrub(scrub::Arguments),
}

impl OperatorCommand {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        match self {
            Self::Partner(command) => command.run(setting).await,
            Self::Key(command) => command.run(setting).await,
            Self::Auditor(command) => command.run(setting).await,
            Self::Grant(command) => command.run(setting).await,
            Self::Scrub(arguments) => arguments.run(setting).await,
        }
    }
}
