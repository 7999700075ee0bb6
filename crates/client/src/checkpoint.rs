//! The log's heads, as one side has seen them: every one signed by the log, and every one proven to continue the others.
//!
//! A party meets checkpoints in the statements of other parties and in receipts. Each is verified at once; that it is
//! consistent with one's own is proven in the background. A log that shows two faces is found wherever two partners
//! meet: then the SDK halts and keeps both heads.

mod heads;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use countersign_proto::v1::{GetCheckpointRequest, GetConsistencyProofRequest};
use countersign_tlog::{
    Hash, SignedCheckpoint, VerifierKey,
    proof::{MAX_CONSISTENCY_HASHES, verify_consistency},
};
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::heads::Heads;
use crate::{
    book::BookError,
    channel::{Connection, call},
    error::{Error, LogForked, Party},
    system::System,
};

/// How old one's newest published checkpoint gets before a newer one is asked for. The log publishes one a second.
pub const REFRESH_AFTER: Duration = Duration::from_secs(1);

/// How old it gets before a signature waits for a newer one.
const WAIT_AFTER: Duration = Duration::from_secs(60);

/// How long a checkpoint may stay unproven while the broker answers other calls.
pub const PROVE_WITHIN: Duration = Duration::from_secs(60);

/// The pause between two rounds of proofs.
const ROUND: Duration = Duration::from_secs(1);

/// How many proofs are asked for at once.
const PROOFS_AT_ONCE: usize = 16;

/// How far the index of an event may lie beyond the newest published head: what the fastest log takes in between two
/// publications, ten times over.
const MAX_AHEAD: u64 = 1 << 20;

/// The log as one can ask it.
#[async_trait]
pub trait LogView: Send + Sync + 'static {
    /// The newest published checkpoint.
    async fn newest(&self) -> Result<Bytes, Error>;
    /// The proof that the tree of `to` leaves continues that of `from` leaves.
    async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Bytes>, Error>;
}

#[async_trait]
impl LogView for Connection {
    async fn newest(&self) -> Result<Bytes, Error> {
        let answer = self.audit().get_checkpoint(call(GetCheckpointRequest {})).await?;
        Ok(answer.into_inner().checkpoint)
    }

    async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Bytes>, Error> {
        let asked = GetConsistencyProofRequest { from_size: from, to_size: to };
        Ok(self.audit().get_consistency_proof(call(asked)).await?.into_inner().hashes)
    }
}

/// The part of a book that keeps the log's heads.
pub trait HeadKeeper: Send + Sync + 'static {
    /// The newest published checkpoint that was verified and proven.
    fn newest(&self) -> Option<Bytes>;
    /// Keeps a newer one.
    fn keep_newest(&self, checkpoint: &Bytes) -> Result<(), BookError>;
    /// The two heads of a fork that was found.
    fn fork(&self) -> Option<LogForked>;
    /// Keeps them, durably.
    fn keep_fork(&self, fork: &LogForked) -> Result<(), BookError>;
}

/// Where a checkpoint was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Met {
    /// In a receipt: the head of one commit. Proven too; only where more come than can be proven, a sample is, which this
    /// side draws by its own randomness.
    InReceipt,
    /// In another party's statement, or published: always proven.
    InStatement,
}

/// Watches one log. Cloning shares it.
#[derive(Clone)]
pub struct Monitor(Arc<Inner>);

struct Inner {
    log_key: VerifierKey,
    log: Arc<dyn LogView>,
    keeper: Arc<dyn HeadKeeper>,
    system: System,
    heads: Mutex<Heads>,
    /// Held through a round, so that two rounds never prove from two different heads.
    round: tokio::sync::Mutex<()>,
    wake: Notify,
}

impl Monitor {
    /// Takes up where the book left off. A fork that stands in the book halts this run too.
    pub fn open(
        log_key: VerifierKey,
        log: Arc<dyn LogView>,
        keeper: Arc<dyn HeadKeeper>,
        system: &System,
    ) -> Result<Self, Error> {
        let mut heads = Heads { forked: keeper.fork(), ..Heads::default() };
        if let Some(bytes) = keeper.newest() {
            let newest = SignedCheckpoint::verify(bytes, &log_key).map_err(|error| {
                Error::malformed("book", format!("its checkpoint is not of this log: {error}"))
            })?;
            heads.proven.insert(newest.size(), newest.clone());
            heads.published = Some((newest.clone(), None));
            heads.head = Some(newest);
        }
        Ok(Self(Arc::new(Inner {
            log_key,
            log,
            keeper,
            system: system.clone(),
            heads: Mutex::new(heads),
            round: tokio::sync::Mutex::default(),
            wake: Notify::new(),
        })))
    }

