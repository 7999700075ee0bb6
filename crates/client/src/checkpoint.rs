//! The log's heads, as one side has seen them: every one signed by the log, and every one proven to continue the others.
//!
//! A party meets checkpoints in the statements of other parties and in receipts. Each is verified at once; that it is
//! consistent with one's own is proven in the background. A log that shows two faces is found wherever two partners
//! meet: then the SDK halts and keeps both heads.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use countersign_grants::time::{Clock, Timestamp};
use countersign_proto::v1::{GetCheckpointRequest, GetConsistencyProofRequest};
use countersign_tlog::{
    Hash, SignedCheckpoint, VerifierKey,
    proof::{MAX_CONSISTENCY_HASHES, verify_consistency},
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    book::BookError,
    channel::{Connection, call},
    error::{Error, LogForked, Party},
};

/// How old one's newest published checkpoint gets before a newer one is asked for. The log publishes one a second.
pub const REFRESH_AFTER: Duration = Duration::from_secs(1);

/// How old it gets before a signature waits for a newer one.
const WAIT_AFTER: Duration = Duration::from_secs(60);

/// How long a checkpoint may stay unproven while the broker answers other calls.
pub const PROVE_WITHIN: Duration = Duration::from_secs(60);

/// The pause between two rounds of proofs.
const ROUND: Duration = Duration::from_secs(1);

/// The most checkpoints that wait for their proof: statements name published ones, at most one a second, for a minute;
/// the rest are heads of receipts.
const MAX_PENDING: usize = 128;

/// The most heads of receipts that one round proves, newest first. A busy side gets hundreds a second; the broker
/// can't know which of them will be proven.
const RECEIPTS_A_ROUND: usize = 4;

/// The most checkpoints that are remembered as verified or proven: two minutes of published ones and some receipts'.
const MAX_REMEMBERED: usize = 256;

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
    /// In a receipt: the head of one commit. Of many in one round, some are proven.
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
    clock: Arc<dyn Clock>,
    heads: Mutex<Heads>,
    /// Held through a round, so that two rounds never prove from two different heads.
    round: tokio::sync::Mutex<()>,
    wake: Notify,
}

#[derive(Default)]
struct Heads {
    /// The largest head that is proven.
    head: Option<SignedCheckpoint>,
    /// The newest published one that is proven, and when it was asked for.
    published: Option<(SignedCheckpoint, Timestamp)>,
    /// By size. Two roots of one size are a fork.
    proven: BTreeMap<u64, SignedCheckpoint>,
    pending: BTreeMap<u64, Pending>,
    verified: HashMap<Bytes, SignedCheckpoint>,
    verified_order: VecDeque<Bytes>,
    forked: Option<LogForked>,
}

struct Pending {
    checkpoint: SignedCheckpoint,
    since: Timestamp,
    met: Met,
    /// The broker answered, and the answer was not the proof.
    withheld: bool,
}

impl Monitor {
    /// Takes up where the book left off. A fork that stands in the book halts this run too.
    pub fn open(
        log_key: VerifierKey,
        log: Arc<dyn LogView>,
        keeper: Arc<dyn HeadKeeper>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let mut heads = Heads { forked: keeper.fork(), ..Heads::default() };
        if let Some(bytes) = keeper.newest() {
            let newest = SignedCheckpoint::verify(bytes, &log_key).map_err(|error| {
                Error::malformed("book", format!("its checkpoint is not of this log: {error}"))
            })?;
            heads.proven.insert(newest.size(), newest.clone());
            heads.published = Some((newest.clone(), Timestamp::default()));
            heads.head = Some(newest);
        }
        Ok(Self(Arc::new(Inner {
            log_key,
            log,
            keeper,
            clock,
            heads: Mutex::new(heads),
            round: tokio::sync::Mutex::default(),
            wake: Notify::new(),
        })))
    }

    /// Fails if the log has forked, or if the broker has withheld a proof for longer than [`PROVE_WITHIN`].
    pub fn check(&self) -> Result<(), Error> {
        let heads = self.0.heads.lock();
        if let Some(fork) = &heads.forked {
            return Err(Error::LogForked(Box::new(fork.clone())));
        }
        let now = self.0.clock.now();
        let overdue = heads.pending.values().find(|one| one.withheld && now.since(one.since) > PROVE_WITHIN);
        match overdue {
            Some(one) => {
                let detail =
                    format!("no proof that the tree of {} leaves is of this log", one.checkpoint.size());
                Err(Error::misbehaved(Party::Broker, "checkpoint", "consistency", detail))
            }
            None => Ok(()),
        }
    }

    /// Verifies that the log signed a checkpoint, and lines it up for its proof. `who` handed it over.
    pub fn take(&self, bytes: &Bytes, met: Met, who: &Party) -> Result<SignedCheckpoint, Error> {
        let checkpoint = self.verify(bytes, who)?;
        let mut heads = self.0.heads.lock();
        let size = checkpoint.size();
        let known = heads.proven.get(&size).or_else(|| heads.pending.get(&size).map(|one| &one.checkpoint));
        if let Some(known) = known {
            if known.root() != checkpoint.root() {
                let fork = LogForked { ours: known.as_bytes().clone(), theirs: bytes.clone() };
                return Err(self.halt(&mut heads, fork));
            }
            if let Some(pending) = heads.pending.get_mut(&size) {
                pending.met = pending.met.max(met);
            }
            return Ok(checkpoint);
        }
        heads.line_up(checkpoint.clone(), met, self.0.clock.now());
        drop(heads);
        self.0.wake.notify_one();
        Ok(checkpoint)
    }

