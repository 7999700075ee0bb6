//! `cargo xtask test`: every test of the workspace.

use std::process::ExitCode;

use crate::{cargo::cargo, companion, prerequisites, steps, steps::Steps};

/// Looks at what must be installed, then builds and runs all tests, each step with its time.
pub(crate) fn run() -> ExitCode {
    let mut steps = Steps::new("test");
    steps.run("prerequisites", prerequisites::check);
    if steps.any_failed() {
        return steps.finish();
    }
    // First, since the daemon embeds it.
    steps.run("the companion: build", companion::build);
    steps.run("the companion: unit tests", companion::unit_tests);
    // Building apart from running, so that the table tells the two times. The daemon is no test's own program, so nothing
    // else builds it, and one test kills it.
    steps
        .run("build the daemon", || steps::command(&mut cargo(&["build", "--locked", "-p", "countersignd"])));
    steps.run("build", || steps::command(&mut cargo(&["test", "--workspace", "--locked", "--no-run"])));
    if steps.any_failed() {
        return steps.finish();
    }
    steps.run("tests", || {
        let kinds = ["--lib", "--bins", "--examples", "--tests", "--no-fail-fast"];
        steps::command(cargo(&["test", "--workspace", "--locked"]).args(kinds))
    });
    steps.run("doc tests", || {
        steps::command(&mut cargo(&["test", "--workspace", "--locked", "--doc", "--no-fail-fast"]))
    });
    steps.run("the companion: in a browser", companion::end_to_end);
    steps.finish()
}
