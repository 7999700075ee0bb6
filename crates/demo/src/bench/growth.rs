//! `cargo xtask bench growth`: what a transfer costs when the log is long, against one into a log that is all but empty.
//!
//! Two brokers with the same people. One is stopped, gets millions of records and standing grants through its ledger, and
//! is started again. Then both carry made transfers under their people's grants, in slices that alternate.
//!
//! `--json` writes one object; names are stable, and new ones may come:
//!
//! | name | what |
//! |---|---|
//! | `version`, `cores` | 1: the version of these names; processors |
//! | `records`, `grants` | what was entered |
//! | `seed_seconds` | how long entering took |
//! | `open_seconds`, `rebuilt_open_seconds` | from starting the daemon until it listens: after a clean end, and with the index deleted |
//! | `empty.cpu_us_per_call`, `.calls_per_s`, `.rss_mib` | medians of the broker with next to nothing |
//! | `grown.cpu_us_per_call`, `.calls_per_s`, `.rss_mib` | medians of the other; its memory at most |
//! | `cpu_ratio` | the grown broker's over the empty one's |
//! | `disk_bytes`, `live_bytes`, `disk_ratio` | the data folder; rows, records and private parts, each once; the quotient |

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use clap::builder::RangedU64ValueParser;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    load::progress,
    machine::{processor_time, resident},
    measure,
    price::{Middle, Setup, closed_loop, learn_on, median, prepare},
};
use crate::director::grouped;

/// How many calls are under way.
const IN_FLIGHT: usize = 64;

/// Calls before anything is measured.
const WARM_UP_CALLS: usize = 2000;

/// How often they are made again when some fail: the first calls after a start find the index on the disk alone.
const WARM_UP_TRIES: u32 = 10;

/// What is measured, and how large it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many records are entered.
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    records: u64,
    /// How many standing grants.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    grants: u64,
    /// How many slices each broker has.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = RangedU64ValueParser::<u64>::new().range(1..=100))]
    slices: u64,
    /// How many calls a slice has.
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    calls: u32,
    /// How many people are there in both, each with one grant that is used.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    people: u16,
    /// Every figure as JSON on the standard output, under a stable name.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Figures {
    version: u32,
    cores: usize,
    records: u64,
    grants: u64,
    seed_seconds: f64,
    open_seconds: f64,
    rebuilt_open_seconds: f64,
    empty: Side,
    grown: Side,
    cpu_ratio: f64,
    disk_bytes: u64,
    live_bytes: u64,
    disk_ratio: f64,
}

#[derive(Debug, Default, Serialize)]
struct Side {
    cpu_us_per_call: f64,
    calls_per_s: f64,
    rss_mib: f64,
}

#[derive(Debug, Deserialize)]
struct Seeded {
    records: u64,
    grants: u64,
}

#[derive(Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the unit belongs to the names in the JSON")]
struct Live {
    row_bytes: u64,
    record_bytes: u64,
    private_bytes: u64,
}

/// One of the two brokers.
struct Tried {
    setup: Setup,
    cpu: Vec<f64>,
    rates: Vec<f64>,
    peak_kib: u64,
}

