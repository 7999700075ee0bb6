//! The customer: requests, grants, stops. Holds keys in a file, and so stands in for an app.

mod activity;
mod approve;
mod asking;
mod close;
mod device;
mod export;
mod grants;
mod narrow;
mod new;
mod preview;
mod recover;
mod refuse;
mod requests;
mod show;
mod stolen;
mod stop;
mod tap;

use anyhow::Result;
use clap::Subcommand;

use crate::arguments::Setting;

#[derive(Debug, Subcommand)]
pub(crate) enum CustomerCommand {
    /// Make a wallet, if there is none, and enter the customer at the broker
    New(new::Arguments),
    /// List the requests that were put before the customer
    Requests(requests::Arguments),
    /// Show a request in plain words; nothing that the broker could have twisted is shown
    Show(show::Arguments),
    /// See what would leave, live, before you answer: sealed to you alone
    Preview(preview::Arguments),
    /// Approve a request: required rows, and what else you switch on
    Approve(approve::Arguments),
    /// Refuse a request
    Refuse(refuse::Arguments),
    /// How often, when and by whom the customer is asked; set what is given
    Asking(asking::Arguments),
    /// List the grants
    Grants(grants::Arguments),
    /// Put less in the place of what was approved
    Narrow(narrow::Arguments),
    /// Stop a grant for good, or all of them
    Stop(stop::Arguments),
    /// Let a precise location leave once, now
    Tap(tap::Arguments),
    /// Pause a grant, or all of them
    Pause(stop::Pause),
    /// End a pause
    Resume(stop::Resume),
    /// What happened: transfers, refusals, changes
    Activity(activity::Arguments),
    /// Write everything about the customer into a folder, with consent receipts and proofs
    Export(export::Arguments),
    /// List, add and remove what opens the root secret
    #[command(subcommand)]
    Device(device::DeviceCommand),
    /// Get the wallet on a new device, from an authenticator alone
    Recover(recover::Arguments),
    /// Report the root secret stolen: stop everything, end this customer, begin a new wallet
    Stolen(stolen::Arguments),
    /// Close the account for good: stop every grant with an order to delete, and be erased at the broker
    Close(close::Arguments),
}

impl CustomerCommand {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        match self {
            Self::New(arguments) => arguments.run(setting).await,
            Self::Requests(arguments) => arguments.run(setting).await,
            Self::Show(arguments) => arguments.run(setting).await,
            Self::Preview(arguments) => arguments.run(setting).await,
            Self::Approve(arguments) => arguments.run(setting).await,
            Self::Refuse(arguments) => arguments.run(setting).await,
            Self::Asking(arguments) => arguments.run(setting).await,
            Self::Grants(arguments) => arguments.run(setting).await,
            Self::Narrow(arguments) => arguments.run(setting).await,
            Self::Stop(arguments) => arguments.run(setting).await,
            Self::Tap(arguments) => arguments.run(setting).await,
            Self::Pause(arguments) => arguments.run(setting).await,
            Self::Resume(arguments) => arguments.run(setting).await,
            Self::Activity(arguments) => arguments.run(setting).await,
            Self::Export(arguments) => arguments.run(setting).await,
            Self::Device(command) => command.run(setting).await,
            Self::Recover(arguments) => arguments.run(setting).await,
            Self::Stolen(arguments) => arguments.run(setting).await,
            Self::Close(arguments) => arguments.run(setting).await,
        }
    }
}
