//! A broker's ledger at work over files that are recorded.
//!
//! Nothing here depends on time: the clocks are the driver's, one for records and tokio's, which stands still, for the
//! publisher. What the engine's threads do beside one another is recorded as it happens to happen.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use countersign_ledger::{Committed, Ledger, Outcome, SignerKey, SubmitError, Unit};
use countersign_store::Store;
use countersign_store_sled::{Options, SledStore, files::RealFiles};
use countersign_tlog::{KeyName, ProvenRecord, SignedCheckpoint};
use tokio::task::JoinSet;

use crate::{
    files::copy_folder,
    gone::{self, Person},
    model::{Done, Entered, Model, State},
    random::Random,
    record::{Event, Lie, Mark, Recorder},
    units::{Units, Work},
    worldcheck::{self, Keys},
};

/// A moment from which hours count.
const START_MS: u64 = 1_790_000_000_000;

/// Publications: one in so many groups of units is followed by one.
const PUBLISHED_ONE_IN: usize = 25;

/// Copies of the index while it is in use, and restarts: as often.
const COPIED_ONE_IN: usize = 90;
const RESTARTED_ONE_IN: usize = 220;

/// Scrubs: as often, some of them with units beside them.
const SCRUBBED_ONE_IN: usize = 150;
const MOST_MEANWHILE: usize = 12;

/// Of so many who have gone, one at least has left a mark.
const SURELY_FOUND: usize = 4;

/// Settings so small that every mechanism is at work several times in two thousand commits.
pub(crate) fn options() -> Options {
    Options { cache_bytes: 1 << 20, segment_bytes: 64 << 10, snapshot_bytes: 160 << 10 }
}

pub(crate) fn log_key() -> SignerKey {
    SignerKey::from_seed(KeyName::parse("broker.test/log").expect("a name"), &[1; 32])
}

/// What was recorded.
pub(crate) struct Recording {
    pub(crate) events: Vec<Event>,
    pub(crate) model: Model,
    /// The commits by which people went.
    pub(crate) gone: BTreeMap<Person, u64>,
    /// The state after every so many commits.
    pub(crate) states: Vec<State>,
    /// Copies of the index, the oldest first, each in a folder of its own.
    pub(crate) copies: Vec<PathBuf>,
}

/// Where all of it lies.
#[derive(Clone)]
pub(crate) struct Places {
    /// Everything below is recorded.
    pub(crate) disk: PathBuf,
    /// The store, on that disk.
    pub(crate) store: PathBuf,
    /// Copies of the index.
    pub(crate) copies: PathBuf,
}

/// States are kept after this many commits, and worked out between.
pub(crate) const STATE_EVERY: u64 = 50;

/// Runs the scenario until the store has seen `commits`.
pub(crate) async fn record(seed: u64, commits: u64, lie: Lie, places: &Places) -> Result<Recording> {
    std::fs::create_dir_all(&places.disk)?;
    let recorder = Recorder::over(Arc::new(RealFiles), &places.disk, &places.store.join("sled"), lie);
    let mut driver = Driver {
        recorder: recorder.clone(),
        clock: Arc::new(AtomicU64::new(START_MS)),
        units: Units::new(Random::of(seed, 1)),
        submitted: 0,
        model: Model::default(),
        state: State::default(),
        states: vec![State::default()],
        copies: Vec::new(),
        scrubbed: 0,
    };
    let mut random = Random::of(seed, 2);
    let mut running = driver.start(places).await?;
    while driver.state.sequence < commits {
        driver.group(&running.ledger, &mut random).await?;
        if random.one_in(PUBLISHED_ONE_IN) {
            driver.publish(&running.ledger).await;
        }
        if random.one_in(COPIED_ONE_IN) {
            driver.copy_index(places)?;
        }
        if random.one_in(SCRUBBED_ONE_IN) {
            driver.scrub(&running, places, &mut random).await?;
        }
        if random.one_in(RESTARTED_ONE_IN) {
            driver.end(running, random.one_in(2)).await?;
            driver.copy_index(places)?;
            running = driver.start(places).await?;
        }
    }
    let keys = Keys { log: log_key().verifier().clone(), broker: None };
    driver.end(running, true).await?;
    driver.copy_index(places)?;
    if lie == Lie::None {
        // What the images are held against must itself be sound.
        let copy = places.copies.join("end");
        copy_folder(&places.store, &copy)?;
        let summary = worldcheck::disk(&copy, &keys).await?;
        ensure!(summary.records == driver.model.records, "the model has other records than the store");
    }
    let Driver { model, states, copies, .. } = driver;
    let gone = gone::gone(&model);
    Ok(Recording { events: recorder.take(), model, gone, states, copies })
}

