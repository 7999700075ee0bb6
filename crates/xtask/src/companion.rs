//! `cargo xtask companion`: the customer's web app, from its sources to the files that the daemon embeds; and its tests.
//!
//! Its tools come from npm, by a lock file, and are run from there; nothing is installed outside the app's folder.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

use crate::{
    cargo::{cargo, target_dir},
    steps::{self, Done},
};

/// The oldest Node that the app's tools run on: package.json's `engines`, in which 21 and the first of 22 are left out.
const NODE: (u32, u32) = (20, 19);

/// How to get it.
const NODE_HINT: &str = "Debian, Ubuntu:  sudo apt-get install nodejs npm   (if that is older: https://nodejs.org)\n  \
                         macOS:           brew install node";

/// What a Chromium may be called.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// Builds the app, and says how large it is and which.
pub(crate) fn run() -> Result<ExitCode> {
    build()?;
    println!("What is built with cargo from now on has the app in it.");
    Ok(ExitCode::SUCCESS)
}

/// Installs what the lock file names, and builds.
pub(crate) fn build() -> Result<Done> {
    install()?;
    steps::command(npm().args(["run", "build"]))
}

/// For the demo: where there is no Node, its story goes on without the app.
pub(crate) fn build_if_possible() -> Result<()> {
    if let Some(missing) = missing() {
        eprintln!("  the companion is not built, and the demo goes on without it: {missing}");
        return Ok(());
    }
    build().map(drop)
}

/// Types and unit tests.
pub(crate) fn unit_tests() -> Result<Done> {
    install()?;
    steps::command(npm().arg("test"))
}

/// The app in a real browser, against a real broker and the demo's brands.
pub(crate) fn end_to_end() -> Result<Done> {
    let browser = browser()?;
    steps::command(&mut cargo(&[
        "build",
        "--locked",
        "--bins",
        "-p",
        "countersignd",
        "-p",
        "countersign-demo",
        "-p",
        "countersign-cli",
    ]))?;
    let demo = target_dir()?.join("debug").join(format!("countersign-demo{}", env::consts::EXE_SUFFIX));
    steps::command(npm().args(["run", "e2e"]).env("HALL", demo).env("CHROMIUM", browser))
}

/// Draws every screen, for people to look at.
pub(crate) fn screenshots() -> Result<ExitCode> {
    install()?;
    steps::command(npm().args(["run", "screenshots"]).env("CHROMIUM", browser()?))?;
    Ok(ExitCode::SUCCESS)
}

/// The app's own `buf`, once it is installed.
pub(crate) fn buf() -> Result<Command> {
    install()?;
    let mut buf = Command::new(folder().join("node_modules/.bin/buf"));
    buf.current_dir(xtask::workspace_root());
    Ok(buf)
}

/// What is missing to build the app, with the command that installs it.
pub(crate) fn missing() -> Option<String> {
    let output = Command::new("node").arg("--version").output();
    let found = output.ok().filter(|output| output.status.success());
    let text = found.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let (major, minor) = NODE;
    let needed = format!("Node {major}.{minor} or newer, with npm");
    let Some(text) = text else {
        return Some(format!("{needed}; `node` doesn't run:\n  {NODE_HINT}"));
    };
    if !is_enough(&text) {
        return Some(format!("{needed}; this is {text}:\n  {NODE_HINT}"));
    }
    let npm = Command::new("npm").arg("--version").output();
    let runs = npm.is_ok_and(|output| output.status.success());
    (!runs).then(|| format!("{needed}; `npm` doesn't run:\n  {NODE_HINT}"))
}

/// `v20.19.4` and newer, but for what lies between the supported lines.
fn is_enough(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(20), Some(minor)) => minor >= NODE.1,
        (Some(22), Some(minor)) => minor >= 12,
        (Some(major), Some(_)) => major > 22,
        _ => false,
    }
}

/// `npm ci`, unless what the lock file names stands there already.
fn install() -> Result<()> {
    if let Some(missing) = missing() {
        bail!("something must be installed first\n\n{missing}");
    }
    let (lock, installed) =
        (folder().join("package-lock.json"), folder().join("node_modules/.installed-lock"));
    let wanted = fs::read(&lock).with_context(|| lock.display().to_string())?;
    if fs::read(&installed).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    steps::command(npm().arg("ci"))?;
    fs::write(&installed, wanted).with_context(|| installed.display().to_string())
}

/// A browser: the one that `CHROMIUM` names, or the first on the path. Where there is none and this is a Debian's root, as in
/// CI, it is installed.
fn browser() -> Result<PathBuf> {
    if let Some(named) = env::var_os("CHROMIUM") {
        return Ok(PathBuf::from(named));
    }
    if let Some(found) = on_path() {
        return Ok(found);
    }
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if is_root && Command::new("apt-get").arg("--version").output().is_ok() {
        eprintln!("  installing chromium");
        steps::command(Command::new("apt-get").arg("update"))?;
        steps::command(
            Command::new("apt-get")
                .args(["install", "-y", "chromium"])
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )?;
        if let Some(found) = on_path() {
            return Ok(found);
        }
    }
    bail!(
        "a Chromium, for the tests in a browser; name it in CHROMIUM, or:\n  Debian:  sudo apt-get install chromium\n  \
         Fedora:  sudo dnf install chromium\n  macOS:   brew install --cask chromium"
    )
}

fn on_path() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    BROWSERS
        .iter()
        .find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file()))
}

fn npm() -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(folder());
    npm
}

fn folder() -> PathBuf {
    xtask::workspace_root().join("crates/companion/app")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_node_that_the_tools_run_on() {
        let check = |text, expected| assert_eq!(is_enough(text), expected, "{text}");
        check("v20.19.0", true);
        check("v20.18.3", false);
        check("v21.7.0", false);
        check("v22.11.0", false);
        check("v22.12.0", true);
        check("v24.0.1", true);
        check("v18.20.0", false);
        check("", false);
    }
}
