//! The one task that judges units, commits them and signs what has become durable.

mod cache;
mod pending;

use std::sync::Arc;

use countersign_store::{Head, Key, MAX_BATCH_BYTES, ReadError};
use countersign_tlog::{Hash, SignedCheckpoint};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::ledger::Now;
use crate::outcome::{Committed, Outcome, Receipt, SubmitError};
use crate::rows::{self, KnownRequest};
use crate::shared::Shared;
use crate::stream::StreamKey;
use crate::tail::Tail;
use crate::unit::{Ceiling, Counter, MAX_ROWS, Unit};
use crate::work::Part;
use cache::Cache;
use pending::{Accepted, Own, Pending};

/// Units in one commit. Beyond a few hundred the sync is a small part of a unit's cost, and more units only make each
/// other wait.
const MAX_BATCH_UNITS: usize = 512;

/// Records in one commit: half of the leaves whose paths the tree gives without reading tiles
/// ([`RECENT_LEAVES`](countersign_tlog::tree::RECENT_LEAVES)).
const MAX_BATCH_RECORDS: u64 = countersign_tlog::tree::RECENT_LEAVES / 2;

/// Leaves that may wait to be published, which costs 33 bytes of memory each: 33 MiB, and more than ten seconds of the
/// fastest writing. Beyond that the disk doesn't take tiles any more, and units are shed until it does.
const MAX_UNPUBLISHED: u64 = 1 << 20;

/// Tails kept in memory, in each of two generations: with 300 to 600 bytes each at most some 10 MiB.
const CACHED_TAILS: usize = 8_192;

/// Counters kept in memory, in each of two generations: with under 200 bytes each at most some 6 MiB.
const CACHED_COUNTERS: usize = 16_384;

/// Judging units against the state, and putting what they write into one batch.
static JUDGING: Part = Part::new("judging");

/// Extending the tree, signing the head, and each record's path.
static PROOF: Part = Part::new("proof");

/// Who waits for a unit.
pub(crate) type Reply = oneshot::Sender<Result<Outcome, SubmitError>>;

/// A unit on its way to the judge.
pub(crate) struct Job {
    pub(crate) unit: Unit,
    /// A stream that goes with it.
    pub(crate) drops: Option<StreamKey>,
    pub(crate) reply: Reply,
}

/// The task's state.
pub(crate) struct Judge {
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    stop: watch::Receiver<bool>,
    stopping: bool,
    now: Now,
    /// The time of the log's last record.
    time_ms: u64,
    head: Head,
    tails: Cache<StreamKey, Tail>,
    counters: Cache<Key, Counter>,
}

enum Verdict {
    Accepted(Accepted),
    Refused(Outcome),
    /// The next batch has to judge it.
    Later(Unit, Option<StreamKey>),
}

/// The commit failed: nothing may be acknowledged any more.
struct Failed;

impl Judge {
    pub(crate) fn new(
        shared: Arc<Shared>,
        jobs: mpsc::Receiver<Job>,
        stop: watch::Receiver<bool>,
        now: Now,
        time_ms: u64,
    ) -> Judge {
        let head = shared.store.head();
        let (tails, counters) = (Cache::new(CACHED_TAILS), Cache::new(CACHED_COUNTERS));
        Judge { shared, jobs, stop, stopping: false, now, time_ms, head, tails, counters }
    }

    /// Runs until the ledger is shut down or a commit fails.
    pub(crate) async fn run(mut self) {
        let mut carried = None;
        while let Some(first) = match carried.take() {
            Some(job) => Some(job),
            None => self.next().await,
        } {
            // Callers who were just answered get their turn first: what they submit next then shares this commit.
            tokio::task::yield_now().await;
            let (batch, left) = JUDGING.drive(self.collect(first)).await;
            carried = left;
            if self.settle(batch).await.is_err() {
                break;
            }
        }
        // Whoever still waits learns that nothing will come, and whoever comes later finds the queue closed.
        self.jobs.close();
        drop(carried);
        while self.jobs.try_recv().is_ok() {}
    }

    /// The next job, as soon as there is one; `None` when there will be none.
    async fn next(&mut self) -> Option<Job> {
        if !self.stopping {
            tokio::select! {
                biased;
                // However it came: by a word, or since the last handle is gone. First, so that no number of jobs hides it.
                _ = self.stop.changed() => {}
                job = self.jobs.recv() => return job,
            }
            self.stopping = true;
            self.jobs.close();
        }
        self.jobs.recv().await
    }

