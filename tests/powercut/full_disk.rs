//! A real daemon whose disk gets full.
//!
//! No disk is filled: the daemon's files may not grow beyond a size (`RLIMIT_FSIZE`, set from outside while it runs),
//! so its writes fail as on a full disk, with `EFBIG` for `ENOSPC`: those of the journal, on which a commit waits, or those of
//! the index behind it, on which nobody does.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use countersign_broker::private::Kek;
use countersign_client::{BrokerTrust, Error, System, keyfile, operator::Operator};
use countersign_grants::id::{OperatorName, PartnerName};
use data_encoding::BASE64URL_NOPAD;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use crate::worldcheck::{self, Keys};

/// Ends a test that hangs; nothing is asserted about time.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the journal may still grow by: a handful of records.
const ROOM_BYTES: u64 = 8 << 10;

/// How long the index may get at least: by then no other file is as long.
const INDEX_BYTES: u64 = 512 << 10;

/// What the journal's segments and snapshots are kept below, so that the index alone is too long.
const SHORT: [(&str, &str); 3] = [
    ("COUNTERSIGN_JOURNAL__SEGMENT_BYTES", "65536"),
    ("COUNTERSIGN_JOURNAL__SNAPSHOT_BYTES", "131072"),
    ("COUNTERSIGN_QUOTAS__OPERATOR", "100000"),
];

/// What can't grow any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    Journal,
    Index,
}

impl Full {
    /// Far more records than there is room for.
    fn most(self) -> usize {
        match self {
            Self::Journal => 100,
            Self::Index => 20_000,
        }
    }

    /// The longest file of it.
    fn longest(self, house: &House) -> Result<u64> {
        let folder = match self {
            Self::Journal => house.data.join("store/journal"),
            Self::Index => house.data.join("store/sled/1"),
        };
        let mut longest = 0;
        for entry in fs::read_dir(folder)? {
            longest = longest.max(entry?.metadata()?.len());
        }
        Ok(longest)
    }

    fn limit(self, house: &House) -> Result<u64> {
        let longest = self.longest(house)?;
        Ok(match self {
            Self::Journal => longest + ROOM_BYTES,
            Self::Index => longest.max(INDEX_BYTES),
        })
    }
}

/// The exit code of a broker that can be started again.
const FAILED: i32 = 1;

/// A daemon that is killed when it is dropped.
struct Daemon(Child);

struct House {
    data: PathBuf,
    program: PathBuf,
    ports: [u16; 2],
    words: PathBuf,
    full: Full,
}

/// Runs daemons into full disks and starts them again.
pub(crate) async fn run(folder: &Path) -> Result<()> {
    for full in [Full::Journal, Full::Index] {
        let folder = folder.join(format!("{full:?}"));
        fs::create_dir(&folder)?;
        fill(full, &folder).await.with_context(|| format!("{full:?}"))?;
    }
    Ok(())
}

