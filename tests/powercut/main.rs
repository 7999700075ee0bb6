//! The disk as a power cut leaves it.
//!
//! A scenario of many commits runs over files that record what is done to them. Then its disk is made again as a power
//! cut at any moment could leave it: with what was synced and nothing more, or with some of what wasn't, torn and in
//! another order. Each such image is opened as a store and a log, and held against what had been acknowledged.

mod campaign;
mod check;
mod disk;
mod files;
mod full_disk;
mod gone;
mod image;
mod model;
mod options;
mod random;
mod record;
mod report;
mod scenario;
mod units;
#[path = "../worldcheck/mod.rs"]
mod worldcheck;

use std::{path::Path, process::ExitCode, sync::mpsc};

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

use crate::{
    campaign::{Campaign, Plan},
    options::Options,
    record::Lie,
    report::Report,
    scenario::{Places, Recording, places, record},
};

/// A disk in memory, where there is one: thousands of images are written, and none has to last.
const MEMORY: &str = "/dev/shm";

/// What the self-test runs: long enough for several segments, and restarts.
const TEST_COMMITS: u64 = 400;
const TEST_IMAGES: usize = 400;

/// Lies about syncs, each of which must be found out.
const LIES: [Lie; 4] = [Lie::JournalFolder, Lie::Files(7), Lie::LogFolders, Lie::SnapshotFolder];

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if options.is_left_out() {
        return Ok(ExitCode::SUCCESS);
    }
    if options.is_slice() || options.self_test {
        self_test(&options)?;
    }
    if options.is_slice() || options.full_disk {
        let folder = tempfile::tempdir()?;
        Builder::new_multi_thread().enable_all().build()?.block_on(full_disk::run(folder.path()))?;
    }
    if (options.self_test || options.full_disk) && options.images.is_none() && !options.all {
        return Ok(ExitCode::SUCCESS);
    }
    let kept = std::env::temp_dir().join(format!("countersign-powercut-{}", options.seed));
    let plan = Plan { seed: options.seed, drawn: options.drawn(), stop_at_first: false, kept: Some(kept) };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let begun = runtime.block_on(async { Instant::now() });
    let report = campaign(&runtime, options.commits, Lie::None, &plan, !options.json)?;
    let took = begun.elapsed();
    if report.faults.is_empty() && options.commits >= options::COMMITS {
        ensure!(
            report.believed() > 0,
            "no image is that of a store that was closed: nothing is seen of its mark"
        );
    }
    if options.json {
        println!("{}", report.json(took));
    } else {
        report.print(took);
    }
    Ok(if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the campaign over files that lie, and demands that it finds out.
fn self_test(options: &Options) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    for lie in LIES {
        let plan = Plan { seed: options.seed, drawn: Some(TEST_IMAGES), stop_at_first: true, kept: None };
        let report = campaign(&runtime, TEST_COMMITS, lie, &plan, false)?;
        let images = report.images();
        ensure!(!report.faults.is_empty(), "{images} images don't show that files lie about syncs: {lie:?}");
        if !options.json {
            println!("files that lie about syncs ({lie:?}) are found out by image {images}");
        }
    }
    Ok(())
}

fn campaign(runtime: &Runtime, commits: u64, lie: Lie, plan: &Plan, shown: bool) -> Result<Report> {
    let folder = folder()?;
    let places = places(folder.path());
    let recording = recorded(plan.seed, commits, lie, &places)?;
    let bar = if shown { ProgressBar::no_length() } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} images, {elapsed} of {duration}")?);
    let campaign = Campaign::new(&recording, &places, folder.path().join("pool"), plan)?;
    let report = runtime.block_on(campaign.run(|done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    }));
    bar.finish_and_clear();
    report
}

/// Records the scenario on a runtime whose clock stands still.
fn recorded(seed: u64, commits: u64, lie: Lie, places: &Places) -> Result<Recording> {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build()?;
    // A paused clock runs on to the next timer whenever nothing else is to be done, unless something blocks: so this
    // does, and the publisher's seconds pass when the driver says so.
    let (release, held) = mpsc::channel::<()>();
    let _holding = runtime.spawn_blocking(move || held.recv());
    let recording = runtime.block_on(record(seed, commits, lie, places));
    drop(release);
    recording
}

fn folder() -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("countersign-powercut-");
    let memory = Path::new(MEMORY).is_dir().then(|| builder.tempdir_in(MEMORY).ok()).flatten();
    match memory {
        Some(folder) => Ok(folder),
        None => builder.tempdir().context("making a folder to work in"),
    }
}
