//! What callers hand in, and the bounds that it is held to before it is queued.

use bytes::Bytes;
use countersign_proto::log::v1::Record;
use countersign_store::{Key, Limit, MAX_KEY_BYTES, MAX_PRIVATE_BYTES, MAX_VALUE_BYTES};
use prost::Message;

use crate::rows;
use crate::stream::StreamKey;
use crate::tail::BLOCK_ITEMS;

/// The longest record. Two names of at most 74 bytes, purpose, reason, three commitments, two random ids, the
/// catalogue's hash and five numbers are under 600 bytes.
pub const MAX_RECORD_BYTES: usize = 1_024;

/// Records in one unit. The largest known is an approval of seven rows, each with its neighbours; a notice of change
/// has one for each standing grant, and its caller splits it beyond this.
pub const MAX_UNIT_RECORDS: usize = 128;

/// Streams that one record is entered in: source, recipient, customer, grant, and as many again in reserve.
pub const MAX_STREAMS: usize = 8;

/// The longest name of a stream: its rows' keys add 20 bytes, and a key has at most 256.
pub const MAX_STREAM_BYTES: usize = 200;

/// Conditions of each sort in one unit: a release has three expected rows and three ceilings, an approval of seven
/// rows seven times as many rows.
pub const MAX_CONDITIONS: usize = 64;

/// Rows that one unit puts or deletes.
pub const MAX_ROWS: usize = 1_024;

/// The longest answer that is kept with a request: a name or two, and no payload.
pub const MAX_ANSWER_BYTES: usize = 1_024;

/// The most that a unit may weigh: a quarter of what one commit can hold, so that neighbours always fit beside it.
pub const MAX_UNIT_BYTES: usize = countersign_store::MAX_BATCH_BYTES / 4;

/// What the ledger adds to a record: three varints of at most ten bytes, each after a tag.
const FILLED_IN_BYTES: usize = 3 * 11;

/// The longest item of a stream: an index and a kind, as varints of 64 and 31 bits.
pub(crate) const MAX_ITEM_BYTES: usize = 10 + 5;

/// What one entry in a stream costs a commit at most: a packed block and a new tail, with their keys.
const STREAM_ENTRY_BYTES: usize = 2 * (BLOCK_ITEMS as usize * MAX_ITEM_BYTES + MAX_KEY_BYTES);

/// What an item costs beside its bytes, as the store counts.
pub(crate) const ITEM_BYTES: usize = 16;

/// One unit of work: all of it becomes durable, or none.
///
/// It is judged in this order: the request, the expected versions, the counts, the ceilings.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    /// What enters the log, in order; at least one. A unit's records stand side by side.
    pub records: Vec<Draft>,
    /// Rows to write; the last of a key stands.
    pub puts: Vec<(Key, Bytes)>,
    /// Rows to remove, before the puts. One that isn't there is no error.
    pub deletes: Vec<Key>,
    /// Rows that must be at this version; `None`: must not be there.
    pub expected: Vec<(Key, Option<u64>)>,
    /// Counters that must have counted no more than this, ever; the unit leaves them as they are. One that has is a
    /// conflict, as a row of another version is.
    pub counted: Vec<(Key, u64)>,
    /// Counters that this unit raises by one each.
    pub ceilings: Vec<Ceiling>,
    /// What makes a repeat harmless.
    pub request: Option<Request>,
}

/// A record before it has its place.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The record. The ledger fills in `time_ms`, with a [`grant`](Draft::grant) `grant_sequence`, and by
    /// [`Ceiling::numbers_record`] `use_number`; all else is the caller's.
    pub record: Record,
    /// Ciphertext to be kept beside it.
    pub private: Bytes,
    /// The streams that it is entered in.
    pub streams: Vec<StreamKey>,
    /// The stream of the grant that it belongs to: it is entered there too, and its place there, from 1, is the
    /// record's `grant_sequence`.
    pub grant: Option<StreamKey>,
}

/// A bound on how often something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// The counter's name.
    pub counter: Key,
    /// How long a window lasts. It begins with the first use after the former one has ended. `None`: for ever.
    pub window_ms: Option<u64>,
    /// Uses within a window.
    pub at_most: u64,
    /// Whether the count after this unit becomes the `use_number` of the unit's first record.
    pub numbers_record: bool,
}

/// A counter as it was last written. Whether its window has ended is for the reader to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Uses in the window.
    pub count: u64,
    /// When the window began, in Unix milliseconds.
    pub window_start_ms: u64,
}

/// What makes a repeated unit harmless. It is remembered for at least an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks, and the id that they chose.
    pub key: Key,
    /// What they asked, hashed: another digest under the same key is refused.
    pub digest: [u8; 32],
    /// What a repeat is told, beside the index of the first record; at most [`MAX_ANSWER_BYTES`].
    pub answer: Bytes,
}

/// A change that needs no record, since it is about the broker's own running and nothing that a party could rely on:
/// how far a sweeper got, what was delivered.
#[derive(Clone, Debug, Default)]
pub struct Housekeeping {
    /// Rows to write.
    pub puts: Vec<(HousekeepingKey, Bytes)>,
    /// Rows to remove, before the puts.
    pub deletes: Vec<HousekeepingKey>,
}

