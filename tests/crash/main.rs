//! A real daemon under load, killed again and again.
//!
//! The clients are the SDK on all sides, in this process; the broker is `countersignd` in a process of its own, which is
//! killed at moments that the seed draws. After each death the disk is held against everything that anybody was told, and
//! the broker must come back to it. `cargo xtask crash --rounds 200` runs a long campaign; without arguments a short slice
//! runs.

mod brand;
mod check;
mod daemon;
mod harm;
mod load;
mod notes;
mod options;
mod random;
mod report;
mod rounds;
mod self_test;
mod world;
#[path = "../worldcheck/mod.rs"]
#[expect(dead_code, reason = "shared with others that use other parts of it")]
mod worldcheck;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser as _;

use crate::options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    if options.is_left_out() {
        return ExitCode::SUCCESS;
    }
    let ran = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime can't be started")
        .and_then(|runtime| runtime.block_on(run(&options)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nFAULT {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<()> {
    if options.tests_itself() {
        let (folder, kept) = folder(options, "self-test")?;
        self_test::run(options.seed, &folder).await.with_context(|| kept_at(&folder))?;
        done(&folder, kept)?;
    }
    for (number, campaign) in options.campaigns().into_iter().enumerate() {
        let (folder, kept) = folder(options, &format!("campaign-{number}"))?;
        let ran = Box::pin(rounds::run(options, campaign, &folder)).await;
        let ran = ran.with_context(|| kept_at(&folder))?;
        if options.json {
            println!("{}", serde_json::to_string(&ran)?);
        } else {
            println!("\n{}\n", ran.table());
        }
        done(&folder, kept)?;
    }
    Ok(())
}

/// The folder of a campaign, and whether it was named and stays.
fn folder(options: &Options, name: &str) -> Result<(PathBuf, bool)> {
    if let Some(named) = &options.folder {
        let folder = named.join(name);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        return Ok((folder, true));
    }
    let made =
        tempfile::Builder::new().prefix("countersign-crash-").tempdir().context("a temporary folder")?;
    // It goes when all went well, and only then.
    Ok((made.keep(), false))
}

fn kept_at(folder: &std::path::Path) -> String {
    format!("everything is kept in {}", folder.display())
}

fn done(folder: &std::path::Path, kept: bool) -> Result<()> {
    if kept { Ok(()) } else { check::copy::remove(folder) }
}