    /// Fails if the log has forked, or for as long as the broker withholds a proof that is overdue by [`PROVE_WITHIN`]
    /// while it answers other calls. With a broker that answers nothing there is nothing to halt.
    pub fn check(&self) -> Result<(), Error> {
        let heads = self.0.heads.lock();
        no_fork(&heads)?;
        match heads.withheld.first() {
            Some(size) => {
                let detail = format!("no proof that the tree of {size} leaves is of this log");
                Err(Error::misbehaved(Party::Broker, "checkpoint", "consistency", detail))
            }
            None => Ok(()),
        }
    }

    /// Verifies that the log signed a checkpoint, and lines it up for its proof. `who` handed it over.
    pub fn take(&self, bytes: &Bytes, met: Met, who: &Party) -> Result<SignedCheckpoint, Error> {
        let checkpoint = self.verify(bytes, who)?;
        let mut heads = self.0.heads.lock();
        // Whatever a checkpoint came with, it came through the broker.
        heads.heard = Some(self.0.system.elapsed());
        let size = checkpoint.size();
        if let Some(known) = heads.known(size) {
            if known.root() != checkpoint.root() {
                let fork = LogForked { ours: known.as_bytes().clone(), theirs: bytes.clone() };
                return Err(self.halt(&mut heads, fork));
            }
            if let Some(pending) = heads.pending.get_mut(&size) {
                pending.met = pending.met.max(met);
            }
            return Ok(checkpoint);
        }
        heads.line_up(checkpoint.clone(), met, &self.0.system)?;
        drop(heads);
        self.0.wake.notify_one();
        Ok(checkpoint)
    }

    /// The newest published checkpoint that this side verified, for a statement that it is about to sign.
    pub async fn for_signing(&self) -> Result<Bytes, Error> {
        let now = self.0.system.elapsed();
        let published = self.0.heads.lock().published.clone();
        if let Some((checkpoint, Some(asked))) = &published {
            let age = now.saturating_sub(*asked);
            if age >= REFRESH_AFTER && age < WAIT_AFTER {
                self.0.wake.notify_one();
            }
            if age < WAIT_AFTER {
                return Ok(checkpoint.as_bytes().clone());
            }
        }
        match self.refresh().await {
            Ok(checkpoint) => Ok(checkpoint.as_bytes().clone()),
            // A broker that can't be reached makes no statement worse: what was verified stays verified. The next
            // signature does not wait for it again.
            Err(Error::Unreachable { detail }) => {
                let mut heads = self.0.heads.lock();
                let (checkpoint, asked) = heads.published.as_mut().ok_or(Error::Unreachable { detail })?;
                *asked = Some(now);
                Ok(checkpoint.as_bytes().clone())
            }
            Err(error) => Err(error),
        }
    }

    /// Asks for the newest published checkpoint and proves it, and what else waits.
    pub async fn refresh(&self) -> Result<SignedCheckpoint, Error> {
        let _round = self.0.round.lock().await;
        no_fork(&self.0.heads.lock())?;
        let now = self.0.system.elapsed();
        let asked = self.0.log.newest().await;
        let heard = match &asked {
            Ok(_) => true,
            Err(error) => matches!(error, Error::Refused(_)) && !is_of_caller(error),
        };
        if heard {
            self.0.heads.lock().heard = Some(self.0.system.elapsed());
        }
        let newest = asked.and_then(|bytes| self.take(&bytes, Met::InStatement, &Party::Broker));
        // What waits is proven even if the newest is kept back: else that alone would stop the clock on every proof.
        let proven = self.prove_pending().await;
        let newest = newest?;
        let mut heads = self.0.heads.lock();
        no_fork(&heads)?;
        if let Some(pending) = heads.pending.get(&newest.size()) {
            let detail = format!("no proof for the published tree of {} leaves", newest.size());
            if pending.refused || heads.withheld.contains(&newest.size()) {
                return Err(Error::misbehaved(Party::Broker, "checkpoint", "consistency", detail));
            }
            proven?;
            return Err(Error::Unreachable { detail });
        }
        let kept = match &mut heads.published {
            // A broker that answers with an older one changes nothing but the time of asking.
            Some((published, asked)) if published.size() >= newest.size() => {
                *asked = Some(now);
                return Ok(published.clone());
            }
            published => {
                *published = Some((newest.clone(), Some(now)));
                newest
            }
        };
        drop(heads);
        self.0.keeper.keep_newest(kept.as_bytes())?;
        Ok(kept)
    }

