//! The daemon's entry: see the library.

use std::process::ExitCode;

use clap::Parser as _;
use countersignd::{arguments::Arguments, run};

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("countersignd: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
