//! The state after the units judged so far: what they changed, over what the store holds.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use countersign_store::{Batch, Head, Key, Leaf, RequestRow};
use countersign_tlog::Hash;
use countersign_tlog::hash::leaf_hash;
use prost::Message;

use crate::rows::{self, KnownRequest};
use crate::stream::StreamKey;
use crate::tail::Tail;
use crate::unit::{Counter, Draft, ITEM_BYTES, Unit};

const HOUR_MS: u64 = 3_600_000;

/// A row that only the ledger writes, as it is after the units judged so far.
pub(super) struct Own<T> {
    pub(super) value: T,
    /// Whether it has to be written.
    pub(super) changed: bool,
}

/// What the units of one batch change. Nothing of it is visible to anybody before it is durable.
pub(super) struct Pending {
    /// Where the store stands.
    head: Head,
    /// The time of the last record.
    pub(super) time_ms: u64,
    /// Rows as they were put, or deleted. A row is written by one unit of a batch at most.
    rows: HashMap<Key, Option<Bytes>>,
    pub(super) counters: HashMap<Key, Own<Counter>>,
    /// In order, so that those who watch them are woken in the same order each time.
    pub(super) tails: BTreeMap<StreamKey, Own<Tail>>,
    blocks: Vec<(Key, Bytes)>,
    requests: HashMap<Key, KnownRequest>,
    request_rows: Vec<RequestRow>,
    leaves: Vec<Leaf>,
    hashes: Vec<Hash>,
    weight: usize,
    units: usize,
}

/// A unit that was let through.
pub(super) struct Accepted {
    pub(super) first_index: u64,
    pub(super) records: Vec<Bytes>,
    pub(super) time_ms: u64,
    pub(super) counts: Vec<u64>,
}

impl Pending {
    pub(super) fn new(head: Head, time_ms: u64) -> Pending {
        Pending {
            head,
            time_ms,
            rows: HashMap::new(),
            counters: HashMap::new(),
            tails: BTreeMap::new(),
            blocks: Vec::new(),
            requests: HashMap::new(),
            request_rows: Vec::new(),
            leaves: Vec::new(),
            hashes: Vec::new(),
            weight: 0,
            units: 0,
        }
    }

    /// How many units were let through.
    pub(super) fn units(&self) -> usize {
        self.units
    }

    pub(super) fn records(&self) -> usize {
        self.leaves.len()
    }

    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// The version that every row of this batch will have.
    pub(super) fn version(&self) -> u64 {
        self.head.sequence + 1
    }

    /// Whether a unit of this batch put or deleted this row.
    pub(super) fn wrote(&self, key: &Key) -> bool {
        self.rows.contains_key(key)
    }

    /// The version of a row that a unit of this batch wrote; `None` if it deleted it.
    pub(super) fn version_of(&self, key: &Key) -> Option<u64> {
        self.rows.get(key)?.as_ref().map(|_| self.version())
    }

    pub(super) fn request(&self, key: &Key) -> Option<&KnownRequest> {
        self.requests.get(key)
    }

    /// Whether a unit of this batch wrote a row that this one writes too.
    pub(super) fn writes_again(&self, unit: &Unit) -> bool {
        unit.puts.iter().map(|(key, _)| key).chain(&unit.deletes).any(|key| self.wrote(key))
    }

    /// Removes a row that only the ledger writes.
    pub(super) fn delete(&mut self, key: Key) {
        self.weight += key.len() + ITEM_BYTES;
        self.rows.insert(key, None);
    }

    /// Makes a unit's change. The tails of all of its streams, and its counters as they were, have been loaded.
    pub(super) fn accept(&mut self, unit: Unit, time_ms: u64, raised: Vec<(Key, Counter)>) -> Accepted {
        let first_index = self.head.size + self.leaves.len() as u64;
        self.weight += unit.weight();
        self.units += 1;
        if !unit.records.is_empty() {
            self.time_ms = time_ms;
        }
        let numbering = unit.ceilings.iter().position(|ceiling| ceiling.numbers_record);
        let counts: Vec<u64> = raised.iter().map(|(_, counter)| counter.count).collect();
        let mut number = numbering.map(|ceiling| counts[ceiling]);

        for key in unit.deletes {
            self.rows.insert(key, None);
        }
        for (key, value) in unit.puts {
            self.rows.insert(key, Some(value));
        }
        for (key, value) in raised {
            self.counters.insert(key, Own { value, changed: true });
        }
        if let Some(request) = unit.request {
            let remembered = KnownRequest::new(&request, first_index);
            let (hour, value) = (time_ms / HOUR_MS, remembered.encode());
            self.request_rows.push(RequestRow { key: request.key.clone(), hour, value });
            self.requests.insert(request.key, remembered);
        }
        // `take`: the number is the first record's alone.
        let records =
            unit.records.into_iter().map(|draft| self.append(draft, time_ms, number.take())).collect();
        Accepted { first_index, records, time_ms, counts }
    }

    fn append(&mut self, draft: Draft, time_ms: u64, use_number: Option<u64>) -> Bytes {
        let Draft { mut record, private, streams, grant } = draft;
        let index = self.head.size + self.leaves.len() as u64;
        record.time_ms = time_ms;
        if let Some(grant) = &grant {
            record.grant_sequence = self.tails[grant].value.length() + 1;
        }
        if let Some(number) = use_number {
            record.use_number = number;
        }
        for (place, stream) in streams.iter().chain(&grant).enumerate() {
            let again = streams[..place.min(streams.len())].contains(stream);
            if !again {
                self.enter(stream, index, record.kind);
            }
        }
        // The only encoding that there will ever be of this record.
        let bytes = Bytes::from(record.encode_to_vec());
        self.hashes.push(leaf_hash(&bytes));
        self.leaves.push(Leaf { record: bytes.clone(), private });
        bytes
    }

    fn enter(&mut self, stream: &StreamKey, index: u64, kind: i32) {
        let tail = self.tails.get_mut(stream).expect("the judge loads the tails of a unit's streams first");
        tail.changed = true;
        if let Some(block) = tail.value.push(index, kind) {
            self.blocks.push((rows::block_key(stream, index), block));
        }
    }

    /// All changes as one commit, and the leaf hashes of its records. What can be cached stays.
    pub(super) fn take_batch(&mut self) -> (Batch, Vec<Hash>) {
        let mut batch = Batch {
            leaves: std::mem::take(&mut self.leaves),
            requests: std::mem::take(&mut self.request_rows),
            puts: std::mem::take(&mut self.blocks),
            ..Batch::default()
        };
        for (key, row) in self.rows.drain() {
            match row {
                Some(value) => batch.puts.push((key, value)),
                None => batch.deletes.push(key),
            }
        }
        for (counter, own) in self.counters.iter().filter(|(_, own)| own.changed) {
            batch.puts.push((rows::counter_key(counter), rows::encode_counter(own.value)));
        }
        for (stream, own) in self.tails.iter().filter(|(_, own)| own.changed) {
            batch.puts.push((rows::tail_key(stream), own.value.encode()));
        }
        (batch, std::mem::take(&mut self.hashes))
    }
}
