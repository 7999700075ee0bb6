//! What the store must hold after each commit, worked out from what was handed in and answered.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes};
use countersign_store::{Key, REQUEST_HOURS};
use prost::encoding::encode_varint;

const HOUR_MS: u64 = 3_600_000;
const BLOCK_ITEMS: u64 = 128;

/// A unit that was committed.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// Its number among all that were submitted.
    pub(crate) number: usize,
    /// The index of its first record; of housekeeping, none.
    pub(crate) first_index: Option<u64>,
    pub(crate) time_ms: u64,
    pub(crate) records: Vec<Entered>,
    pub(crate) puts: Vec<(Key, Bytes)>,
    pub(crate) deletes: Vec<Key>,
    /// Counters that were raised, with their windows.
    pub(crate) raised: Vec<(Key, Option<u64>)>,
    pub(crate) request: Option<(Key, [u8; 32], Bytes)>,
}

/// A record as it stands in the log.
#[derive(Clone, Debug)]
pub(crate) struct Entered {
    pub(crate) record: Bytes,
    pub(crate) private: Bytes,
    pub(crate) kind: i32,
    pub(crate) streams: Vec<Vec<u8>>,
}

/// All commits, in order: the first reached sequence 1.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) commits: Vec<Vec<Done>>,
    pub(crate) records: Vec<Bytes>,
    pub(crate) private: Vec<Bytes>,
}

/// What a store holds.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) sequence: u64,
    pub(crate) size: u64,
    /// All rows, the ledger's own too, with their versions.
    pub(crate) rows: BTreeMap<Key, (Bytes, u64)>,
    requests: BTreeMap<Key, (u64, Bytes)>,
    newest_hour: u64,
    counters: BTreeMap<Key, (u64, u64)>,
    tails: BTreeMap<Vec<u8>, Tail>,
}

#[derive(Clone, Default)]
struct Tail {
    length: u64,
    last: u64,
    items: Vec<u8>,
}

impl Model {
    /// Adds what the commit of this sequence did, in any order.
    pub(crate) fn add(&mut self, sequence: u64, done: Done) {
        let place = sequence as usize - 1;
        if self.commits.len() <= place {
            self.commits.resize_with(place + 1, Vec::new);
        }
        let commit = &mut self.commits[place];
        commit.push(done);
        commit.sort_by_key(|done| done.first_index);
    }

    /// Makes the next commit of a state, and adds its records.
    pub(crate) fn settle_one(&mut self, state: &mut State) {
        let commit = &self.commits[state.sequence as usize];
        for entered in commit.iter().flat_map(|done| &done.records) {
            self.records.push(entered.record.clone());
            self.private.push(entered.private.clone());
        }
        state.apply(commit);
    }
}

impl State {
    /// Makes the next commit.
    pub(crate) fn apply(&mut self, commit: &[Done]) {
        self.sequence += 1;
        for done in commit {
            for key in &done.deletes {
                self.rows.remove(key);
            }
            for (key, value) in &done.puts {
                self.rows.insert(key.clone(), (value.clone(), self.sequence));
            }
            for (counter, window) in &done.raised {
                self.raise(counter, *window, done.time_ms);
            }
            if let Some((key, digest, answer)) = &done.request {
                let mut value = digest.to_vec();
                value.put_u64(done.first_index.unwrap_or_default());
                value.put_slice(answer);
                let hour = done.time_ms / HOUR_MS;
                self.requests.insert(key.clone(), (hour, value.into()));
                self.newest_hour = self.newest_hour.max(hour);
            }
            for entered in &done.records {
                for stream in &entered.streams {
                    self.enter(stream, entered.kind);
                }
                self.size += 1;
            }
        }
    }

    /// What each request that was ever made is remembered as now: `None` once it is forgotten.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (&Key, Option<&Bytes>)> {
        let stale = |hour: u64| hour + REQUEST_HOURS <= self.newest_hour;
        self.requests.iter().map(move |(key, (hour, value))| (key, (!stale(*hour)).then_some(value)))
    }

    fn raise(&mut self, counter: &Key, window: Option<u64>, time_ms: u64) {
        let (count, start) = self.counters.entry(counter.clone()).or_default();
        if *count == 0 || window.is_some_and(|window| start.saturating_add(window) <= time_ms) {
            (*count, *start) = (0, time_ms);
        }
        *count += 1;
        let mut value = Vec::new();
        encode_varint(*count, &mut value);
        encode_varint(*start, &mut value);
        self.rows.insert([b"c/", counter.as_slice()].concat(), (value.into(), self.sequence));
    }

    fn enter(&mut self, stream: &[u8], kind: i32) {
        let (index, sequence) = (self.size, self.sequence);
        let tail = self.tails.entry(stream.to_vec()).or_default();
        let before = if tail.items.is_empty() { 0 } else { tail.last };
        encode_varint(index - before, &mut tail.items);
        encode_varint(u64::from(kind.unsigned_abs()), &mut tail.items);
        tail.last = index;
        tail.length += 1;
        let mut key = [b"s/", [stream.len() as u8].as_slice(), stream].concat();
        if tail.length.is_multiple_of(BLOCK_ITEMS) {
            let block = [&key, b"b".as_slice(), &index.to_be_bytes()].concat();
            self.rows.insert(block, (std::mem::take(&mut tail.items).into(), sequence));
        }
        key.push(b't');
        let mut value = Vec::new();
        encode_varint(tail.length, &mut value);
        encode_varint(tail.last, &mut value);
        value.extend_from_slice(&tail.items);
        self.rows.insert(key, (value.into(), sequence));
    }
}
