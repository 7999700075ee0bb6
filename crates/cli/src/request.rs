//! Requests of a partner.

mod cancel;
mod create;
mod list;

use anyhow::Result;
use clap::Subcommand;

use crate::arguments::Setting;

#[derive(Debug, Subcommand)]
pub(crate) enum RequestCommand {
    /// Put offers to a linked customer
    Create(create::Arguments),
    /// List this partner's requests
    List(list::Arguments),
    /// Take a request back
    Cancel(cancel::Arguments),
}

impl RequestCommand {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        match self {
            Self::Create(arguments) => arguments.run(setting).await,
            Self::List(arguments) => arguments.run(setting).await,
            Self::Cancel(arguments) => arguments.run(setting).await,
        }
    }
}