struct Running {
    store: Arc<SledStore>,
    ledger: Ledger,
}

struct Driver {
    recorder: Recorder,
    clock: Arc<AtomicU64>,
    units: Units,
    submitted: usize,
    model: Model,
    state: State,
    states: Vec<State>,
    copies: Vec<PathBuf>,
    /// The last commit when the last scrub was done.
    scrubbed: u64,
}

/// How a work that was handed in came out.
enum Answer {
    Unit(Box<Unit>, Result<Outcome, SubmitError>),
    Kept(countersign_ledger::Housekeeping, u64),
}

impl Driver {
    async fn start(&self, places: &Places) -> Result<Running> {
        let files = Arc::new(self.recorder.clone());
        let store = Arc::new(SledStore::open_on(files, &places.store, options()).await?);
        ensure!(store.head().sequence == self.state.sequence, "a restart lost or found commits");
        let clock = Arc::clone(&self.clock);
        let now = Arc::new(move || clock.load(Ordering::SeqCst));
        let ledger = Ledger::open(Arc::clone(&store) as Arc<dyn Store>, log_key(), now).await?;
        self.recorder.mark(Mark::Published(ledger.published().size()));
        Ok(Running { store, ledger })
    }

    async fn end(&self, Running { store, ledger }: Running, closed: bool) -> Result<()> {
        ledger.shutdown().await;
        drop(ledger);
        let store = Arc::into_inner(store).context("an ended ledger holds its store")?;
        if closed {
            store.close().await?;
        }
        tokio::task::spawn_blocking(move || drop(store)).await?;
        Ok(())
    }

    /// Hands in one unit or several at once, and waits for all answers.
    async fn group(&mut self, ledger: &Ledger, random: &mut Random) -> Result<()> {
        let step = if random.one_in(40) { 1_500_000 } else { random.next() % 20_000 };
        if random.one_in(30) {
            self.clock.fetch_sub(step, Ordering::SeqCst);
        } else {
            self.clock.fetch_add(step, Ordering::SeqCst);
        }
        let count = if random.one_in(4) { random.below(6) + 2 } else { 1 };
        let mut tasks = JoinSet::new();
        for place in 0..count {
            let mut work = self.units.draw();
            // Alone in its group, for what it is told is no version: that is read afterwards.
            while count > 1 && place > 0 && matches!(work, Work::Housekeeping(_)) {
                work = self.units.draw();
            }
            let number = self.submitted;
            self.submitted += 1;
            let (ledger, recorder) = (ledger.clone(), self.recorder.clone());
            tasks.spawn(async move { (number, hand_in(&ledger, &recorder, number, work).await) });
        }
        let mut answers = tasks.join_all().await;
        answers.sort_by_key(|(number, _)| *number);
        for (number, answer) in answers {
            self.learn(number, answer?)?;
        }
        let (mut state, known) = (std::mem::take(&mut self.state), self.model.commits.len());
        while state.sequence < known as u64 {
            let next = state.sequence + 1;
            ensure!(!self.model.commits[next as usize - 1].is_empty(), "commit {next} is nobody's");
            self.model.settle_one(&mut state);
            if next.is_multiple_of(STATE_EVERY) {
                self.states.push(state.clone());
            }
        }
        self.state = state;
        ensure!(ledger.latest().size() == self.state.size, "the log has another size than what was answered");
        Ok(())
    }

    fn learn(&mut self, number: usize, answer: Answer) -> Result<()> {
        match answer {
            Answer::Unit(unit, Ok(Outcome::Committed(committed))) => {
                self.units.committed(&unit, committed.version);
                let version = committed.version;
                self.model.add(version, done(number, *unit, &committed)?);
            }
            Answer::Unit(
                _,
                Ok(
                    Outcome::Conflict { .. }
                    | Outcome::Ceiling { .. }
                    | Outcome::Replayed { .. }
                    | Outcome::IdReused,
                ),
            ) => {}
            Answer::Unit(_, Err(error)) => bail!("a unit was not judged: {error}"),
            Answer::Kept(kept, version) => {
                let key = |key: &countersign_ledger::HousekeepingKey| key.as_bytes().to_vec();
                let done = Done {
                    number,
                    first_index: None,
                    time_ms: 0,
                    records: Vec::new(),
                    puts: kept.puts.iter().map(|(name, value)| (key(name), value.clone())).collect(),
                    deletes: kept.deletes.iter().map(key).collect(),
                    raised: Vec::new(),
                    request: None,
                };
                self.model.add(version, done);
            }
        }
        Ok(())
    }

