//! The bench: transfers a second and their latency, the broker's memory and time, and how fast a log is checked. All
//! processes are on this machine.
//!
//! `--json` writes one object; names are stable, and new ones may come:
//!
//! | name | what |
//! |---|---|
//! | `version` | 1: the version of these names |
//! | `cores` | processors that all processes share |
//! | `transfers[].in_flight` | how many fetches the recipient keeps under way: each begins as one ends |
//! | `transfers[].transfers`, `.failures`, `.seconds` | what was measured, after a warm-up, in slices that alternate |
//! | `transfers[].per_second` | transfers a second, each durable before it was answered, and verified with its proof |
//! | `transfers[].p50_us`, `.p99_us`, `.max_us` | from the recipient's call to the opened values, in microseconds |
//! | `transfers[].broker_cpu_us`, `.source_cpu_us`, `.recipient_cpu_us` | processor time a transfer in each process |
//! | `broker_memory.rss_start_kib`, `.rss_end_kib`, `.peak_kib` | resident memory before the load, after it, and at most |
//! | `verify.records`, `.grants`, `.bytes` | the log that `countersign log verify` checked: records, tags, bytes of bundles |
//! | `verify.seconds`, `.records_per_second`, `.cpu_seconds` | how long that took, pinned to one processor |
//! | `verify.peak_kib` | the checker's resident memory at most |

mod appends;
mod events;
mod figures;
pub(crate) mod flood;
mod growth;
mod load;
mod machine;
mod measure;
mod people;
pub(crate) mod price;
mod synthetic;
mod verifying;

use anyhow::{Result, ensure};
use clap::builder::RangedU64ValueParser;

use self::figures::Figures;
use crate::signals::interrupted;

/// What is measured, and for how long.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// How long each width is measured.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = RangedU64ValueParser::<u64>::new().range(1..=3600))]
    seconds: u64,
    /// How many fetches are under way at a time, one width after the other.
    #[arg(long, value_name = "WIDTHS", value_delimiter = ',', default_values_t = [1, 16, 64])]
    in_flight: Vec<u16>,
    /// How many people have approved, each one grant.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    grants: u16,
    /// How long a log is checked: two records a grant. 0 leaves that out.
    #[arg(long, value_name = "RECORDS", default_value_t = 2_000_000)]
    records: u64,
    /// Every figure as JSON on the standard output, under a stable name.
    #[arg(long)]
    json: bool,
}

/// What else can be measured.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// What durability and proof cost a call, against a bare relay.
    Price(price::Arguments),
    /// How many records the ledger alone takes, and how many `log verify` checks.
    Log(appends::Arguments),
    /// What a transfer costs when the log is long.
    Growth(growth::Arguments),
    /// Whether one partner's flood fails another's calls.
    Flood(flood::Arguments),
    /// How soon a stop is at every open stream, and how many events are fanned out.
    Events(events::Arguments),
}

/// Measures; whether every transfer went well.
pub(crate) async fn run(arguments: &Arguments) -> Result<bool> {
    tokio::select! {
        done = measure(arguments) => done,
        () = interrupted() => {
            eprintln!("interrupted");
            Ok(false)
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<bool> {
    match &arguments.what {
        None => transfers(arguments).await,
        Some(What::Price(arguments)) => Box::pin(price::run(arguments)).await,
        Some(What::Log(arguments)) => appends::run(arguments).await,
        Some(What::Growth(arguments)) => Box::pin(growth::run(arguments)).await,
        Some(What::Flood(arguments)) => Box::pin(flood::run(arguments)).await,
        Some(What::Events(arguments)) => Box::pin(events::run(arguments)).await,
    }
}

async fn transfers(arguments: &Arguments) -> Result<bool> {
    ensure!(arguments.in_flight.iter().all(|width| *width > 0), "with none in flight nothing moves");
    let (transfers, broker_memory) = load::measure(arguments).await?;
    let verify = match arguments.records {
        0 => None,
        records => Some(verifying::measure(records).await?),
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let figures = Figures { version: figures::VERSION, cores, transfers, broker_memory, verify };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{}", figures.table());
    }
    Ok(figures.transfers.iter().all(|width| width.failures == 0))
}