/// What goes of a customer who was erased, after the record that says so. It removes and writes nothing.
#[derive(Clone, Debug, Default)]
pub struct Erasure {
    /// The index of the record that says so.
    pub record: u64,
    /// Rows to remove; one that isn't there is no error.
    pub deletes: Vec<Key>,
    /// The stream that goes, as many of its rows as the unit has room for, the oldest first.
    pub stream: Option<StreamKey>,
}

/// A key that may be written without a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HousekeepingKey(Key);

impl HousekeepingKey {
    /// The key with this name: `h/` and then the name.
    pub fn new(name: impl AsRef<[u8]>) -> HousekeepingKey {
        HousekeepingKey([rows::HOUSEKEEPING, name.as_ref()].concat())
    }

    /// The whole key, for reading.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A bound that a unit breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A change needs its record.
    #[error("a unit without a record changes nothing")]
    NoRecord,
    /// Too many of something.
    #[error("{count} {what} are more than {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The bound.
        most: usize,
    },
    /// Something is too long.
    #[error("{what} of {bytes} bytes is over {most}")]
    TooLong {
        /// What.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The bound.
        most: usize,
    },
    /// A stream or counter without a name.
    #[error("{what} has no name")]
    Unnamed {
        /// What.
        what: &'static str,
    },
    /// A key of the ledger's own.
    #[error("the key {:?} is the ledger's own", String::from_utf8_lossy(.key))]
    Reserved {
        /// The key.
        key: Key,
    },
    /// A bound of the store.
    #[error(transparent)]
    Store(Limit),
}

impl Housekeeping {
    /// As the judge takes it. From outside no unit without a record gets there.
    pub(crate) fn into_unit(self) -> Unit {
        Unit {
            puts: self.puts.into_iter().map(|(key, value)| (key.0, value)).collect(),
            deletes: self.deletes.into_iter().map(|key| key.0).collect(),
            ..Unit::default()
        }
    }
}

impl Erasure {
    /// As the judge takes it, with the stream beside it. From outside no unit without a record gets there.
    pub(crate) fn into_unit(self) -> Result<(Unit, Option<StreamKey>), UnitError> {
        let unit = Unit { deletes: self.deletes, ..Unit::default() };
        unit.check_bounds()?;
        if let Some(stream) = &self.stream {
            named("a stream's name", stream.as_bytes(), MAX_STREAM_BYTES)?;
        }
        Ok((unit, self.stream))
    }
}

impl Unit {
    /// Holds what a caller hands in against the bounds.
    pub(crate) fn check(&self) -> Result<(), UnitError> {
        if self.records.is_empty() { Err(UnitError::NoRecord) } else { self.check_bounds() }
    }

    /// As [`check`](Unit::check), for housekeeping too.
    pub(crate) fn check_bounds(&self) -> Result<(), UnitError> {
        at_most("records", self.records.len(), MAX_UNIT_RECORDS)?;
        at_most("rows", self.puts.len() + self.deletes.len(), MAX_ROWS)?;
        at_most("expected rows", self.expected.len(), MAX_CONDITIONS)?;
        at_most("counts", self.counted.len(), MAX_CONDITIONS)?;
        at_most("ceilings", self.ceilings.len(), MAX_CONDITIONS)?;
        self.records.iter().try_for_each(Draft::check)?;
        for (key, value) in &self.puts {
            check_key(key)?;
            if value.len() > MAX_VALUE_BYTES {
                return Err(UnitError::Store(Limit::Value { bytes: value.len() }));
            }
        }
        self.deletes.iter().try_for_each(check_key)?;
        self.expected.iter().try_for_each(|(key, _)| check_key(key))?;
        let counters = self.counted.iter().map(|(counter, _)| counter);
        for counter in counters.chain(self.ceilings.iter().map(|ceiling| &ceiling.counter)) {
            named("a counter's name", counter, MAX_KEY_BYTES - rows::COUNTERS.len())?;
        }
        if let Some(request) = &self.request {
            named("a request's key", &request.key, MAX_KEY_BYTES)?;
            no_longer("an answer", request.answer.len(), MAX_ANSWER_BYTES)?;
        }
        no_longer("a unit", self.weight(), MAX_UNIT_BYTES)
    }

    /// What the unit adds to the weight of a commit, at most.
    pub(crate) fn weight(&self) -> usize {
        let records: usize = self.records.iter().map(Draft::weight).sum();
        let puts: usize = self.puts.iter().map(|(key, value)| key.len() + value.len() + ITEM_BYTES).sum();
        let deletes: usize = self.deletes.iter().map(|key| key.len() + ITEM_BYTES).sum();
        let request = self.request.as_ref().map_or(0, |request| {
            request.key.len() + rows::REQUEST_HEAD_BYTES + request.answer.len() + ITEM_BYTES
        });
        let counters = self.ceilings.len() * (MAX_KEY_BYTES + rows::COUNTER_BYTES + ITEM_BYTES);
        records + puts + deletes + request + counters
    }
}

