//! What stands in the middle: the broker or the relay, as the recipient's end reaches it and as the kernel tells of it.

use std::{process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use countersign_client::{BrokerTrust, Connection, System, grants::id::Principal};
use data_encoding::BASE64URL_NOPAD;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Mutex,
    time::timeout,
};

use super::{made::Maker, relay::Papers};
use crate::{
    bench::machine::{processor_time, resident},
    stage::Stage,
};

/// How long the relay may take to answer a line.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A middle that is measured.
pub(in crate::bench) struct Middle {
    pub(in crate::bench) connection: Connection,
    pid: u32,
    /// Ends the relay when it goes.
    _relay: Option<Relay>,
}

impl Middle {
    /// The broker.
    pub(in crate::bench) fn broker(stage: &Stage, maker: &Maker) -> Result<Self> {
        let pid = stage.broker.pid().context("the broker has ended")?;
        Ok(Self { connection: connect(&stage.trust, maker)?, pid, _relay: None })
    }

    /// The relay.
    pub(super) fn relay(stage: &Stage, maker: &Maker, relay: Relay) -> Result<Self> {
        let trust = BrokerTrust { address: relay.address.clone(), ..stage.trust.clone() };
        Ok(Self { connection: connect(&trust, maker)?, pid: relay.pid, _relay: Some(relay) })
    }

    pub(super) fn processor_time(&self) -> Result<Duration> {
        processor_time(self.pid)
    }

    pub(super) fn resident_kib(&self) -> Result<u64> {
        Ok(resident(self.pid)?.now_kib)
    }
}

/// The recipient's connection, with its token on each call.
fn connect(trust: &BrokerTrust, maker: &Maker) -> Result<Connection> {
    let principal = Principal::Partner(maker.recipient.clone());
    Ok(Connection::open(trust, principal, &maker.recipient_key, System::real().clock)?)
}

/// The relay's process.
pub(super) struct Relay {
    pub(super) address: String,
    pub(super) pid: u32,
    _child: Child,
    lines: Arc<Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>>,
}

impl Relay {
    /// Starts it with what it is to send.
    pub(super) async fn start(stage: &Stage, papers: &Papers, maker: &Maker) -> Result<Self> {
        let path = stage.folder.path().join("papers");
        std::fs::write(&path, papers.encode())?;
        let public = |key: &countersign_client::grants::key::SigningKey| {
            BASE64URL_NOPAD.encode(key.public().as_bytes())
        };
        let mut child = Command::new(&stage.binaries.demo)
            .arg("relay")
            .arg("--papers")
            .arg(&path)
            .arg("--broker")
            .arg(stage.folder.broker_file())
            .arg("--call-key")
            .arg(stage.folder.call_key())
            .arg(format!("--source={}", maker.source))
            // A key's text may begin with a dash.
            .arg(format!("--recipient-key={}", public(&maker.recipient_key)))
            .arg(format!("--source-key={}", public(&maker.source_key)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the relay can't be started")?;
        let pid = child.id().context("the relay has ended")?;
        let input = child.stdin.take().context("its input was asked for")?;
        let mut output = BufReader::new(child.stdout.take().context("its output was asked for")?).lines();
        let first = timeout(ANSWERS_WITHIN, output.next_line()).await.context("the relay says nothing")??;
        let address = first.context("the relay has ended")?;
        Ok(Self { address, pid, _child: child, lines: Arc::new(Mutex::new((input, output))) })
    }

    /// Has it forward to this source from now on.
    pub(super) async fn forward_to(&self, source: &str) -> Result<()> {
        let mut lines = self.lines.lock().await;
        lines.0.write_all(format!("{source}\n").as_bytes()).await?;
        lines.0.flush().await?;
        let answer = timeout(ANSWERS_WITHIN, lines.1.next_line()).await.context("the relay hangs")??;
        if answer.as_deref() != Some("forwarding") {
            bail!("the relay does not forward: {answer:?}");
        }
        Ok(())
    }
}
