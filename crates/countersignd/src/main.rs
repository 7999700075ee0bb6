//! The daemon's entry: see the library.

use std::process::ExitCode;

use clap::Parser as _;
use countersignd::{arguments::Arguments, run};

/// Calls allocate hundreds of small pieces in one thread and drop them in another: the system's allocator spends twice
/// the time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("countersignd: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