/// Measures; whether the figures are as they should be.
pub(crate) async fn run(arguments: &Arguments) -> Result<bool> {
    ensure!(arguments.records >= arguments.grants, "each grant has at least one record");
    let mut empty = Tried::set(arguments.people).await?;
    let mut grown = Tried::set(arguments.people).await?;

    let data = grown.setup.stage.folder.data();
    stop(&mut grown).await?;
    eprintln!("entering {} records and {} grants", grouped(arguments.records), grouped(arguments.grants));
    let begun = Instant::now();
    let seed = [
        "seed".to_owned(),
        format!("--data={}", data.display()),
        format!("--records={}", arguments.records),
        format!("--grants={}", arguments.grants),
    ];
    let seeded = measure::run::<Seeded>(&seed).await?;
    let seed_seconds = begun.elapsed().as_secs_f64();
    // What entering left for the system to write is no cost of a transfer's: it would hold up every sync for minutes.
    settle().await?;
    let open_seconds = start(&mut grown).await?;
    eprintln!("entered in {seed_seconds:.0} s, open in {open_seconds:.1} s");

    let bar = progress(arguments.slices * 2, "slices");
    for tried in [&mut empty, &mut grown] {
        // From here on no call may fail; before, the index is on the disk alone.
        tried.warm_up().await?;
        (tried.cpu, tried.rates) = (Vec::new(), Vec::new());
    }
    for round in 0..arguments.slices {
        let pair = if round.is_multiple_of(2) { [&mut empty, &mut grown] } else { [&mut grown, &mut empty] };
        for tried in pair {
            tried.slice(arguments.calls as usize).await?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();

    let side = |tried: &Tried| median(tried.cpu.clone());
    eprintln!("CPU of a transfer: {:.1} µs, {:.1} µs in the empty one", side(&grown), side(&empty));

    stop(&mut grown).await?;
    let disk_bytes = size_of(&data)?;
    std::fs::remove_dir_all(data.join("store/sled")).context("the index")?;
    let rebuilt_open_seconds = start(&mut grown).await?;
    eprintln!("open with the index deleted in {rebuilt_open_seconds:.1} s");
    grown.peak_kib = grown.peak_kib.max(resident(grown.pid()?)?.peak_kib);
    stop(&mut grown).await?;
    let live = measure::run::<Live>(&["live".to_owned(), format!("--data={}", data.display())]).await?;
    let live_bytes = live.row_bytes + live.record_bytes + live.private_bytes;

    stop(&mut empty).await?;
    let (empty, grown) = (empty.figures(), grown.figures());
    let figures = Figures {
        version: 1,
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        records: seeded.records,
        grants: seeded.grants,
        seed_seconds,
        open_seconds,
        rebuilt_open_seconds,
        cpu_ratio: grown.cpu_us_per_call / empty.cpu_us_per_call,
        empty,
        grown,
        disk_bytes,
        live_bytes,
        disk_ratio: disk_bytes as f64 / live_bytes as f64,
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print(&figures);
    }
    Ok(true)
}

/// Waits until the system has written what it holds back.
async fn settle() -> Result<()> {
    let synced = tokio::process::Command::new("sync").status().await.context("sync")?;
    ensure!(synced.success(), "sync ended with {synced}");
    Ok(())
}

async fn stop(tried: &mut Tried) -> Result<()> {
    tried.peak_kib = tried.peak_kib.max(resident(tried.pid()?)?.peak_kib);
    let code = tried.setup.stage.broker.stop().await?;
    ensure!(code == Some(0), "the broker ended with {code:?}");
    Ok(())
}

/// Starts the daemon again: how long until it listens.
async fn start(tried: &mut Tried) -> Result<f64> {
    let begun = Instant::now();
    let stage = &mut tried.setup.stage;
    stage.broker.start_again(&stage.binaries, &stage.folder).await?;
    Ok(begun.elapsed().as_secs_f64())
}

impl Tried {
    async fn set(people: u16) -> Result<Self> {
        // A port of its own that stays, so that a broker that starts again is found.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut setup = learn_on(people, &[("LISTENERS__0__ADDRESS", &port.to_string())]).await?;
        setup.stage.dismiss().await?;
        Ok(Self { setup, cpu: Vec::new(), rates: Vec::new(), peak_kib: 0 })
    }

    fn pid(&self) -> Result<u32> {
        self.setup.stage.broker.pid().context("the broker has ended")
    }

    async fn warm_up(&mut self) -> Result<()> {
        for _ in 0..WARM_UP_TRIES {
            let failures = self.calls(WARM_UP_CALLS).await?;
            if failures == 0 {
                return Ok(());
            }
            eprintln!("{failures} of the first {WARM_UP_CALLS} calls failed");
        }
        bail!("no {WARM_UP_CALLS} calls without a failure, in {WARM_UP_TRIES} tries")
    }

    async fn slice(&mut self, calls: usize) -> Result<()> {
        let failures = self.calls(calls).await?;
        ensure!(failures == 0, "{failures} calls failed");
        Ok(())
    }

    /// Carries so many calls; how many failed.
    async fn calls(&mut self, calls: usize) -> Result<u64> {
        let Setup { stage, stub, maker, .. } = &self.setup;
        let middle = Middle::broker(stage, maker)?;
        let prepared = prepare(maker, stub, calls).await?;
        let before = processor_time(self.pid()?)?;
        let slice = closed_loop(&middle.connection, &prepared, IN_FLIGHT).await?;
        let cpu = processor_time(self.pid()?)?.saturating_sub(before);
        self.cpu.push(cpu.as_secs_f64() * 1e6 / slice.calls as f64);
        self.rates.push(slice.per_second());
        self.peak_kib = self.peak_kib.max(resident(self.pid()?)?.peak_kib);
        Ok(slice.failures)
    }

    fn figures(self) -> Side {
        Side {
            cpu_us_per_call: median(self.cpu),
            calls_per_s: median(self.rates),
            rss_mib: self.peak_kib as f64 / 1024.0,
        }
    }
}

/// The sizes of the files in a folder and in those in it.
fn size_of(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { size_of(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}

fn print(figures: &Figures) {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    println!(
        "{} records and {} standing grants, entered in {:.0} s; {} cores",
        grouped(figures.records),
        grouped(figures.grants),
        figures.seed_seconds,
        figures.cores
    );
    println!("{:>10}{:>12}{:>10}{:>12}", "broker", "calls/s", "CPU µs", "RSS MiB");
    for (name, side) in [("empty", &figures.empty), ("grown", &figures.grown)] {
        let rate = grouped(side.calls_per_s.round() as u64);
        println!("{name:>10}{rate:>12}{:>10.1}{:>12.0}", side.cpu_us_per_call, side.rss_mib);
    }
    println!();
    let goal = |met: bool, text: String| println!("  {:<7} {text}", if met { "met" } else { "MISSED" });
    goal(
        figures.cpu_ratio <= 1.25,
        format!("CPU of a transfer, grown over empty: {:.2} (wanted: 1.25)", figures.cpu_ratio),
    );
    goal(figures.open_seconds < 10.0, format!("open: {:.1} s (wanted: 10)", figures.open_seconds));
    println!("          open with the index deleted: {:.1} s", figures.rebuilt_open_seconds);
    goal(figures.grown.rss_mib < 1536.0, format!("memory: {:.0} MiB (wanted: 1,536)", figures.grown.rss_mib));
    goal(
        figures.disk_ratio <= 4.0,
        format!(
            "disk: {:.2} GiB for {:.2} GiB live: {:.2} (wanted: 4)",
            gib(figures.disk_bytes),
            gib(figures.live_bytes),
            figures.disk_ratio
        ),
    );
}
