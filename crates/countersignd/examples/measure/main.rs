//! What the bench needs from inside: the ledger alone under load, and a store with millions of records and grants.
//! `cargo xtask bench log` and `cargo xtask bench growth` start it.

mod appends;
mod live;
mod seed;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Append records through a ledger on a fresh store.
    Appends(appends::Arguments),
    /// Enter records and grants into the store of a data folder whose daemon has ended.
    Seed(seed::Arguments),
    /// Count what is live in the store of a data folder whose daemon has ended.
    Live(live::Arguments),
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let done = tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            match Arguments::parse().what {
                What::Appends(arguments) => appends::run(&arguments).await,
                What::Seed(arguments) => seed::run(&arguments).await,
                What::Live(arguments) => live::run(&arguments).await,
            }
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
