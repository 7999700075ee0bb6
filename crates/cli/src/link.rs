//! Links between a partner's account and a customer.

mod accept;
mod confirm;
mod invite;
mod list;

use anyhow::Result;
use clap::Subcommand;

use crate::arguments::Setting;

#[derive(Debug, Subcommand)]
pub(crate) enum LinkCommand {
    /// Partner: invite the person who is signed in
    Invite(invite::Arguments),
    /// Customer: accept an invitation, and get the code for the partner's own app
    Accept(accept::Arguments),
    /// Partner: confirm the link with the code that the person brought back
    Confirm(confirm::Arguments),
    /// List the links of a partner or a customer, by whose folder it is
    List(list::Arguments),
}

impl LinkCommand {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        match self {
            Self::Invite(arguments) => arguments.run(setting).await,
            Self::Accept(arguments) => arguments.run(setting).await,
            Self::Confirm(arguments) => arguments.run(setting).await,
            Self::List(arguments) => arguments.run(setting).await,
        }
    }
}
