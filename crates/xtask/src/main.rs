//! The workspace's own commands. `cargo xtask --help` lists them; `.ci/run` calls `cargo xtask ci`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod buf;
mod campaign;
mod cargo;
mod ci;
mod companion;
mod deny;
mod fuzz;
mod launch;
mod prerequisites;
mod steps;
mod test;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The workspace's own commands.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the daemon, the demo brands and the CLI, then run the journey on real flights.
    #[command(disable_help_flag = true)]
    Demo {
        /// Handed to the demo as they are: `cargo xtask demo --help` shows them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the same in release, then measure throughput, latency and memory.
    #[command(disable_help_flag = true)]
    Bench {
        /// Handed to the bench as they are: `cargo xtask bench --help` shows them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Kill a real daemon under load again and again, and check after each restart that nothing was lost.
    #[command(disable_help_flag = true)]
    Crash {
        /// Handed to the campaign as they are: `cargo xtask crash --help` shows them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Rebuild the disk as a power cut would leave it, at every sync of the engine, and open it.
    #[command(disable_help_flag = true)]
    Powercut {
        /// Handed to the campaign as they are: `cargo xtask powercut --help` shows them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Simulate broker, partners, customers and auditors on a failing network, one run a seed.
    #[command(disable_help_flag = true)]
    Sim {
        /// Handed to the simulation as they are: `cargo xtask sim --help` shows them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Fuzz every parser of bytes from outside, on nightly, and report executions, coverage and crashes.
    Fuzz(fuzz::Options),
    /// Build the customer's web app, which the daemon then embeds: needs Node and npm.
    Companion,
    /// Draw every screen of the web app in each language, size and colour scheme, to be looked at.
    Screenshots,
    /// Run every test of the workspace, after a look at what must be installed.
    Test,
    /// Run what CI runs: format, lints, docs, licences, protos, tests.
    Ci,
    /// Generate crates/proto/src/gen from proto/.
    Codegen,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Demo { arguments } => launch::demo(arguments),
        Command::Bench { arguments } => launch::bench(arguments),
        Command::Crash { arguments } => campaign::run("crash", arguments),
        Command::Powercut { arguments } => campaign::run("powercut", arguments),
        Command::Sim { arguments } => campaign::run("sim", arguments),
        Command::Fuzz(options) => fuzz::run(options),
        Command::Companion => companion::run(),
        Command::Screenshots => companion::screenshots(),
        Command::Test => Ok(test::run()),
        Command::Ci => Ok(ci::run()),
        Command::Codegen => codegen(),
    }
}

fn codegen() -> Result<ExitCode> {
    let root = xtask::workspace_root();
    for file in xtask::codegen::generate(&root.join(xtask::codegen::COMMITTED))? {
        println!("wrote {}", file.strip_prefix(&root).unwrap_or(&file).display());
    }
    Ok(ExitCode::SUCCESS)
}
