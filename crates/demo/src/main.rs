//! The demo: three brands on the real flights of one day, and the journey through them. And the bench.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

mod bench;
mod brand;
mod control;
mod director;
mod flights;
mod hall;
mod journey;
mod ride;
mod signals;
mod stage;
mod verify;

#[derive(Debug, Parser)]
#[command(name = "countersign-demo", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play Mei's airport trip on real flights, and check every beat of it.
    Run(director::Arguments),
    /// Run broker and brands for another program, which plays the person: JSON lines on standard input and output.
    Hall(hall::Arguments),
    /// Measure throughput, latency and memory, everything on this machine.
    Bench(bench::Arguments),
    /// Play one brand. The director starts these.
    #[command(hide = true)]
    Brand(brand::Arguments),
    /// Forward fetches and prove nothing. The bench starts this.
    #[command(hide = true)]
    Relay(bench::price::relay::Arguments),
    /// Call as fast as answers come. The bench starts this.
    #[command(hide = true)]
    Flooder(bench::flood::FlooderArguments),
}

/// Calls allocate hundreds of small pieces in one thread and drop them in another: the system's allocator spends twice
/// the time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all was well.
fn run(command: &Command) -> Result<bool> {
    // Standard output is the story's, or the director's line to a brand.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(async {
        match command {
            // Boxed: each is a whole story in one future.
            Command::Run(arguments) => Box::pin(director::run(arguments)).await,
            Command::Hall(arguments) => Box::pin(hall::run(arguments)).await.map(|()| true),
            Command::Bench(arguments) => Box::pin(bench::run(arguments)).await,
            Command::Brand(arguments) => brand::run(arguments).await.map(|()| true),
            Command::Flooder(arguments) => bench::flood::flooder(arguments).await.map(|()| true),
            Command::Relay(arguments) => bench::price::relay::run(arguments).await.map(|()| true),
        }
    });
    // A brand's input is read on a thread that only the director's hanging up would wake.
    runtime.shutdown_background();
    done
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
    fn a_journey_needs_two() {
        assert!(Arguments::try_parse_from(["countersign-demo", "run", "--travellers", "1"]).is_err());
        assert!(
            Arguments::try_parse_from(["countersign-demo", "run", "--travellers", "2", "--keep"]).is_ok()
        );
    }
}
