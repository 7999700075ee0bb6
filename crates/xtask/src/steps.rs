//! Named steps, each with its time, and the table of them at the end.

use std::{
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// What became of a step.
enum Outcome {
    Passed,
    Skipped,
    Failed,
}

/// What a step may report besides failing.
pub(crate) enum Done {
    /// It held.
    Passed,
    /// It could not be tried here; the step has said why.
    Skipped,
}

/// A run of steps. A failed step doesn't keep the later ones from running: one run shows all that is wrong.
pub(crate) struct Steps {
    title: &'static str,
    rows: Vec<(&'static str, Outcome, Duration)>,
}

impl Steps {
    pub(crate) fn new(title: &'static str) -> Self {
        Self { title, rows: Vec::new() }
    }

    /// Runs one step and notes its time; its error is printed at once.
    pub(crate) fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<Done>) {
        eprintln!("\n── {} · {name}", self.title);
        let start = now();
        let outcome = match step() {
            Ok(Done::Passed) => Outcome::Passed,
            Ok(Done::Skipped) => Outcome::Skipped,
            Err(error) => {
                eprintln!("FAILED {name}: {error:#}");
                Outcome::Failed
            }
        };
        let taken = start.elapsed();
        eprintln!("── {} · {name}: {}", self.title, clock(taken));
        self.rows.push((name, outcome, taken));
    }

    pub(crate) fn any_failed(&self) -> bool {
        self.rows.iter().any(|(_, outcome, _)| matches!(outcome, Outcome::Failed))
    }

    /// Prints the table; the code is a failure if any step failed.
    pub(crate) fn finish(self) -> ExitCode {
        let width = self.rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0).max("total".len());
        let total: Duration = self.rows.iter().map(|(.., taken)| *taken).sum();
        eprintln!("\n{}", self.title);
        for (name, outcome, taken) in &self.rows {
            let word = match outcome {
                Outcome::Passed => "ok",
                Outcome::Skipped => "SKIPPED",
                Outcome::Failed => "FAILED",
            };
            eprintln!("  {name:<width$}  {:>8}  {word}", clock(*taken));
        }
        eprintln!("  {:<width$}  {:>8}", "total", clock(total));
        if self.any_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// A step that is one command: its output goes straight to the terminal.
pub(crate) fn command(command: &mut Command) -> Result<Done> {
    let name = shown(command);
    match command.status() {
        Ok(status) if status.success() => Ok(Done::Passed),
        Ok(status) => bail!("`{name}` ended with {status}"),
        Err(error) => bail!("`{name}` could not be started: {error}"),
    }
}

/// A command as a reader knows it: `cargo clippy`, without folders and flags.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let verb = command.get_args().next().unwrap_or_default();
    format!("{} {}", program.to_string_lossy(), verb.to_string_lossy()).trim_end().to_owned()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a step's time is for the reader's eye; nothing is decided by it"
)]
fn now() -> Instant {
    Instant::now()
}

fn clock(time: Duration) -> String {
    let tenths = time.as_millis() / 100;
    format!("{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}
