//! An image is opened, and held against what was acknowledged.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use countersign_ledger::{Draft, Ledger, Outcome, Unit};
use countersign_proto::log::v1::{Kind, Record};
use countersign_store::{MAX_KEY_BYTES, Store};
use countersign_store_sled::{SledStore, doors, files::Files};
use countersign_tlog::{ProvenRecord, SignedCheckpoint};
use tokio::time::Instant;

use crate::{
    gone,
    model::{Model, State},
    random::Random,
    record::{Mark, Recorder},
    scenario::{Recording, STATE_EVERY, log_key, options},
    worldcheck::{self, Finding, Keys},
};

/// What was known when the power went.
#[derive(Clone, Default)]
pub(crate) struct Known {
    /// The last commit that was acknowledged.
    pub(crate) acknowledged: u64,
    /// The last commit all of whose units had been handed in.
    pub(crate) submitted: u64,
    /// The size that was seen published.
    pub(crate) published: u64,
    /// Whether a scrub has begun.
    pub(crate) scrubbing: bool,
    /// The commit up to which all that was deleted is off the disk.
    pub(crate) scrubbed: u64,
    /// Every head that was handed out, in order.
    pub(crate) heads: Vec<SignedCheckpoint>,
}

/// Heads that are compared in each image, beside the last.
const HEADS_COMPARED: usize = 3;

/// Forgotten requests that are asked for in each image: one in so many.
const FORGOTTEN_ONE_IN: usize = 16;

/// Images that are checked whole once more after the log has gone on: one in so many.
const CHECKED_AFTER_ONE_IN: usize = 4;

/// Images that are scrubbed after that: one in so many.
const SCRUBBED_AFTER_ONE_IN: usize = 8;

/// What opening an image took.
pub(crate) struct Opened {
    pub(crate) took: Duration,
    /// Whether it was found as it was closed, and so not read.
    pub(crate) believed: bool,
}

/// Opens the store, checks it, lets it go on and checks it again.
pub(crate) async fn check(
    folder: &Path,
    files: Arc<dyn Files>,
    recorder: Option<&Recorder>,
    recording: &Recording,
    known: &Known,
    random: &mut Random,
) -> Result<Opened, Finding> {
    forgotten(folder, recording, known.scrubbed, "the disk")?;
    let begun = Instant::now();
    let store = SledStore::open_on(files, folder, options()).await;
    let store = store.map_err(|error| Finding(format!("the store doesn't open: {error}")))?;
    let (took, believed) = (begun.elapsed(), doors::was_believed(&store));
    let store = Arc::new(store);
    let checked = opened(&store, folder, recording, known, recorder, random).await;
    let closed = tokio::task::spawn_blocking(move || drop(store)).await;
    closed.map_err(|error| Finding(format!("the store doesn't end: {error}")))?;
    checked.map(|()| Opened { took, believed })
}

async fn opened(
    store: &Arc<SledStore>,
    folder: &Path,
    recording: &Recording,
    known: &Known,
    recorder: Option<&Recorder>,
    random: &mut Random,
) -> Result<(), Finding> {
    let Recording { model, states, gone, .. } = recording;
    let head = store.head();
    ensure(head.sequence >= known.acknowledged, || {
        format!("commit {} was acknowledged, and the store stands at {}", known.acknowledged, head.sequence)
    })?;
    ensure(head.sequence <= known.submitted, || {
        format!(
            "the store stands at commit {}, and only {} were handed in whole",
            head.sequence, known.submitted
        )
    })?;
    let state = state_at(model, states, head.sequence);
    ensure(head.size == state.size, || {
        format!("commit {} leaves {} records, and the store has {}", head.sequence, state.size, head.size)
    })?;
    rows(store.as_ref(), &state, random).await?;

    let key = log_key();
    let keys = Keys { log: key.verifier().clone(), broker: None };
    let summary = worldcheck::log(store.as_ref(), folder, &keys).await?;
    let size = state.size as usize;
    ensure(summary.records[..] == model.records[..size], || {
        format!("the records up to commit {} are others than those that were acknowledged", head.sequence)
    })?;
    let private = store.private_parts(0..u64::MAX).await.unwrap_or_default();
    ensure(private.len() == size, || format!("{} private parts of {size} can be read", private.len()))?;
    for (index, (found, due)) in private.iter().zip(&model.private).enumerate() {
        let has_gone =
            gone::whose(due).and_then(|person| gone.get(&person)).is_some_and(|went| *went <= head.sequence);
        let blanked = known.scrubbing && has_gone && gone::is_blank_of(found, due);
        ensure(found == due || blanked, || {
            format!("the private part of record {index} is another than the one that was handed in")
        })?;
    }
    ensure(summary.published >= known.published, || {
        format!(
            "{} records were seen published, and the checkpoint says {}",
            known.published, summary.published
        )
    })?;
    let drawn: Vec<usize> = (0..HEADS_COMPARED).map(|_| random.below(known.heads.len())).collect();
    for head in
        known.heads.last().into_iter().chain(drawn.into_iter().filter_map(|place| known.heads.get(place)))
    {
        summary.contains(head)?;
    }
    goes_on(store, folder, &keys, &state, recorder, random).await?;
    forgotten(folder, recording, known.scrubbed, "the store that was opened")?;
    if random.one_in(SCRUBBED_AFTER_ONE_IN) {
        let scrubbed = store.scrub(gone::left()).await;
        scrubbed.map_err(|error| Finding(format!("a scrub after the cut: {error}")))?;
        forgotten(folder, recording, state.sequence, "a store that was scrubbed after the cut")?;
    }
    Ok(())
}

