//! What must be installed, looked for before anything is built: a linker error after five minutes tells a
//! newcomer nothing, a line with the command to type does.

use std::{env, fs, process::Command};

use anyhow::{Context, Result, bail};

use crate::{cargo::cargo, steps::Done};

/// Checks all prerequisites and names every missing one, each with the command that installs it.
pub(crate) fn check() -> Result<Done> {
    let missing: Vec<String> = [toolchain()?, c_compiler()].into_iter().flatten().collect();
    if missing.is_empty() {
        return Ok(Done::Passed);
    }
    bail!("something must be installed first\n\n{}", missing.join("\n\n"));
}

/// The toolchain states its version; the workspace states the oldest one it is built with.
fn toolchain() -> Result<Option<String>> {
    let needed = rust_version()?;
    let output = cargo(&["--version"]).output().context("running cargo --version")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.split_whitespace().nth(1).unwrap_or_default();
    eprintln!("  cargo {found} (needs {needed} or newer)");
    let enough = matches!((version(found), version(&needed)), (Some(found), Some(needed)) if found >= needed);
    Ok((!enough).then(|| {
        format!(
            "Rust {needed} or newer; this is {found}:\n  with rustup:  rustup update stable\n  \
             without:      curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
        )
    }))
}

/// The TLS library's arithmetic is C and assembly; it needs a C compiler, but neither cmake nor perl nor Go.
fn c_compiler() -> Option<String> {
    let name = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    // CC may carry arguments, as in `ccache gcc`.
    let mut words = name.split_whitespace();
    let program = words.next().unwrap_or("cc");
    let found = Command::new(program).args(words).arg("--version").output();
    match found {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            eprintln!("  {name}: {}", text.lines().next().unwrap_or_default());
            None
        }
        _ => Some(format!(
            "a C compiler; `{name}` doesn't run:\n  Debian, Ubuntu:  sudo apt-get install build-essential\n  \
             Fedora:          sudo dnf install gcc\n  macOS:           xcode-select --install"
        )),
    }
}

fn rust_version() -> Result<String> {
    let manifest =
        fs::read_to_string(xtask::workspace_root().join("Cargo.toml")).context("reading Cargo.toml")?;
    manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .map(|value| value.trim_matches('"').to_owned())
        .context("Cargo.toml states no rust-version")
}

/// The first two numbers of a version, which is all that a `rust-version` states.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let check = |text, expected| assert_eq!(version(text), expected, "{text}");
        check("1.90", Some((1, 90)));
        check("1.100.3-nightly", Some((1, 100)));
        check("1.92-nightly", Some((1, 92)));
        check("", None);
        check("new", None);
    }

    #[test]
    fn the_workspace_states_its_version() {
        assert!(version(&rust_version().unwrap()).is_some());
    }
}
