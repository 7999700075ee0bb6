//! `cargo xtask crash`, `powercut` and `sim`: the campaigns of `tests/`, at any length.

use std::process::ExitCode;

use anyhow::Result;

use crate::{cargo::cargo, prerequisites, steps};

/// Builds the daemon, which `crash` starts, and runs the campaign of that name with `arguments`.
pub(crate) fn run(name: &str, arguments: &[String]) -> Result<ExitCode> {
    prerequisites::check()?;
    steps::command(&mut cargo(&["build", "--locked", "-p", "countersignd"]))?;
    let mut campaign = cargo(&["test", "--locked", "-p", "countersign-tests", "--test", name, "--"]);
    steps::command(campaign.args(arguments))?;
    Ok(ExitCode::SUCCESS)
}
