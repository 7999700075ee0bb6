//! The handle that callers hold.

use std::sync::Arc;

use arc_swap::ArcSwap;
use countersign_proto::log::v1::{Kind, Record};
use countersign_store::Store;
use countersign_tlog::{SignedCheckpoint, SignerKey, VerifierKey};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::hub::{Hub, Watch};
use crate::judge::{Job, Judge};
use crate::open::{OpenError, open};
use crate::outcome::{Outcome, SubmitError};
use crate::publisher;
use crate::rows;
use crate::shared::Shared;
use crate::stream::StreamKey;
use crate::unit::{Erasure, Housekeeping, Unit, UnitError};

/// Units that may wait for the judge: a fifth of a second of work at 20,000 a second, and eight full batches. A unit
/// with its envelopes is a few KiB, so some 20 MiB.
const MAX_WAITING: usize = 4_096;

/// Tells the time in Unix milliseconds. It may jump: a record is never older than the one before it.
pub type Now = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The log's one writer. Cloning shares it.
///
/// When the last clone goes, what was submitted is still finished, if the runtime lives that long; a store is not to be
/// opened again before that. [`shutdown`](Ledger::shutdown) waits for it.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    /// A word on it, or its end, stops both tasks.
    stop: watch::Sender<bool>,
    tasks: tokio::sync::Mutex<Option<[JoinHandle<()>; 2]>>,
}

impl Ledger {
    /// Opens the log in `store`, whose origin and key `key` is, and makes its head public. Starts the two tasks that
    /// judge and publish on the caller's runtime.
    ///
    /// Looks at the lengths of all published tiles, reads those at the right edge, and the leaves after them; the leaves
    /// under tiles that are missing, and all leaves if the tiles don't carry the published checkpoint.
    pub async fn open(store: Arc<dyn Store>, key: SignerKey, now: Now) -> Result<Ledger, OpenError> {
        let opened = open(&*store, &key).await?;
        let checkpoint = Arc::new(opened.checkpoint);
        let shared = Arc::new(Shared {
            store,
            key,
            tree: Mutex::new(opened.tree),
            latest: ArcSwap::new(Arc::clone(&checkpoint)),
            published: ArcSwap::new(checkpoint),
            publishing_failure: Mutex::new(None),
            hub: Arc::new(Hub::new()),
        });
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let (stop, stopped) = watch::channel(false);
        let judge = Judge::new(Arc::clone(&shared), waiting, stopped.clone(), now, opened.time_ms);
        let tasks = [tokio::spawn(judge.run()), tokio::spawn(publisher::run(Arc::clone(&shared), stopped))];
        let tasks = tokio::sync::Mutex::new(Some(tasks));
        Ok(Ledger(Arc::new(Inner { shared, jobs, stop, tasks })))
    }

    /// Has a unit judged, and if it is let through waits until it is durable.
    ///
    /// Dropping the future doesn't take the unit back.
    pub async fn submit(&self, unit: Unit) -> Result<Outcome, SubmitError> {
        unit.check().map_err(SubmitError::Invalid)?;
        self.hand_over(unit, None).await
    }

    /// Writes rows that need no record, and waits until they are durable.
    pub async fn housekeep(&self, housekeeping: Housekeeping) -> Result<(), SubmitError> {
        let unit = housekeeping.into_unit();
        unit.check_bounds().map_err(SubmitError::Invalid)?;
        // Without any condition there is no other outcome.
        self.hand_over(unit, None).await.map(drop)
    }

    /// Removes rows of a customer whose erasure a record says, and waits until that is durable. Says whether all of the
    /// stream is gone: the same again goes on.
    pub async fn erase(&self, erasure: Erasure) -> Result<bool, SubmitError> {
        let leaf = self.store().leaves(erasure.record..erasure.record + 1).await;
        let leaf = leaf.map_err(SubmitError::Unreadable)?.pop();
        let says = leaf.and_then(|leaf| Record::decode(leaf).ok());
        if says.is_none_or(|record| record.kind() != Kind::CustomerErased) {
            return Err(SubmitError::Invalid(UnitError::NoRecord));
        }
        let (unit, stream) = erasure.into_unit().map_err(SubmitError::Invalid)?;
        // Without any condition there is no other outcome.
        self.hand_over(unit, stream.clone()).await?;
        let Some(stream) = stream else { return Ok(true) };
        let left = self.store().scan(rows::stream_rows(&stream, 0), 1).await;
        Ok(left.map_err(SubmitError::Unreadable)?.is_empty())
    }

    async fn hand_over(&self, unit: Unit, drops: Option<StreamKey>) -> Result<Outcome, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.0.jobs.try_send(Job { unit, drops, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SubmitError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => SubmitError::Unavailable,
        })?;
        answer.await.unwrap_or(Err(SubmitError::Unavailable))
    }

    /// Whether units are taken: not once the log was shut down, a commit has failed, or the store takes none any more for
    /// something that failed behind it.
    pub fn is_available(&self) -> bool {
        !self.0.jobs.is_closed() && self.failure().is_none()
    }

    /// Why units aren't taken any more, if the store has failed: for the log and the operator.
    pub fn failure(&self) -> Option<String> {
        self.0.shared.store.failure()
    }

    /// Why the latest head can't be made public, if the last try has failed. Units are taken all the same, and it is tried
    /// again every second.
    pub fn publishing_failure(&self) -> Option<String> {
        self.0.shared.publishing_failure.lock().clone()
    }

    /// The store, for reading.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.0.shared.store
    }

    /// What the log's checkpoints are verified by; its name is the log's origin.
    pub fn verifier(&self) -> &VerifierKey {
        self.0.shared.key.verifier()
    }

    /// The checkpoint that is public: at most a second behind the latest, and the time that publishing takes. Cheap.
    pub fn published(&self) -> Arc<SignedCheckpoint> {
        self.0.shared.published.load_full()
    }

    /// The head after the latest commit. Cheap.
    pub fn latest(&self) -> Arc<SignedCheckpoint> {
        self.0.shared.latest.load_full()
    }

    /// Tells of the growth of a stream from here on. Who watches first and then reads misses nothing.
    pub fn watch(&self, stream: &StreamKey) -> Watch {
        self.0.shared.hub.watch(stream)
    }

    /// Takes nothing more, finishes what is queued, publishes the head, and ends all watches. Reading goes on. Every
    /// call returns when that is done.
    pub async fn shutdown(&self) {
        // Held to the end, so that a second caller waits for the first.
        let mut running = self.0.tasks.lock().await;
        self.0.stop.send_replace(true);
        let Some(tasks) = running.take() else { return };
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the log has died");
            }
        }
        publisher::publish_growth(&self.0.shared).await;
        self.0.shared.hub.close();
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }
}
