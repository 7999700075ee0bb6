//! `cargo xtask demo` and `cargo xtask bench`: build what they need, then become the demo.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::{
    cargo::{cargo, target_dir},
    companion, prerequisites, steps,
};

/// Packages whose binaries the demo starts as processes: the broker, the brands, the commands it shows.
const PACKAGES: [&str; 3] = ["countersignd", "countersign-demo", "countersign-cli"];

/// Runs the journey.
pub(crate) fn demo(arguments: &[String]) -> Result<ExitCode> {
    prerequisites::check()?;
    // Before the daemon, which embeds it.
    companion::build_if_possible()?;
    launch("run", &["--bins"], "debug", arguments)
}

/// Runs the measurements.
pub(crate) fn bench(arguments: &[String]) -> Result<ExitCode> {
    prerequisites::check()?;
    // `measure` works inside a store, where the demo, which knows the broker by its API alone, has no place.
    launch("bench", &["--release", "--bins", "--example", "measure"], "release", arguments)
}

fn launch(verb: &str, flags: &[&str], profile: &str, arguments: &[String]) -> Result<ExitCode> {
    eprintln!("  building {} (the first time takes some minutes)", PACKAGES.join(", "));
    let mut build = cargo(&["build", "--locked"]);
    build.args(flags).args(PACKAGES.iter().flat_map(|package| ["-p", package]));
    steps::command(&mut build)?;
    let name = format!("countersign-demo{}", std::env::consts::EXE_SUFFIX);
    let mut program = Command::new(target_dir()?.join(profile).join(name));
    program.arg(verb).args(arguments);
    become_program(&mut program)
}

/// The demo takes this process's place, so that Ctrl-C and the exit code are its own.
#[cfg(unix)]
fn become_program(program: &mut Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    let error = program.exec();
    bail!("{} could not be started: {error}", program.get_program().to_string_lossy())
}

#[cfg(not(unix))]
fn become_program(program: &mut Command) -> Result<ExitCode> {
    match program.status() {
        Ok(status) if status.success() => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::FAILURE),
        Err(error) => bail!("{} could not be started: {error}", program.get_program().to_string_lossy()),
    }
}