    /// Judges what waits, as far as it fits one commit. Gives back the job that didn't fit.
    async fn collect(&mut self, first: Job) -> (Collected, Option<Job>) {
        let mut collected = Collected {
            pending: Pending::new(self.head, self.time_ms),
            accepted: Vec::new(),
            answered: Vec::new(),
        };
        let shed = self.shared.unpublished() > MAX_UNPUBLISHED;
        let mut next = Some(first);
        while let Some(Job { unit, drops, reply }) = next {
            let verdict = if shed {
                Err(SubmitError::Overloaded)
            } else {
                self.judge(&mut collected.pending, unit, drops).await.map_err(SubmitError::Unreadable)
            };
            match verdict {
                Ok(Verdict::Accepted(accepted)) => collected.accepted.push((reply, accepted)),
                Ok(Verdict::Refused(outcome)) => collected.answered.push((reply, Ok(outcome))),
                Ok(Verdict::Later(unit, drops)) => return (collected, Some(Job { unit, drops, reply })),
                Err(error) => collected.answered.push((reply, Err(error))),
            }
            // Refused units count too: nobody waits for more than so many others.
            let judged = collected.accepted.len() + collected.answered.len();
            next = if judged < MAX_BATCH_UNITS { self.jobs.try_recv().ok() } else { None };
        }
        (collected, None)
    }

    /// Judges a unit against the state after the ones before it. Changes nothing unless it lets the unit through.
    async fn judge(
        &mut self,
        pending: &mut Pending,
        unit: Unit,
        drops: Option<StreamKey>,
    ) -> Result<Verdict, ReadError> {
        let records = (pending.records() + unit.records.len()) as u64;
        if pending.units() > 0
            && (records > MAX_BATCH_RECORDS || pending.weight() + unit.weight() > MAX_BATCH_BYTES)
        {
            return Ok(Verdict::Later(unit, drops));
        }
        if let Some(request) = &unit.request
            && let Some(first) = self.remembered(pending, &request.key).await?
        {
            return Ok(Verdict::Refused(if first.digest == request.digest {
                Outcome::Replayed { first_index: first.first_index, answer: first.answer }
            } else {
                Outcome::IdReused
            }));
        }
        for (key, version) in &unit.expected {
            let found = if pending.wrote(key) {
                pending.version_of(key)
            } else {
                self.shared.store.get(key).await?.map(|entry| entry.version)
            };
            if found != *version {
                return Ok(Verdict::Refused(Outcome::Conflict { key: key.clone() }));
            }
        }
        for (counter, most) in &unit.counted {
            if self.counter(pending, counter).await?.count > *most {
                return Ok(Verdict::Refused(Outcome::Conflict { key: counter.clone() }));
            }
        }
        let time_ms = (self.now)().max(pending.time_ms);
        let mut raised = Vec::with_capacity(unit.ceilings.len());
        for ceiling in &unit.ceilings {
            // A unit may name a counter twice.
            let again = raised.iter().rev().find(|(counter, _)| *counter == ceiling.counter);
            let current = match again {
                Some((_, counter)) => *counter,
                None => self.counter(pending, &ceiling.counter).await?,
            };
            match raise(current, ceiling, time_ms) {
                Ok(counter) => raised.push((ceiling.counter.clone(), counter)),
                Err(refused) => return Ok(Verdict::Refused(refused)),
            }
        }
        // All rows of a commit have one version. If two of its units wrote the same row, the first one's caller would
        // take the second one's row for its own when it expects that version: so the second goes into the next commit.
        if pending.writes_again(&unit) {
            return Ok(Verdict::Later(unit, drops));
        }
        if let Some(stream) = drops {
            // What a neighbour enters in it is in memory alone: the next batch finds it in the store.
            if pending.tails.get(&stream).is_some_and(|own| own.changed) {
                return Ok(Verdict::Later(unit, Some(stream)));
            }
            self.drop_stream(pending, &stream, MAX_ROWS - unit.deletes.len()).await?;
        }
        for draft in &unit.records {
            for stream in draft.streams.iter().chain(&draft.grant) {
                self.load_tail(pending, stream).await?;
            }
        }
        Ok(Verdict::Accepted(pending.accept(unit, time_ms, raised)))
    }

    async fn remembered(&self, pending: &Pending, key: &Key) -> Result<Option<KnownRequest>, ReadError> {
        if let Some(remembered) = pending.request(key) {
            return Ok(Some(remembered.clone()));
        }
        self.shared.request(key).await
    }

    async fn counter(&mut self, pending: &mut Pending, counter: &Key) -> Result<Counter, ReadError> {
        if let Some(own) = pending.counters.get(counter) {
            return Ok(own.value);
        }
        let value = match self.counters.take(counter) {
            Some(value) => value,
            None => self.shared.counter(counter).await?,
        };
        pending.counters.insert(counter.clone(), Own { value, changed: false });
        Ok(value)
    }

    async fn load_tail(&mut self, pending: &mut Pending, stream: &StreamKey) -> Result<(), ReadError> {
        if pending.tails.contains_key(stream) {
            return Ok(());
        }
        let value = match self.tails.take(stream) {
            Some(tail) => tail,
            None => self.shared.tail(stream).await?,
        };
        pending.tails.insert(stream.clone(), Own { value, changed: false });
        Ok(())
    }

