//! `cargo xtask ci`: all that must hold before a change goes in, each step with its time.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{
    buf,
    cargo::cargo,
    deny, prerequisites,
    steps::{self, Done, Steps},
};

/// Runs every check, the quick ones first; the tests run as the command that the README names.
pub(crate) fn run() -> ExitCode {
    let mut steps = Steps::new("ci");
    steps.run("prerequisites", prerequisites::check);
    if steps.any_failed() {
        return steps.finish();
    }
    steps.run("format", || steps::command(&mut cargo(&["fmt", "--all", "--check"])));
    steps.run("protos", protos);
    steps.run("buf lint", buf::lint);
    steps.run("buf breaking", buf::breaking);
    steps.run("lints", || {
        let lints = ["--all-targets", "--all-features", "--", "-D", "warnings"];
        steps::command(cargo(&["clippy", "--workspace", "--locked"]).args(lints))
    });
    steps.run("docs", || {
        let mut docs = cargo(&["doc", "--workspace", "--locked", "--no-deps", "--all-features"]);
        steps::command(docs.env("RUSTDOCFLAGS", "-D warnings"))
    });
    steps.run("cargo-deny", deny::install);
    steps.run("licences", deny::licences);
    steps.run("advisories", deny::advisories);
    steps.run("cargo xtask test", || steps::command(&mut cargo(&["xtask", "test"])));
    steps.finish()
}

fn protos() -> Result<Done> {
    let findings = xtask::lint::lint(&xtask::workspace_root().join("proto"))?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    if findings.is_empty() { Ok(Done::Passed) } else { bail!("{} findings in the protos", findings.len()) }
}
