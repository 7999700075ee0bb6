//! `cargo xtask crash`, `powercut` and `sim`: the campaigns of `tests/`, at any length.

use std::process::ExitCode;

use anyhow::Result;

use crate::{cargo::cargo, prerequisites, steps};

/// Builds the daemon, which campaigns start, and runs the campaign of that name with `arguments`. With any it is meant to be
/// long, and pays for a release build many times over.
pub(crate) fn run(name: &str, arguments: &[String]) -> Result<ExitCode> {
    prerequisites::check()?;
    let help = arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    let profile: &[&str] = if arguments.is_empty() || help { &[] } else { &["--release"] };
    steps::command(cargo(&["build", "--locked", "-p", "countersignd"]).args(profile))?;
    let mut campaign = cargo(&["test", "--locked", "-p", "countersign-tests", "--test", name]);
    steps::command(campaign.args(profile).arg("--").args(arguments))?;
    Ok(ExitCode::SUCCESS)
}
