//! `cargo xtask bench log`: how many records a second the ledger alone takes, each durable and with its proof, and how
//! many `countersign log verify` checks.
//!
//! `--json` writes one object; names are stable, and new ones may come:
//!
//! | name | what |
//! |---|---|
//! | `version`, `cores` | 1: the version of these names; processors |
//! | `appends[].callers` | how many callers there are, each with one record at a time |
//! | `appends[].records`, `.seconds`, `.records_per_s` | transfers' records with private part, four streams, a use counter, a request id |
//! | `appends[].p50_us`, `.p99_us` | from the call to the proof |
//! | `verify` | as `cargo xtask bench` has it |

use anyhow::{Result, ensure};
use clap::builder::RangedU64ValueParser;
use serde::{Deserialize, Serialize};

use super::{figures::Verify, load::progress, measure, verifying};
use crate::{director::grouped, stage::Folder};

/// What is measured, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many callers append, one number after the other.
    #[arg(long, value_name = "CALLERS", value_delimiter = ',', default_values_t = [1, 64, 1024])]
    callers: Vec<u64>,
    /// How long each is measured.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = RangedU64ValueParser::<u64>::new().range(1..=600))]
    seconds: u64,
    /// How long a log is checked: two records a grant. 0 leaves that out.
    #[arg(long, value_name = "RECORDS", default_value_t = 2_000_000)]
    records: u64,
    /// Every figure as JSON on the standard output, under a stable name.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Figures {
    version: u32,
    cores: usize,
    appends: Vec<Appends>,
    verify: Option<Verify>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Appends {
    callers: u64,
    records: u64,
    seconds: f64,
    records_per_s: f64,
    p50_us: u64,
    p99_us: u64,
}

/// Measures.
pub(crate) async fn run(arguments: &Arguments) -> Result<bool> {
    ensure!(arguments.callers.iter().all(|callers| *callers > 0), "without callers nothing is appended");
    let bar = progress(arguments.callers.len() as u64, "numbers of callers");
    let mut appends = Vec::with_capacity(arguments.callers.len());
    for callers in &arguments.callers {
        // Each on a log of its own, so that none finds the others' disk work under way.
        let folder = Folder::open(None, false)?;
        let line = [
            "appends".to_owned(),
            format!("--folder={}", folder.path().join("store").display()),
            format!("--callers={callers}"),
            format!("--seconds={}", arguments.seconds),
        ];
        appends.push(measure::run::<Appends>(&line).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let verify = match arguments.records {
        0 => None,
        records => Some(verifying::measure(records).await?),
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let figures = Figures { version: 1, cores, appends, verify };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print(&figures);
    }
    Ok(true)
}

fn print(figures: &Figures) {
    println!(
        "The ledger alone, each record durable and proven before its caller goes on; {} cores",
        figures.cores
    );
    println!("{:>10}{:>14}{:>12}{:>12}", "callers", "records/s", "p50 ms", "p99 ms");
    for Appends { callers, records_per_s, p50_us, p99_us, .. } in &figures.appends {
        let (rate, ms) = (grouped(records_per_s.round() as u64), |us: u64| us as f64 / 1000.0);
        println!("{:>10}{rate:>14}{:>12.2}{:>12.2}", grouped(*callers), ms(*p50_us), ms(*p99_us));
    }
    if let Some(verify) = &figures.verify {
        println!(
            "\n`log verify`: {} records of {} grants in {:.1} s on one core: {} records/s, {} MiB at most",
            grouped(verify.records),
            grouped(verify.grants),
            verify.seconds,
            grouped(verify.records_per_second.round() as u64),
            verify.peak_kib / 1024
        );
    }
}