impl Draft {
    fn check(&self) -> Result<(), UnitError> {
        no_longer("a record", self.record.encoded_len() + FILLED_IN_BYTES, MAX_RECORD_BYTES)?;
        no_longer("a private part", self.private.len(), MAX_PRIVATE_BYTES)?;
        at_most(
            "streams of one record",
            self.streams.len() + usize::from(self.grant.is_some()),
            MAX_STREAMS,
        )?;
        self.streams
            .iter()
            .chain(&self.grant)
            .try_for_each(|stream| named("a stream's name", stream.as_bytes(), MAX_STREAM_BYTES))
    }

    fn weight(&self) -> usize {
        let streams = self.streams.len() + usize::from(self.grant.is_some());
        MAX_RECORD_BYTES + self.private.len() + ITEM_BYTES + streams * STREAM_ENTRY_BYTES
    }
}

fn check_key(key: &Key) -> Result<(), UnitError> {
    if !(1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Err(UnitError::Store(Limit::Key { bytes: key.len() }));
    }
    if rows::is_ours(key) { Err(UnitError::Reserved { key: key.clone() }) } else { Ok(()) }
}

fn named(what: &'static str, name: &[u8], most: usize) -> Result<(), UnitError> {
    if name.is_empty() { Err(UnitError::Unnamed { what }) } else { no_longer(what, name.len(), most) }
}

fn no_longer(what: &'static str, bytes: usize, most: usize) -> Result<(), UnitError> {
    if bytes > most { Err(UnitError::TooLong { what, bytes, most }) } else { Ok(()) }
}

fn at_most(what: &'static str, count: usize, most: usize) -> Result<(), UnitError> {
    if count > most { Err(UnitError::TooMany { what, count, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "a case is written where it is checked")]
    fn check(unit: Unit, expected: Result<(), UnitError>) {
        assert_eq!(unit.check(), expected);
    }

    fn unit() -> Unit {
        Unit { records: vec![Draft::default()], ..Unit::default() }
    }

    fn key(length: usize) -> Key {
        vec![b'k'; length]
    }

    #[test]
    fn a_unit_keeps_within_its_bounds() {
        check(unit(), Ok(()));
        check(Unit::default(), Err(UnitError::NoRecord));
        check(Unit { puts: vec![(key(1), Bytes::new())], ..Unit::default() }, Err(UnitError::NoRecord));
        check(Unit { puts: vec![(key(256), vec![0; 4_000].into())], ..unit() }, Ok(()));
        for (what, bad) in [("put", 0), ("put", 257), ("delete", 0), ("expected", 257)] {
            let mut unit = unit();
            match what {
                "put" => unit.puts.push((key(bad), Bytes::new())),
                "delete" => unit.deletes.push(key(bad)),
                _ => unit.expected.push((key(bad), None)),
            }
            check(unit, Err(UnitError::Store(Limit::Key { bytes: bad })));
        }
        check(
            Unit { puts: vec![(key(1), vec![0; 4_001].into())], ..unit() },
            Err(UnitError::Store(Limit::Value { bytes: 4_001 })),
        );
        for ours in [b"c/x".to_vec(), b"s/x".to_vec()] {
            check(Unit { deletes: vec![ours.clone()], ..unit() }, Err(UnitError::Reserved { key: ours }));
        }
        let records = vec![Draft::default(); 129];
        check(
            Unit { records, ..Unit::default() },
            Err(UnitError::TooMany { what: "records", count: 129, most: 128 }),
        );
    }

    #[test]
    fn a_draft_keeps_within_its_bounds() {
        let draft = |draft: Draft| Unit { records: vec![draft], ..Unit::default() };
        let record = Record { reason: "x".repeat(1_000), ..Record::default() };
        let bytes = record.encoded_len() + FILLED_IN_BYTES;
        check(
            draft(Draft { record, ..Draft::default() }),
            Err(UnitError::TooLong { what: "a record", bytes, most: 1_024 }),
        );
        let streams = vec![StreamKey::from("s"); 8];
        check(draft(Draft { streams: streams.clone(), ..Draft::default() }), Ok(()));
        check(
            draft(Draft { streams, grant: Some("g".into()), ..Draft::default() }),
            Err(UnitError::TooMany { what: "streams of one record", count: 9, most: 8 }),
        );
        check(
            draft(Draft { streams: vec!["".into()], ..Draft::default() }),
            Err(UnitError::Unnamed { what: "a stream's name" }),
        );
        check(
            draft(Draft { grant: Some("x".repeat(201).into()), ..Draft::default() }),
            Err(UnitError::TooLong { what: "a stream's name", bytes: 201, most: 200 }),
        );
        let heavy = Draft { private: vec![0; MAX_PRIVATE_BYTES].into(), ..Draft::default() };
        let unit = Unit { records: vec![heavy; 128], ..Unit::default() };
        let bytes = unit.weight();
        check(unit, Err(UnitError::TooLong { what: "a unit", bytes, most: MAX_UNIT_BYTES }));
    }
}