    /// Proves what waits, once.
    pub async fn settle(&self) -> Result<(), Error> {
        let _round = self.0.round.lock().await;
        no_fork(&self.0.heads.lock())?;
        self.prove_pending().await
    }

    /// Whether the log can hold a record with this index by now: what is far beyond the newest published head is made up.
    /// Asks for that head if the known one is too old to tell.
    pub(crate) async fn can_hold(&self, index: u64) -> Result<(), Error> {
        let holds = |head: &SignedCheckpoint| index < head.size().saturating_add(MAX_AHEAD);
        if self.head().as_ref().is_some_and(holds) || holds(&self.refresh().await?) {
            return Ok(());
        }
        let detail = format!("the log is far from holding a record {index}");
        Err(Error::misbehaved(Party::Broker, "event", "index", detail))
    }

    /// Starts the background rounds: at most one a second, and none while there is nothing to do. They end with the last
    /// clone of the monitor.
    pub fn spawn(&self) {
        let weak = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            while let Some(inner) = weak.upgrade() {
                let monitor = Self(inner);
                let waits = !monitor.0.heads.lock().pending.is_empty();
                if !waits && tokio::time::timeout(ROUND, monitor.0.wake.notified()).await.is_err() {
                    continue;
                }
                let done = if monitor.is_stale() {
                    monitor.refresh().await.map(drop)
                } else {
                    monitor.settle().await
                };
                if let Err(error) = done {
                    tracing::warn!(%error, "the log's checkpoints are not proven");
                }
                drop(monitor);
                tokio::time::sleep(ROUND).await;
            }
        });
    }

    /// The largest head that is proven.
    pub fn head(&self) -> Option<SignedCheckpoint> {
        self.0.heads.lock().head.clone()
    }

    fn is_stale(&self) -> bool {
        let asked = self.0.heads.lock().published.as_ref().and_then(|(_, asked)| *asked);
        asked.is_none_or(|asked| self.0.system.elapsed().saturating_sub(asked) >= REFRESH_AFTER)
    }

    /// A signature costs as much as a transfer's own: the answers of one batch share a checkpoint, and partners meet the
    /// same published one for a second.
    fn verify(&self, bytes: &Bytes, who: &Party) -> Result<SignedCheckpoint, Error> {
        if let Some(known) = self.0.heads.lock().verified.get(bytes) {
            return Ok(known.clone());
        }
        let checkpoint = SignedCheckpoint::verify(bytes.clone(), &self.0.log_key)
            .map_err(|error| Error::misbehaved(who.clone(), "checkpoint", "signature", error.to_string()))?;
        self.0.heads.lock().remember(bytes, &checkpoint);
        Ok(checkpoint)
    }

    /// First the head moves on to the largest of the chosen; then the others, which lie behind it, are proven side by
    /// side. One whose proof does not come holds up no other. Called within a round.
    async fn prove_pending(&self) -> Result<(), Error> {
        let mut chosen = self.0.heads.lock().choose(self.0.system.entropy.as_ref());
        let mut round = Round::default();
        if chosen.first().is_some_and(|largest| self.is_ahead(largest)) {
            let largest = chosen.remove(0);
            let done = self.line_to(self.head(), &largest).await;
            self.conclude(largest, done, &mut round, true)?;
        }
        let anchor = self.head();
        let done = chosen.into_iter().map(|checkpoint| {
            let anchor = anchor.clone();
            async move {
                let done = self.line_to(anchor, &checkpoint).await;
                (checkpoint, done)
            }
        });
        let mut done: Vec<_> = stream::iter(done).buffer_unordered(PROOFS_AT_ONCE).collect().await;
        // Where the largest was not proven, others may be ahead as well. Two of them that each continue the head need not
        // continue each other: so the largest is entered, and the rest wait for the next round.
        done.sort_by_key(|(checkpoint, _)| std::cmp::Reverse(checkpoint.size()));
        let mut moved = false;
        for (checkpoint, proof) in done {
            let ahead = anchor.as_ref().is_some_and(|anchor| anchor.size() < checkpoint.size());
            let enters = !ahead || !moved;
            moved |= ahead && proof.is_ok();
            self.conclude(checkpoint, proof, &mut round, enters)?;
        }
        match round.silence {
            Some(error) if !round.answered => Err(error),
            _ => Ok(()),
        }
    }

    fn is_ahead(&self, checkpoint: &SignedCheckpoint) -> bool {
        self.head().is_none_or(|head| head.size() < checkpoint.size())
    }

    /// Proves that a head and the one that is proven are of one log, whichever is the older.
    async fn line_to(
        &self,
        proven: Option<SignedCheckpoint>,
        checkpoint: &SignedCheckpoint,
    ) -> Result<(), (Error, Bytes)> {
        let ours = proven.unwrap_or_else(|| checkpoint.clone());
        let proof = if ours.size() <= checkpoint.size() {
            self.prove(&ours, checkpoint).await
        } else {
            self.prove(checkpoint, &ours).await
        };
        proof.map_err(|error| (error, ours.as_bytes().clone()))
    }

    fn conclude(
        &self,
        checkpoint: SignedCheckpoint,
        proof: Result<(), (Error, Bytes)>,
        round: &mut Round,
        enters: bool,
    ) -> Result<(), Error> {
        let mut heads = self.0.heads.lock();
        let now = self.0.system.elapsed();
        match proof {
            Ok(()) => {
                round.answered = true;
                heads.heard = Some(now);
                if enters {
                    heads.enter(checkpoint);
                }
                Ok(())
            }
            Err((Error::Misbehaved(_), ours)) => {
                let fork = LogForked { ours, theirs: checkpoint.as_bytes().clone() };
                Err(self.halt(&mut heads, fork))
            }
            Err((error, _)) if is_of_caller(&error) => {
                heads.not_proven(checkpoint.size(), false);
                round.silence = Some(error);
                Ok(())
            }
            // No proof is no fork yet; `check` stops waiting for it.
            Err((error @ Error::Refused(_), _)) => {
                tracing::warn!(size = checkpoint.size(), %error, "the broker gives no consistency proof");
                round.answered = true;
                heads.heard = Some(now);
                heads.not_proven(checkpoint.size(), true);
                Ok(())
            }
            Err((error @ Error::Unreachable { .. }, _)) => {
                heads.not_proven(checkpoint.size(), false);
                round.silence = Some(error);
                Ok(())
            }
            Err((error, _)) => Err(error),
        }
    }

    async fn prove(&self, from: &SignedCheckpoint, to: &SignedCheckpoint) -> Result<(), Error> {
        let wrong = |detail: String| Error::misbehaved(Party::Broker, "checkpoint", "consistency", detail);
        let mut hashes = Vec::new();
        // Equal sizes and the empty tree need no proof, only the comparison.
        if from.size() != to.size() && from.size() != 0 {
            let answer = self.0.log.consistency(from.size(), to.size()).await?;
            for hash in answer.iter().take(MAX_CONSISTENCY_HASHES + 1) {
                hashes.push(Hash::from_slice(hash).map_err(|error| wrong(error.to_string()))?);
            }
        }
        verify_consistency(from.size(), from.root(), to.size(), to.root(), &hashes)
            .map_err(|error| wrong(error.to_string()))
    }

    fn halt(&self, heads: &mut Heads, fork: LogForked) -> Error {
        tracing::error!(%fork, "halting: the log shows two faces");
        heads.forked.get_or_insert_with(|| fork.clone());
        // The fork stands in memory first: a book that can't be written must not let a call through.
        match self.0.keeper.keep_fork(&fork) {
            Ok(()) => Error::LogForked(Box::new(fork)),
            Err(error) => Error::Book(error),
        }
    }
}

/// What came of a round.
#[derive(Default)]
struct Round {
    /// The broker said something, be it no.
    answered: bool,
    /// A call without an answer.
    silence: Option<Error>,
}

/// Whether the broker turns down who calls, by a clock or a key that is wrong or for a suspension, so that all calls fail
/// alike. That is as good as silence; a broker that says so to proofs alone is heard by what else it answers.
fn is_of_caller(error: &Error) -> bool {
    let Error::Refused(refused) = error else { return false };
    refused.code == tonic::Code::Unauthenticated || refused.reason == "PARTNER_SUSPENDED"
}

fn no_fork(heads: &Heads) -> Result<(), Error> {
    match &heads.forked {
        Some(fork) => Err(Error::LogForked(Box::new(fork.clone()))),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
