//! `countersign`: partner, customer, auditor and operator commands, all through the public API.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 a check found damage.

mod arguments;
mod audit;
mod customer;
mod explain;
mod fetch;
mod grant;
mod homes;
mod key;
mod link;
mod log;
mod offer;
mod operator;
mod output;
mod partner;
mod request;
mod watch;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{arguments::Cli, explain::Explained};

/// Calls allocate hundreds of small pieces in one thread and drop them in another: the system's allocator spends twice
/// the time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.setting.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Explained::of(&error.into()).report(json),
    };
    let done = runtime.block_on(cli.run());
    // A check that reads a slow address may sit on a thread of its own; nobody waits for it.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => Explained::of(&error).report(json),
    }
}
