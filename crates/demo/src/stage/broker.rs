//! The broker as its own process.

use std::{fs::File, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{Binaries, Folder};

/// How long a broker may take until it listens: it opens its store and its log, and makes the index of millions of rows anew
/// if it is gone.
const STARTS_WITHIN: Duration = Duration::from_secs(300);

/// How long after the API's address the others' may take to be said.
const NAMED_WITHIN: Duration = Duration::from_secs(1);

/// How long a broker may take to finish what is in flight.
const STOPS_WITHIN: Duration = Duration::from_secs(120);

/// `countersignd serve`.
pub(crate) struct Broker {
    child: Child,
    address: String,
    admin: Option<String>,
    environment: Vec<(String, String)>,
    /// Held open: a process whose output nobody takes would end on its next line.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Broker {
    /// Makes a data folder, and serves it on a port that the system chooses.
    pub(crate) async fn start(
        binaries: &Binaries,
        folder: &Folder,
        origin: &str,
        environment: Vec<(String, String)>,
    ) -> Result<Self> {
        let data = folder.data();
        let made = Command::new(&binaries.countersignd)
            .args(["init", "--origin", origin, "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .output()
            .await
            .context("`countersignd init` can't be started")?;
        ensure!(
            made.status.success(),
            "`countersignd init`: {}",
            String::from_utf8_lossy(&made.stderr).trim()
        );

        Self::serve(binaries, folder, environment).await
    }

    /// Serves the folder of a broker that was stopped, with the same settings.
    pub(crate) async fn start_again(&mut self, binaries: &Binaries, folder: &Folder) -> Result<()> {
        *self = Self::serve(binaries, folder, std::mem::take(&mut self.environment)).await?;
        Ok(())
    }

    async fn serve(binaries: &Binaries, folder: &Folder, environment: Vec<(String, String)>) -> Result<Self> {
        let mut child = Command::new(&binaries.countersignd)
            .arg("serve")
            .arg("--config")
            .arg(folder.data().join("countersign.toml"))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.log_of("broker"))?)
            // A group of its own: Ctrl-C is for the director, which ends its children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("`countersignd serve` can't be started")?;
        let output = child.stdout.take().context("its output was asked for")?;
        let mut output = BufReader::new(output).lines();
        let listening = timeout(STARTS_WITHIN, named(&mut output, "api")).await;
        match listening {
            Ok(Ok(Some(address))) => {
                // All listeners are named in one breath.
                let admin = timeout(NAMED_WITHIN, named(&mut output, "admin")).await;
                let admin = admin.unwrap_or(Ok(None))?;
                Ok(Self { child, address, admin, environment, _output: output })
            }
            Ok(Ok(None)) => bail!("the broker ended: {}", folder.last_words("broker")),
            Ok(Err(error)) => Err(error).context("the broker's output"),
            Err(_) => bail!("the broker does not listen: {}", folder.last_words("broker")),
        }
    }

    /// Where the API and the log are served.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Where metrics are served, if anywhere.
    pub(crate) fn admin(&self) -> Option<&str> {
        self.admin.as_deref()
    }

    /// The process, for its memory and its time.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks it to end, as a supervisor would (SIGTERM), and waits: its exit code.
    pub(crate) async fn stop(&mut self) -> Result<Option<i32>> {
        terminate(&self.child)?;
        let status = timeout(STOPS_WITHIN, self.child.wait()).await;
        Ok(status.context("the broker does not end when it is told to")??.code())
    }
}

async fn named(output: &mut Lines<BufReader<ChildStdout>>, surface: &str) -> std::io::Result<Option<String>> {
    while let Some(line) = output.next_line().await? {
        if let Some(address) = address_in(&line, surface) {
            return Ok(Some(address.to_owned()));
        }
    }
    Ok(None)
}

/// The address of the listener that serves a surface, from a line such as
/// `listening on http://127.0.0.1:7443 (api, log)`.
fn address_in<'a>(line: &'a str, surface: &str) -> Option<&'a str> {
    let (address, surfaces) = line.strip_prefix("listening on ")?.split_once(' ')?;
    let surfaces = surfaces.trim_matches(['(', ')']);
    surfaces.split(", ").any(|one| one == surface).then_some(address)
}

fn terminate(child: &Child) -> Result<()> {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    kill_process(id.context("the process has ended already")?, Signal::TERM).context("SIGTERM")
}

/// Runs a program to its end: exit code, output, errors.
pub(crate) async fn output_of(program: &Path, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let mut command = Command::new(program);
    let output = command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("{} can't be started", program.display()))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code(), text(output.stdout), text(output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_found_among_the_listeners() {
        let check = |line, expected| assert_eq!(address_in(line, "api"), expected, "{line}");
        check("listening on http://127.0.0.1:7443 (api, log)", Some("http://127.0.0.1:7443"));
        check("listening on http://127.0.0.1:7444 (admin)", None);
        check("made /tmp/data", None);
        let line = "listening on http://127.0.0.1:7444 (admin)";
        assert_eq!(address_in(line, "admin"), Some("http://127.0.0.1:7444"));
    }
}