    /// Removes the first rows of a stream. When its tail is among them, the stream begins anew for whoever comes after.
    async fn drop_stream(
        &mut self,
        pending: &mut Pending,
        stream: &StreamKey,
        at_most: usize,
    ) -> Result<(), ReadError> {
        let found = self.shared.store.scan(rows::stream_rows(stream, 0), at_most).await?;
        for (key, _) in found {
            if rows::is_tail(stream, &key) {
                self.tails.take(stream);
                pending.tails.insert(stream.clone(), Own { value: Tail::default(), changed: false });
            }
            pending.delete(key);
        }
        Ok(())
    }

    /// Commits, signs, answers. An error means that all who wait for this batch were told nothing.
    async fn settle(&mut self, collected: Collected) -> Result<(), Failed> {
        let Collected { mut pending, accepted, answered } = collected;
        if pending.units() > 0 {
            let version = pending.version();
            let checkpoint = self.commit(&mut pending).await?;
            // Paths belong to one size of the tree: all of them are computed before anything is appended again.
            let answers = PROOF.run(|| self.receipts(&checkpoint, accepted, version));
            self.remember(pending);
            for (reply, outcome) in answers {
                // A caller that went away doesn't undo its unit.
                drop(reply.send(Ok(outcome)));
            }
        } else {
            self.remember(pending);
        }
        // A refusal may rest on a neighbour's change, so it is as true only as that is durable.
        for (reply, answer) in answered {
            drop(reply.send(answer));
        }
        Ok(())
    }

    async fn commit(&mut self, pending: &mut Pending) -> Result<Arc<SignedCheckpoint>, Failed> {
        let (batch, hashes) = pending.take_batch();
        let (units, begun) = (pending.units(), Instant::now());
        let head = match self.shared.store.commit(self.head, batch).await {
            Ok(head) => head,
            Err(error) => {
                tracing::error!(%error, "a commit failed: the log takes nothing more until it is opened again");
                return Err(Failed);
            }
        };
        metrics::histogram!("countersign_log_batch_units").record(units as f64);
        metrics::histogram!("countersign_log_commit_seconds").record(begun.elapsed());
        metrics::gauge!("countersign_log_size").set(head.size as f64);
        self.head = head;
        self.time_ms = pending.time_ms;
        // Only now, for the leaves are durable: what is signed here binds the log for ever.
        Ok(PROOF.run(|| self.shared.grow(&hashes)))
    }

    fn receipts(
        &self,
        checkpoint: &SignedCheckpoint,
        accepted: Vec<(Reply, Accepted)>,
        version: u64,
    ) -> Vec<(Reply, Outcome)> {
        let tree = self.shared.tree.lock();
        let path = |index| -> Vec<Hash> {
            tree.inclusion(index).expect("a batch is half of the leaves that the tree holds")
        };
        let answer =
            |accepted: Accepted| {
                let receipts = (accepted.first_index..).zip(accepted.records).map(|(index, record)| {
                    Receipt { record, index, path: path(index), checkpoint: checkpoint.as_bytes().clone() }
                });
                Outcome::Committed(Committed {
                    receipts: receipts.collect(),
                    time_ms: accepted.time_ms,
                    version,
                    counts: accepted.counts,
                })
            };
        accepted.into_iter().map(|(reply, accepted)| (reply, answer(accepted))).collect()
    }

    /// Keeps what is durable now, and tells who watches.
    fn remember(&mut self, pending: Pending) {
        self.shared.hub.notify(pending.tails.iter().filter(|(_, own)| own.changed).map(|(stream, _)| stream));
        for (stream, own) in pending.tails {
            self.tails.put(stream, own.value);
        }
        for (counter, own) in pending.counters {
            self.counters.put(counter, own.value);
        }
    }
}

/// A batch that was judged, and who waits for it.
struct Collected {
    pending: Pending,
    accepted: Vec<(Reply, Accepted)>,
    answered: Vec<(Reply, Result<Outcome, SubmitError>)>,
}

/// The counter after one more use.
fn raise(current: Counter, ceiling: &Ceiling, time_ms: u64) -> Result<Counter, Outcome> {
    let ends =
        |counter: Counter| ceiling.window_ms.map(|window| counter.window_start_ms.saturating_add(window));
    let begins = current.count == 0 || ends(current).is_some_and(|end| end <= time_ms);
    let window = if begins { Counter { count: 0, window_start_ms: time_ms } } else { current };
    if window.count >= ceiling.at_most {
        let retry_after_ms = ends(window).map(|end| end.saturating_sub(time_ms));
        return Err(Outcome::Ceiling { counter: ceiling.counter.clone(), retry_after_ms });
    }
    Ok(Counter { count: window.count + 1, ..window })
}
