//! A brand's process, as the director speaks to it.

use std::{
    collections::HashMap,
    fs::File,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command as Program},
    sync::{mpsc::UnboundedSender, oneshot},
    time::timeout,
};

use super::{Binaries, Folder};
use crate::{
    control::{Answer, Asked, Command, Event, Line, Ready, decode, encode},
    journey::Brand,
};

/// How long a brand may take to say who it is.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// How long one command may take: the SDK's own deadlines are shorter.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// How long a brand may take to end once its input has.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>;

/// One brand's process.
pub(crate) struct BrandProcess {
    brand: Brand,
    child: Child,
    endpoint: String,
    input: tokio::sync::Mutex<ChildStdin>,
    next: AtomicU64,
    waiting: Waiting,
}

/// A command was refused: the API's reason.
#[derive(Debug, thiserror::Error)]
#[error("{brand} was refused: {reason}: {message}")]
struct Refusal {
    brand: Brand,
    reason: String,
    message: String,
}

/// The API's reason, if a command failed because the broker or the source said no.
pub(crate) fn refusal(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Refusal>().map(|refusal| refusal.reason.as_str())
}

impl BrandProcess {
    /// Starts it, and waits until it says who it is.
    pub(crate) async fn start(
        binaries: &Binaries,
        folder: &Folder,
        brand: Brand,
        events: UnboundedSender<(Brand, Event)>,
    ) -> Result<(Self, Ready)> {
        let own = folder.brand(brand);
        std::fs::create_dir_all(&own)?;
        Self::start_in(binaries, folder, brand, (&own, &[]), events).await
    }

    /// The same in a folder of one's own, with flags.
    pub(crate) async fn start_in(
        binaries: &Binaries,
        folder: &Folder,
        brand: Brand,
        (own, flags): (&Path, &[&str]),
        events: UnboundedSender<(Brand, Event)>,
    ) -> Result<(Self, Ready)> {
        let mut child = Program::new(&binaries.demo)
            .args(["brand", "--name", brand.id(), "--folder"])
            .arg(own)
            .arg("--broker")
            .arg(folder.broker_file())
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.log_of(brand.id()))?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{brand} can't be started"))?;
        let input = child.stdin.take().context("its input was asked for")?;
        let output = child.stdout.take().context("its output was asked for")?;
        let mut output = BufReader::new(output).lines();
        let first = timeout(STARTS_WITHIN, output.next_line()).await;
        let first = first.with_context(|| format!("{brand} says nothing"))??;
        let Some(Ok(Line::Ready(ready))) = first.as_deref().map(decode::<Line>) else {
            bail!("{brand} does not say who it is: {}", folder.last_words(brand.id()));
        };
        let waiting = Waiting::default();
        tokio::spawn(listen(brand, output, Arc::clone(&waiting), events));
        let (input, endpoint) = (tokio::sync::Mutex::new(input), ready.endpoint.clone());
        Ok((Self { brand, child, endpoint, input, next: AtomicU64::new(1), waiting }, ready))
    }

    /// Gives a command and waits for its answer; a refusal or a failure is an error.
    pub(crate) async fn ask(&self, command: Command) -> Result<Answer> {
        self.ask_within(command, ANSWERS_WITHIN).await
    }

    /// The same with a time of one's own.
    pub(crate) async fn ask_within(&self, command: Command, within: Duration) -> Result<Answer> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().insert(id, sender);
        let line = encode(&Asked { id, command });
        {
            let mut input = self.input.lock().await;
            let sent = input.write_all(line.as_bytes()).await;
            sent.with_context(|| format!("{} has ended", self.brand))?;
            input.flush().await?;
        }
        let answer = timeout(within, answer).await;
        let answer =
            answer.with_context(|| format!("{} does not answer `{}`", self.brand, line.trim_end()))?;
        match answer.with_context(|| format!("{} has ended", self.brand))? {
            Answer::Refused { reason, message } => Err(Refusal { brand: self.brand, reason, message }.into()),
            Answer::Failed { error } => bail!("{}: {error}", self.brand),
            answer => Ok(answer),
        }
    }

    /// Where it serves as a source.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The process, for its memory and its time.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Hangs up, on which a brand ends.
    pub(crate) async fn stop(mut self) -> Result<()> {
        drop(self.input);
        let ended = timeout(STOPS_WITHIN, self.child.wait()).await;
        let status = ended.with_context(|| format!("{} does not end", self.brand))??;
        if !status.success() {
            bail!("{} ended with {status}", self.brand);
        }
        Ok(())
    }
}

/// Answers go to whoever asked; events to the director.
async fn listen(
    brand: Brand,
    mut output: Lines<BufReader<ChildStdout>>,
    waiting: Waiting,
    events: UnboundedSender<(Brand, Event)>,
) {
    while let Ok(Some(line)) = output.next_line().await {
        match decode::<Line>(&line) {
            Ok(Line::Answer { id, answer }) => {
                if let Some(sender) = waiting.lock().remove(&id) {
                    // Whoever asked may have given up.
                    let _ = sender.send(answer);
                }
            }
            Ok(Line::Event(event)) => {
                let _ = events.send((brand, event));
            }
            Ok(Line::Ready(_)) | Err(_) => {
                let what = format!("it says what makes no sense here: {line}");
                let _ = events.send((brand, Event::Trouble { what }));
            }
        }
    }
    // Whoever still waits hears that the brand has ended.
    waiting.lock().clear();
}