    /// Lets the publisher's second pass, and waits until it has published.
    async fn publish(&self, ledger: &Ledger) {
        tokio::time::advance(Duration::from_millis(1_001)).await;
        while ledger.published().size() < ledger.latest().size() {
            tokio::task::yield_now().await;
        }
        self.recorder.mark(Mark::Published(ledger.published().size()));
    }

    /// Scrubs the store, at times while units are handed in.
    async fn scrub(&mut self, running: &Running, places: &Places, random: &mut Random) -> Result<()> {
        let sequence = self.state.sequence;
        let gone = gone::gone(&self.model);
        let any = |people: &BTreeMap<Person, PathBuf>| gone.keys().any(|person| people.contains_key(person));
        // Some of those who have gone since the scrub before are still in some file.
        let since = gone.values().filter(|went| **went > self.scrubbed).count();
        ensure!(
            since < SURELY_FOUND || any(&gone::people_in(&places.store)?),
            "a mark is not found where it must be"
        );
        self.recorder.mark(Mark::Scrubbing);
        let store = Arc::clone(&running.store);
        let scrubbing = tokio::spawn(async move { store.scrub(gone::left()).await });
        for turn in 0..random.below(MOST_MEANWHILE) {
            self.group(&running.ledger, random).await?;
            if turn == 1 {
                self.copy_index(places)?;
            }
        }
        scrubbing.await??;
        ensure!(!any(&gone::people_in(&places.store)?), "a scrub leaves data of people who have gone");
        self.recorder.mark(Mark::Scrubbed { sequence, copies: self.copies.len() });
        self.scrubbed = self.state.sequence;
        self.copy_index(places)
    }

    fn copy_index(&mut self, places: &Places) -> Result<()> {
        let copy = places.copies.join(self.copies.len().to_string());
        copy_folder(&places.store.join("sled"), &copy)?;
        self.recorder.mark(Mark::Copied(self.copies.len()));
        self.copies.push(copy);
        Ok(())
    }
}

async fn hand_in(ledger: &Ledger, recorder: &Recorder, number: usize, work: Work) -> Result<Answer> {
    recorder.mark(Mark::Submitted(number));
    match work {
        Work::Unit(unit) => {
            let outcome = ledger.submit((*unit).clone()).await;
            if let Ok(Outcome::Committed(committed)) = &outcome {
                recorder.mark(Mark::Acknowledged(committed.version));
                for receipt in committed.receipts.iter().take(1) {
                    let head = SignedCheckpoint::verify(receipt.checkpoint.clone(), ledger.verifier())?;
                    ProvenRecord::verify(&receipt.record, receipt.index, &receipt.path, head.clone())?;
                    recorder.mark(Mark::HandedOut(head));
                }
            }
            Ok(Answer::Unit(unit, outcome))
        }
        Work::Housekeeping(kept) => {
            ledger.housekeep(kept.clone()).await?;
            let key = kept.puts[0].0.as_bytes();
            let entry = ledger.store().get(key).await?.context("a row was put and isn't there")?;
            recorder.mark(Mark::Acknowledged(entry.version));
            Ok(Answer::Kept(kept, entry.version))
        }
    }
}

fn done(number: usize, unit: Unit, committed: &Committed) -> Result<Done> {
    ensure!(committed.receipts.len() == unit.records.len(), "a receipt for each record");
    let mut records = Vec::new();
    for (draft, receipt) in unit.records.into_iter().zip(&committed.receipts) {
        let streams = draft.streams.iter().chain(&draft.grant).map(|stream| stream.as_bytes().to_vec());
        records.push(Entered {
            record: receipt.record.clone(),
            private: draft.private,
            kind: draft.record.kind,
            streams: streams.collect(),
        });
    }
    Ok(Done {
        number,
        first_index: committed.receipts.first().map(|receipt| receipt.index),
        time_ms: committed.time_ms,
        records,
        puts: unit.puts,
        deletes: unit.deletes,
        raised: unit.ceilings.into_iter().map(|ceiling| (ceiling.counter, ceiling.window_ms)).collect(),
        request: unit.request.map(|request| (request.key, request.digest, request.answer)),
    })
}

/// The folder's own parts.
pub(crate) fn places(folder: &Path) -> Places {
    let disk = folder.join("disk");
    Places { store: disk.join("store"), disk, copies: folder.join("index") }
}