async fn fill(full: Full, folder: &Path) -> Result<()> {
    let house = House::found(folder, full)?;
    let trust = BrokerTrust::read(&house.data.join("broker.json"))?;
    let daemon = house.start()?;
    let key = keyfile::read(&house.data.join("keys/operator.key"))?;
    let root = || OperatorName::parse("operators/root").context("a constant");
    let operator = Operator::open(&trust, root()?, &key, System::real())?;
    let mut entered = Vec::new();
    for number in 0..5 {
        enter(&operator, number, &mut entered).await?;
    }

    daemon.may_write(Some(full.limit(&house)?))?;
    let refused = loop {
        ensure!(entered.len() < full.most(), "a disk that is full takes everything");
        let number = entered.len();
        match enter(&operator, number, &mut entered).await {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    // What failed behind the commits may have ended the daemon between two of them.
    let gone = full == Full::Index && matches!(refused, Error::Unreachable { .. });
    let told = refused.reason() == Some("LOG_UNAVAILABLE") || gone;
    ensure!(told, "the operator is told something else: {refused}");
    // From here on it never says again that it serves, until its ports are closed.
    let mut health = None;
    while let Some(said) = house.health() {
        ensure!(!said.contains("\r\n\r\nserving"), "it says that it serves: {said}");
        health = Some(said);
    }
    if let Some(said) = health {
        ensure!(said.contains("not serving: "), "it doesn't say why it doesn't serve: {said}");
    }
    let code = daemon.ended().await?;
    let words = fs::read_to_string(&house.words)?;
    ensure!(code == Some(FAILED), "it ended with {code:?}: {words}");
    ensure!(words.contains("File too large"), "it doesn't say why: {words}");
    ensure!(full == Full::Journal || words.contains("the index"), "it doesn't say what failed: {words}");

    // With room again, everything that was acknowledged is there, and it goes on.
    let daemon = house.start()?;
    let operator = Operator::open(&trust, root()?, &key, System::real())?;
    let found: Vec<String> = operator.partners().await?.into_iter().map(|partner| partner.name).collect();
    for name in &entered {
        ensure!(found.contains(name), "{name} was entered and isn't there any more");
    }
    enter(&operator, full.most(), &mut entered).await?;
    daemon.told_to_end()?;
    let code = daemon.ended().await?;
    ensure!(code == Some(0), "it ended with {code:?}");
    let keys = Keys { log: trust.log_key.clone(), broker: Some(house.wrapping_key()?) };
    worldcheck::disk(&house.data.join("store"), &keys).await?;
    println!("a full disk, {full:?}: {} partners were entered, refused, and found again", entered.len());
    Ok(())
}

async fn enter(operator: &Operator, number: usize, entered: &mut Vec<String>) -> Result<(), Error> {
    let name = PartnerName::of_id(&format!("brand-{number}")).expect("an id");
    let key = keyfile::draw(&System::real());
    let partner = operator.create_partner(&name, ("A brand", ""), key.public()).await?;
    entered.push(partner.name);
    Ok(())
}

impl House {
    fn found(folder: &Path, full: Full) -> Result<House> {
        let own = std::env::current_exe()?;
        let target = own.parent().and_then(Path::parent).context("a test stands in `deps`")?;
        let program = target.join(format!("countersignd{}", std::env::consts::EXE_SUFFIX));
        ensure!(program.is_file(), "build the daemon first: cargo build -p countersignd");
        let (one, other) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        let ports = [one.local_addr()?.port(), other.local_addr()?.port()];
        let house = House { data: folder.join("data"), program, ports, words: folder.join("words"), full };
        let made = Command::new(&house.program)
            .args(["init", "--origin", "broker.test/log", "--listen", &format!("127.0.0.1:{}", ports[0])])
            .arg("--data")
            .arg(&house.data)
            .output()?;
        ensure!(made.status.success(), "init: {}", String::from_utf8_lossy(&made.stderr));
        Ok(house)
    }

    /// Starts the daemon, and returns when it listens. A signal about a file's size would kill it; ignored, the write
    /// fails instead.
    fn start(&self) -> Result<Daemon> {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(&self.program)
            .arg("serve")
            .arg("--config")
            .arg(self.data.join("countersign.toml"))
            .env("COUNTERSIGN_LISTENERS__0__ADDRESS", format!("127.0.0.1:{}", self.ports[0]))
            .env("COUNTERSIGN_LISTENERS__1__ADDRESS", format!("127.0.0.1:{}", self.ports[1]))
            .envs(SHORT.into_iter().filter(|_| self.full == Full::Index))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&self.words)?)
            .spawn()?;
        let output = child.stdout.take().context("its output was asked for")?;
        let daemon = Daemon(child);
        let (listens, listening) = mpsc::channel();
        // Reads to the end, so that the daemon never writes to nobody.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.starts_with("listening on ") {
                    // Whoever waited may have given up.
                    let _ = listens.send(());
                }
            }
        });
        match listening.recv_timeout(PATIENCE) {
            Ok(()) => Ok(daemon),
            Err(_) => bail!("the daemon doesn't listen: {}", fs::read_to_string(&self.words)?),
        }
    }

    /// What the daemon says of itself; nothing once its port is closed.
    fn health(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[1])).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: broker\r\nconnection: close\r\n\r\n").ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).ok()?;
        // A connection that the system took and the daemon didn't says nothing.
        (!said.is_empty()).then_some(said)
    }

    fn wrapping_key(&self) -> Result<Kek> {
        let file = fs::read_to_string(self.data.join("keys/wrapping.key"))?;
        let secret = file.lines().find_map(|line| line.strip_prefix("secret: ")).context("a secret")?;
        let bytes = BASE64URL_NOPAD.decode(secret.as_bytes())?;
        Ok(Kek::new(bytes.as_slice().try_into()?))
    }
}

impl Daemon {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Bounds how long its files may get.
    fn may_write(&self, bytes: Option<u64>) -> Result<()> {
        let maximum = getrlimit(Resource::Fsize).maximum;
        prlimit(Some(self.pid()), Resource::Fsize, Rlimit { current: bytes, maximum })?;
        Ok(())
    }

    fn told_to_end(&self) -> Result<()> {
        Ok(kill_process(self.pid(), Signal::TERM)?)
    }

    /// Waits until it has ended, and gives its exit code.
    async fn ended(mut self) -> Result<Option<i32>> {
        let ended = async {
            loop {
                if let Some(status) = self.0.try_wait()? {
                    return anyhow::Ok(status.code());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.context("it doesn't end")?
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
