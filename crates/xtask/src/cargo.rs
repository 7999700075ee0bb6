//! Calls of cargo, always of the one that runs us, always from the workspace's root.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

/// A cargo command in the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    // Cargo sets CARGO for what it runs, so a `+toolchain` chosen by the caller holds for us too.
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(xtask::workspace_root());
    command
}

/// Where cargo puts what it builds: `target`, unless environment or configuration say otherwise.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("running cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    let folder = metadata["target_directory"].as_str().context("cargo metadata names no target_directory")?;
    Ok(PathBuf::from(folder))
}
