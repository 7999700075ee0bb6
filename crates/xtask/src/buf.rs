//! `buf lint`, and `buf breaking` against the main branch: nothing of the API is removed, renamed or retyped.

use std::process::Command;

use anyhow::{Context, Result};

use crate::{
    companion,
    steps::{self, Done},
};

/// The branch that the protos are held against.
const BASE: &str = "main";

/// Style and comments, by `proto/buf.yaml`.
pub(crate) fn lint() -> Result<Done> {
    steps::command(companion::buf()?.args(["lint", "proto"]))
}

/// Whether somebody who was built from the base would still be understood.
pub(crate) fn breaking() -> Result<Done> {
    let Some(base) = base() else {
        println!("SKIP buf breaking: there is no branch `{BASE}` here to compare with");
        return Ok(Done::Skipped);
    };
    // What was broken in the base itself is not this change's fault, and can't be compared with.
    let readable =
        companion::buf()?.args(["build", &base, "-o", "/dev/null"]).output().context("running buf")?;
    if !readable.status.success() {
        let why = String::from_utf8_lossy(&readable.stderr);
        println!("SKIP buf breaking: the protos of `{BASE}` can't be read by buf: {}", why.trim());
        return Ok(Done::Skipped);
    }
    steps::command(companion::buf()?.args(["breaking", "proto", "--against", &base]))
}

/// The base's protos as buf names them: in the repository that this work tree, which may be one of several, belongs to.
fn base() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).current_dir(xtask::workspace_root()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    git(&["rev-parse", "--verify", "--quiet", &format!("refs/heads/{BASE}")])?;
    let repository = git(&["rev-parse", "--path-format=absolute", "--git-common-dir"])?;
    if repository.is_empty() {
        return None;
    }
    Some(format!("{repository}#branch={BASE},subdir=proto"))
}
