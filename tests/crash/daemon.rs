//! The daemon as its own process: started, killed, watched.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use countersign_client::BrokerTrust;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

/// How long a broker may take until it listens. A rebuild of everything from the journal takes a second or two.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// The ports that are tried: below the range from which systems choose, so that no outgoing connection ever sits on the
/// broker's port while the broker is down.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// The program that is killed.
#[derive(Clone, Debug)]
pub(crate) struct Program(PathBuf);

/// How it is started.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) program: Program,
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
    pub(crate) catalogue: PathBuf,
    /// Where its standard error goes, start after start.
    pub(crate) log: PathBuf,
    /// More keys of its configuration, as environment variables.
    pub(crate) environment: Vec<(String, String)>,
}

/// A broker that listens.
pub(crate) struct Daemon {
    child: Child,
}

/// What came of a start.
pub(crate) enum Started {
    /// It listens, after this long.
    Listening(Daemon, Duration),
    /// It ended before it listened, with this code and these last words.
    Ended { code: Option<i32>, words: String },
}

impl Program {
    /// The one that was built beside this program.
    pub(crate) fn beside_this_one() -> Result<Self> {
        let own = std::env::current_exe().context("where this program is")?;
        // Tests stand in `deps`, programs a folder above.
        let folder = own.parent().and_then(Path::parent).context("a test stands in `deps`")?;
        let path = folder.join(format!("countersignd{}", std::env::consts::EXE_SUFFIX));
        ensure!(
            path.is_file(),
            "{} is not there; build it with `cargo build -p countersignd`",
            path.display()
        );
        Ok(Self(path))
    }

    /// `countersignd init`.
    pub(crate) fn init(&self, data: &Path, origin: &str, port: u16) -> Result<BrokerTrust> {
        let made = Command::new(&self.0)
            .args(["init", "--origin", origin, "--listen", &format!("127.0.0.1:{port}"), "--data"])
            .arg(data)
            .output()
            .context("`countersignd init` can't be started")?;
        let words = String::from_utf8_lossy(&made.stderr);
        ensure!(made.status.success(), "`countersignd init`: {}", words.trim());
        Ok(BrokerTrust::read(&data.join("broker.json"))?)
    }
}

/// A port on which nobody listens. `from` says where to look first.
pub(crate) fn free_port(from: u64) -> Result<u16> {
    let count = u64::from(PORTS.end - PORTS.start);
    for step in 0..count {
        let port = PORTS.start + u16::try_from((from + step) % count)?;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}

impl Setting {
    /// Starts it, and waits until it listens or has ended.
    pub(crate) async fn start(&self) -> Result<Started> {
        let begun = Instant::now();
        let (mut daemon, listening) = self.spawn()?;
        match timeout(STARTS_WITHIN, listening).await {
            Ok(Ok(())) => Ok(Started::Listening(daemon, begun.elapsed())),
            Ok(Err(_)) => {
                let code = daemon.wait()?;
                Ok(Started::Ended { code, words: self.last_words() })
            }
            Err(_) => bail!("the broker neither listens nor ends: {}", self.last_words()),
        }
    }

    /// Starts it and kills it after this long, listening or not.
    pub(crate) async fn start_and_kill(&self, after: Duration) -> Result<()> {
        let (mut daemon, _) = self.spawn()?;
        sleep(after).await;
        if let Some(status) = daemon.child.try_wait()? {
            bail!("the broker ended by itself while it started: {status}: {}", self.last_words());
        }
        daemon.kill()
    }

    fn spawn(&self) -> Result<(Daemon, oneshot::Receiver<()>)> {
        let variable = |name: &str| format!("COUNTERSIGN_{name}");
        let mut child = Command::new(&self.program.0)
            .arg("serve")
            .arg("--config")
            .arg(self.data.join("countersign.toml"))
            .env(variable("LISTENERS__0__ADDRESS"), format!("127.0.0.1:{}", self.port))
            .env(variable("LISTENERS__1__ADDRESS"), "127.0.0.1:0")
            .env(variable("CATALOGUE"), &self.catalogue)
            .env(variable("QUOTAS__CUSTOMER"), "100000")
            .env(variable("QUOTAS__NEWCOMERS"), "100000")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&self.log).with_context(|| self.log.display().to_string())?)
            .spawn()
            .context("`countersignd serve` can't be started")?;
        let output = child.stdout.take().context("its output was asked for")?;
        let (sender, listening) = oneshot::channel();
        // Reads to the end, so that the daemon never writes to nobody. Ends with the daemon.
        std::thread::spawn(move || {
            let mut sender = Some(sender);
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.starts_with("listening on ")
                    && let Some(sender) = sender.take()
                {
                    // Whoever waited may have given up.
                    let _ = sender.send(());
                }
            }
        });
        Ok((Daemon { child }, listening))
    }

    /// The end of what it had to say since it was started last.
    pub(crate) fn last_words(&self) -> String {
        const LINES: usize = 8;
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

impl Daemon {
    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().context("SIGKILL")?;
        self.wait().map(drop)
    }

    /// The exit code, if it has ended by itself.
    pub(crate) fn ended(&mut self) -> Result<Option<String>> {
        Ok(self.child.try_wait()?.map(|status| status.to_string()))
    }

    fn wait(&mut self) -> Result<Option<i32>> {
        Ok(self.child.wait().context("the broker can't be waited for")?.code())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