    /// The newest published checkpoint that this side verified, for a statement that it is about to sign.
    pub async fn for_signing(&self) -> Result<Bytes, Error> {
        let now = self.0.clock.now();
        let published = self.0.heads.lock().published.clone();
        if let Some((checkpoint, asked)) = &published {
            let age = now.distance(*asked);
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
                *asked = now;
                Ok(checkpoint.as_bytes().clone())
            }
            Err(error) => Err(error),
        }
    }

    /// Asks for the newest published checkpoint and proves it, and all that waits.
    pub async fn refresh(&self) -> Result<SignedCheckpoint, Error> {
        let _round = self.0.round.lock().await;
        self.check()?;
        let now = self.0.clock.now();
        let bytes = self.0.log.newest().await?;
        let newest = self.take(&bytes, Met::InStatement, &Party::Broker)?;
        self.prove_pending().await?;
        let mut heads = self.0.heads.lock();
        if heads.pending.contains_key(&newest.size()) {
            let detail = format!("no proof for the published tree of {} leaves", newest.size());
            return Err(Error::misbehaved(Party::Broker, "checkpoint", "consistency", detail));
        }
        let kept = match &mut heads.published {
            // A broker that answers with an older one changes nothing but the time of asking.
            Some((published, asked)) if published.size() >= newest.size() => {
                *asked = now;
                return Ok(published.clone());
            }
            published => {
                *published = Some((newest.clone(), now));
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
        self.check()?;
        self.prove_pending().await
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
        let asked = self.0.heads.lock().published.as_ref().map(|(_, asked)| *asked);
        asked.is_none_or(|asked| self.0.clock.now().distance(asked) >= REFRESH_AFTER)
    }

    /// A signature costs as much as a transfer's own: the answers of one batch share a checkpoint, and partners meet the
    /// same published one for a second.
    fn verify(&self, bytes: &Bytes, who: &Party) -> Result<SignedCheckpoint, Error> {
        if let Some(known) = self.0.heads.lock().verified.get(bytes) {
            return Ok(known.clone());
        }
        let checkpoint = SignedCheckpoint::verify(bytes.clone(), &self.0.log_key)
            .map_err(|error| Error::misbehaved(who.clone(), "checkpoint", "signature", error.to_string()))?;
        let mut heads = self.0.heads.lock();
        if heads.verified.insert(bytes.clone(), checkpoint.clone()).is_none() {
            heads.verified_order.push_back(bytes.clone());
            if heads.verified_order.len() > MAX_REMEMBERED
                && let Some(oldest) = heads.verified_order.pop_front()
            {
                heads.verified.remove(&oldest);
            }
        }
        Ok(checkpoint)
    }

    /// Smallest first, so that the head only ever moves forward over what is proven. Called within a round.
    async fn prove_pending(&self) -> Result<(), Error> {
        let chosen = self.0.heads.lock().choose();
        for checkpoint in chosen {
            let head = self.head();
            let (from, to) = match head {
                None => (checkpoint.clone(), checkpoint.clone()),
                Some(head) if head.size() <= checkpoint.size() => (head, checkpoint.clone()),
                Some(head) => (checkpoint.clone(), head),
            };
            let proof = self.prove(&from, &to).await;
            let mut heads = self.0.heads.lock();
            match proof {
                Ok(()) => heads.enter(checkpoint),
                Err(Error::Misbehaved(_)) => {
                    let ours = if from == checkpoint { &to } else { &from };
                    let fork =
                        LogForked { ours: ours.as_bytes().clone(), theirs: checkpoint.as_bytes().clone() };
                    return Err(self.halt(&mut heads, fork));
                }
                // No proof is no fork yet; `check` stops waiting for it.
                Err(Error::Refused(refused)) => {
                    tracing::warn!(size = checkpoint.size(), %refused, "the broker gives no consistency proof");
                    if let Some(pending) = heads.pending.get_mut(&checkpoint.size()) {
                        pending.withheld = true;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
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

impl Heads {
    fn line_up(&mut self, checkpoint: SignedCheckpoint, met: Met, since: Timestamp) {
        if self.pending.len() >= MAX_PENDING {
            // Statements' are never dropped for a receipt's; among receipts' the older goes.
            let oldest =
                self.pending.iter().find(|(_, one)| one.met == Met::InReceipt).map(|(size, _)| *size);
            match (oldest, met) {
                (Some(size), _) => drop(self.pending.remove(&size)),
                (None, Met::InReceipt) => return,
                (None, Met::InStatement) => {}
            }
        }
        self.pending.insert(checkpoint.size(), Pending { checkpoint, since, met, withheld: false });
    }

    /// What one round proves, smallest first; drops the heads of receipts that it leaves out.
    fn choose(&mut self) -> Vec<SignedCheckpoint> {
        let receipts =
            self.pending.iter().filter(|(_, one)| one.met == Met::InReceipt).map(|(size, _)| *size);
        let left_out: Vec<u64> = receipts.rev().skip(RECEIPTS_A_ROUND).collect();
        for size in left_out {
            self.pending.remove(&size);
        }
        self.pending.values().map(|one| one.checkpoint.clone()).collect()
    }

    fn enter(&mut self, checkpoint: SignedCheckpoint) {
        self.pending.remove(&checkpoint.size());
        if self.head.as_ref().is_none_or(|head| head.size() <= checkpoint.size()) {
            self.head = Some(checkpoint.clone());
        }
        self.proven.insert(checkpoint.size(), checkpoint);
        if self.proven.len() > MAX_REMEMBERED {
            self.proven.pop_first();
        }
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
