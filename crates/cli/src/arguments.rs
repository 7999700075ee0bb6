//! The commands, and what they have in common.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use countersign_client::{BrokerTrust, System};

use crate::{
    audit::AuditCommand, customer::CustomerCommand, fetch, grant::GrantCommand, key::KeyCommand,
    link::LinkCommand, log::LogCommand, offer::OfferCommand, operator::OperatorCommand, output::Output,
    partner::PartnerCommand, request::RequestCommand, watch,
};

/// Share a customer's data between brands under the customer's own signature, and check that nobody cheated.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) setting: Setting,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Setting {
    /// The broker file that `countersignd init` wrote: whom to trust, and where to call
    #[arg(long, global = true, value_name = "FILE", default_value = "broker.json")]
    broker: PathBuf,
    /// Print JSON: one document, or one a line where a command goes on and on
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keys: make one, show its public half
    #[command(subcommand)]
    Key(KeyCommand),
    /// A partner's offline work: its identity, and certificates of its working keys
    #[command(subcommand)]
    Partner(PartnerCommand),
    /// Operators: who takes part, and who may read
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Offers of a recipient
    #[command(subcommand)]
    Offer(OfferCommand),
    /// Links between a partner's account and a customer
    #[command(subcommand)]
    Link(LinkCommand),
    /// Requests of a partner
    #[command(subcommand)]
    Request(RequestCommand),
    /// The customer: requests, grants, stops
    #[command(subcommand)]
    Customer(CustomerCommand),
    /// Grants of a partner: suspend, revoke, delete
    #[command(subcommand)]
    Grant(GrantCommand),
    /// Fetch data under a grant
    Fetch(fetch::Arguments),
    /// Watch a partner's events as they come
    Watch(watch::Arguments),
    /// Auditors: entries and their proofs
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Check a log, or a proof, without trusting anybody
    #[command(subcommand)]
    Log(LogCommand),
}

impl Cli {
    pub(crate) async fn run(self) -> Result<()> {
        let setting = &self.setting;
        match self.command {
            Command::Key(command) => command.run(setting),
            Command::Partner(command) => command.run(setting),
            Command::Operator(command) => command.run(setting).await,
            Command::Offer(command) => command.run(setting).await,
            Command::Link(command) => command.run(setting).await,
            Command::Request(command) => command.run(setting).await,
            Command::Customer(command) => command.run(setting).await,
            Command::Grant(command) => command.run(setting).await,
            Command::Fetch(arguments) => arguments.run(setting).await,
            Command::Watch(arguments) => arguments.run(setting).await,
            Command::Audit(command) => command.run(setting).await,
            Command::Log(command) => command.run(setting).await,
        }
    }
}

impl Setting {
    /// Whom to trust.
    pub(crate) fn trust(&self) -> Result<BrokerTrust> {
        BrokerTrust::read(&self.broker).context("name the broker file with --broker")
    }

    pub(crate) fn output(&self) -> Output {
        Output::new(self.json)
    }

    #[expect(clippy::unused_self, reason = "where a command has the time from is part of its setting")]
    pub(crate) fn system(&self) -> System {
        System::real()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_read_as_people_write_them() {
        let grant = format!("grants/{}", "0".repeat(64));
        let good = [
            "key new --out k",
            "partner identity new --out id.key",
            "partner key certify --identity id.key --partner partners/hopp --key hopp.key --out certificate",
            "operator partner create partners/hopp --display-name Hopp --identity-key AAAA",
            "operator partner vet partners/hopp",
            "operator partner approve partners/hopp --name operators/second --key second-operator.key",
            "operator partner contact partners/hopp +12125550100",
            "operator partner suspend partners/hopp --reason leak",
            "operator key publish --certificate certificate",
            "operator scrub",
            "operator auditor create auditors/ministry --display-name Ministry --public-key AAAA",
            "offer publish offer.toml --home hopp",
            "link invite --label mei --home hopp",
            "link accept package --home mei",
            "customer new --home mei",
            "customer preview grantRequests/1 --row 2 --language zh-Hans --home mei",
            "customer approve grantRequests/1 --row 5 --field 1:trip.terminal --field 2:ride.eta --language en",
            "customer activity --broker b.json --wallet w --book b --follow",
            "audit list --name auditors/ministry --key k --kind TRANSFER --since 2013-03-08T00:00:00Z",
            "audit proof 12 --name auditors/ministry --out proof --json",
            "log verify folder --broker b.json --json",
            "log verify https://log.example --key key --since checkpoint",
            "log proof-verify proof",
        ];
        for line in good {
            let words = std::iter::once("countersign").chain(line.split(' '));
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        for command in ["grant suspend", "grant revoke", "operator grant suspend", "operator grant revoke"] {
            let words = std::iter::once("countersign").chain(command.split(' '));
            let line = words.chain([grant.as_str(), "--reason", "not-needed", "--home", "hopp"]);
            Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{command}: {error}"));
        }
        let stop = ["countersign", "customer", "stop", &grant, "--erase", "--home", "mei"];
        assert!(Cli::try_parse_from(stop).is_ok());
        for line in ["", "customer", "customer approve", "log verify", "customer approve x --field trip.eta"]
        {
            let words = std::iter::once("countersign").chain(line.split(' ').filter(|word| !word.is_empty()));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
