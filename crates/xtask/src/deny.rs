//! cargo-deny: licences, sources and bans, and the advisories where their database can be had.

use std::{
    env, fs,
    io::Read,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    cargo::{cargo, target_dir},
    steps::{self, Done},
};

/// The cargo-deny that CI runs. Pinned, so that a new check of its own never breaks an old commit.
const VERSION: &str = "0.20.2";

/// How long the advisory database may take to come: it is a clone of a few megabytes, which a slow line brings
/// in 20 s; a host that swallows packets would otherwise hold CI for minutes.
const FETCH_SECONDS: u32 = 60;

/// Sees to it that the pinned cargo-deny can be run: the caller's own if it is that version, else one of our
/// own under the target folder, so that nothing is changed outside the workspace.
pub(crate) fn install() -> Result<Done> {
    if let Some(program) = program()? {
        eprintln!("cargo-deny {VERSION}: {}", program.display());
        return Ok(Done::Passed);
    }
    let tools = tools_dir()?;
    let build = tools.join("build");
    let version = format!("={VERSION}");
    // A debug build checks the same and is built in a third of the time.
    let arguments =
        ["install", "cargo-deny", "--version", &version, "--locked", "--debug", "--force", "--root"];
    let mut command = cargo(&arguments);
    command.arg(&tools).env("CARGO_TARGET_DIR", &build);
    let done = steps::command(&mut command)?;
    fs::remove_dir_all(&build).with_context(|| format!("removing {}", build.display()))?;
    Ok(done)
}

/// Bans, licences and sources of everything that is linked.
pub(crate) fn licences() -> Result<Done> {
    steps::command(deny()?.args(["check", "bans", "licenses", "sources"]))
}

/// Known advisories; skipped, and said so, where the database can't be had.
pub(crate) fn advisories() -> Result<Done> {
    if let Err(reason) = fetch_database()? {
        println!("SKIP advisories: the database can't be had here: {reason}");
        return Ok(Done::Skipped);
    }
    steps::command(deny()?.args(["check", "--disable-fetch", "advisories"]))
}

/// The inner error is why the database did not come.
fn fetch_database() -> Result<Result<(), String>> {
    let mut fetch = deny()?;
    fetch.args(["fetch", "db"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = fetch.spawn().context("starting cargo-deny")?;
    for _ in 0..FETCH_SECONDS * 10 {
        if let Some(status) = child.try_wait().context("waiting for cargo-deny")? {
            if status.success() {
                return Ok(Ok(()));
            }
            let mut text = String::new();
            // At most a few lines, which the pipe held: cargo-deny has ended.
            child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut text)).transpose().ok();
            let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            return Ok(Err(lines.last().unwrap_or(&"cargo-deny gave no reason").to_string()));
        }
        thread::sleep(Duration::from_millis(100));
    }
    child.kill().context("ending cargo-deny")?;
    child.wait().context("waiting for cargo-deny")?;
    Ok(Err(format!("no answer within {FETCH_SECONDS} s")))
}

fn deny() -> Result<Command> {
    let program = program()?.context("cargo-deny is not installed")?;
    let mut command = Command::new(program);
    // As cargo would call it: the subcommand's name comes first.
    command.arg("deny").arg("--all-features").arg("--locked").current_dir(xtask::workspace_root());
    if let Some(cargo) = env::var_os("CARGO") {
        command.env("CARGO", cargo);
    }
    Ok(command)
}

/// The cargo-deny to run, if one of the pinned version is there.
fn program() -> Result<Option<PathBuf>> {
    let ours = tools_dir()?.join("bin").join(format!("cargo-deny{}", env::consts::EXE_SUFFIX));
    Ok([PathBuf::from("cargo-deny"), ours].into_iter().find(|program| {
        let output = Command::new(program).args(["deny", "--version"]).output();
        output.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).trim().ends_with(&format!(" {VERSION}"))
        })
    }))
}

fn tools_dir() -> Result<PathBuf> {
    Ok(target_dir()?.join("tools"))
}