/// Whoever had gone by a commit is in no file.
fn forgotten(folder: &Path, recording: &Recording, by: u64, what: &str) -> Result<(), Finding> {
    if by == 0 {
        return Ok(());
    }
    let found = gone::people_in(folder).map_err(|error| Finding(format!("a file can't be read: {error}")))?;
    let had_gone = |person| recording.gone.get(person).is_some_and(|went| *went <= by);
    match found.iter().find(|(person, _)| had_gone(*person)) {
        Some((person, path)) => {
            let path = path.display();
            Err(Finding(format!(
                "{what} has data of person {person}, who had gone by commit {by}, in {path}"
            )))
        }
        None => Ok(()),
    }
}

/// Every row and every request.
async fn rows(store: &dyn Store, state: &State, random: &mut Random) -> Result<(), Finding> {
    let unreadable = |error| Finding(format!("a row can't be read: {error}"));
    let found =
        store.scan(Vec::new()..vec![0xff; MAX_KEY_BYTES + 1], usize::MAX).await.map_err(unreadable)?;
    let mut expected = state.rows.iter();
    let sequence = state.sequence;
    for (key, entry) in found {
        let name = key.escape_ascii();
        match expected.next() {
            Some((due, (value, version))) if *due == key => {
                ensure(entry.version == *version, || {
                    format!(
                        "the row {name} has version {} at commit {sequence}, not {version}",
                        entry.version
                    )
                })?;
                ensure(entry.value == *value, || {
                    format!("the row {name} has another value at commit {sequence}")
                })?;
            }
            Some((due, _)) if *due < key => {
                return Err(Finding(format!(
                    "the row {} is missing at commit {sequence}",
                    due.escape_ascii()
                )));
            }
            _ => {
                return Err(Finding(format!("the row {name} is there at commit {sequence} and must not be")));
            }
        }
    }
    if let Some((due, _)) = expected.next() {
        return Err(Finding(format!("the row {} is missing at commit {sequence}", due.escape_ascii())));
    }
    for (key, expected) in state.requests() {
        if expected.is_none() && !random.one_in(FORGOTTEN_ONE_IN) {
            continue;
        }
        let found = store.request(key).await.map_err(unreadable)?;
        ensure(found.as_ref() == expected, || {
            let name = key.escape_ascii();
            format!("the request {name} is remembered as {found:?} at commit {sequence}, not as {expected:?}")
        })?;
    }
    Ok(())
}

/// The log opens, publishes what was not, takes a unit, and all of it holds again.
async fn goes_on(
    store: &Arc<SledStore>,
    folder: &Path,
    keys: &Keys,
    state: &State,
    recorder: Option<&Recorder>,
    random: &mut Random,
) -> Result<(), Finding> {
    let time_ms = u64::MAX / 2;
    let ledger =
        Ledger::open(Arc::clone(store) as Arc<dyn Store>, log_key(), Arc::new(move || time_ms)).await;
    let ledger = ledger.map_err(|error| Finding(format!("the log doesn't open: {error}")))?;
    ensure(ledger.published().size() == state.size, || "opening doesn't publish the head".to_owned())?;
    if let Some(recorder) = recorder {
        recorder.mark(Mark::Checked);
    }
    let mut record =
        Record { version: 1, record_id: Bytes::from_static(b"after the cut"), ..Record::default() };
    record.set_kind(Kind::CataloguePublished);
    let streams = vec!["partners/0000".into()];
    let draft = Draft { record, private: Bytes::from_static(b"sealed"), streams, grant: None };
    let unit = Unit { records: vec![draft], ..Unit::default() };
    let outcome = ledger.submit(unit).await;
    ledger.shutdown().await;
    drop(ledger);
    let Ok(Outcome::Committed(committed)) = outcome else {
        return Err(Finding(format!("a unit after the cut is not committed: {outcome:?}")));
    };
    let [receipt] = &committed.receipts[..] else {
        return Err(Finding("a unit with one record has other than one receipt".to_owned()));
    };
    let proven = SignedCheckpoint::verify(receipt.checkpoint.clone(), &keys.log)
        .is_ok_and(|head| ProvenRecord::verify(&receipt.record, receipt.index, &receipt.path, head).is_ok());
    ensure(proven && receipt.index == state.size && committed.version == state.sequence + 1, || {
        format!("a unit after the cut gets record {} and version {}", receipt.index, committed.version)
    })?;
    // Nothing is left to make again, so this is the dearer half; what opening mends shows in some images as in all.
    if random.one_in(CHECKED_AFTER_ONE_IN) {
        let summary = worldcheck::log(store.as_ref(), folder, keys).await?;
        ensure(summary.published == state.size + 1, || "a unit after the cut isn't published".to_owned())?;
    }
    Ok(())
}

fn state_at(model: &Model, states: &[State], sequence: u64) -> State {
    let mut state = states[(sequence / STATE_EVERY) as usize].clone();
    for commit in &model.commits[state.sequence as usize..sequence as usize] {
        state.apply(commit);
    }
    state
}

fn ensure(holds: bool, finding: impl FnOnce() -> String) -> Result<(), Finding> {
    if holds { Ok(()) } else { Err(Finding(finding())) }
}
