//! Offers of a recipient.

mod draft;
mod list;
mod publish;
mod withdraw;

use anyhow::Result;
use clap::Subcommand;

use crate::arguments::Setting;

#[derive(Debug, Subcommand)]
pub(crate) enum OfferCommand {
    /// Publish the offer in a TOML or JSON file
    Publish(publish::Arguments),
    /// List this partner's offers
    List(list::Arguments),
    /// Withdraw an offer; grants under it stand
    Withdraw(withdraw::Arguments),
}

impl OfferCommand {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        match self {
            Self::Publish(arguments) => arguments.run(setting).await,
            Self::List(arguments) => arguments.run(setting).await,
            Self::Withdraw(arguments) => arguments.run(setting).await,
        }
    }
}
