//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use countersign_broker::grants::id::Origin;

use crate::init::{Plan, admin_beside};

/// Runs a Countersign broker.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 done; 1 failed while running; 2 wrong command line; 73 `init` would overwrite or can't \
    write; 78 a configuration, key or catalogue file is wrong."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the daemon can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a data folder: keys, configuration, and the trust file that partners and customers need.
    Init(Init),
    /// Serves until it is told to stop.
    Serve(Serve),
    /// Takes what was erased off the disk at once, in the data folder of a broker that is not running.
    Scrub(Scrub),
}

/// Which broker's data is scrubbed.
#[derive(Debug, Args)]
pub struct Scrub {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// How a data folder is made.
#[derive(Debug, Args)]
pub struct Init {
    /// The data folder: absent or empty.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The origin of the log, as `broker.example/log`. It can't be changed later.
    #[arg(long, value_parser = Origin::parse)]
    pub origin: Origin,
    /// Where the API and the log are served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7443")]
    pub listen: SocketAddr,
    /// Where metrics are served, on loopback. By default the port after that of --listen.
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<SocketAddr>,
    /// The certificate chain, PEM. Without it, --listen is on loopback.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's secret key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// The authorities that vouch for the certificate, PEM, to be handed out in the trust file.
    #[arg(long, value_name = "FILE", value_parser = read_text, requires = "tls_certificate")]
    pub ca: Option<String>,
    /// The URL that partners and customers connect to, if it isn't that of --listen.
    #[arg(long, value_name = "URL")]
    pub address: Option<String>,
}

impl From<Init> for Plan {
    fn from(init: Init) -> Self {
        Plan {
            admin: init.admin.unwrap_or_else(|| admin_beside(init.listen)),
            data: init.data,
            origin: init.origin,
            listen: init.listen,
            tls: init.tls_certificate.zip(init.tls_key),
            ca_pem: init.ca,
            address: init.address,
        }
    }
}

fn read_text(file: &str) -> Result<String, std::io::Error> {
    std::fs::read_to_string(file)
}

/// How the broker is served.
#[derive(Debug, Args)]
pub struct Serve {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where to write the addresses as JSON once they can be connected to.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let line = ["countersignd", "init", "--data", "d", "--origin", "o", "--tls-certificate", "c"];
        assert!(Arguments::try_parse_from(line).is_err());
        assert!(Arguments::try_parse_from(&line[..6]).is_ok());
    }
}
