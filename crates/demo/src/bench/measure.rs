//! The program beside this one that works inside a store: the demo itself knows the broker by its API alone.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use tokio::process::Command;

/// Runs it, and reads what it found. What it says meanwhile goes to this program's standard error.
pub(super) async fn run<T: DeserializeOwned>(arguments: &[String]) -> Result<T> {
    let this = std::env::current_exe().context("where this program is")?;
    let folder = this.parent().context("a program stands in a folder")?;
    let program = folder.join(format!("examples/measure{}", std::env::consts::EXE_SUFFIX));
    let mut command = Command::new(&program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = command.output().await;
    let output = output
        .with_context(|| format!("{} can't be started: `cargo xtask bench` builds it", program.display()))?;
    ensure!(output.status.success(), "`measure {}` ended with {}", arguments.join(" "), output.status);
    serde_json::from_slice(&output.stdout).context("what `measure` found")
}
