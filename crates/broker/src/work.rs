//! What one call commits: rows, records and expectations, as one unit.

use std::time::Duration;

use bytes::Bytes;
use countersign_grants::{digest::Digest, id::Principal};
use countersign_ledger::{Ceiling, Draft, HousekeepingKey, Outcome, Request, Unit};
use countersign_store::Key;
use prost::Message;

use crate::{
    broker::Broker,
    error::Fault,
    record::{Drafted, Entered, Salts},
    rows::{Loaded, RowKey},
};

/// How often a call loads and judges again when what it rests on was changed meanwhile. Each conflict means that
/// somebody else's call went through, so eight in a row need eight callers at one resource.
pub const MAX_TRIES: usize = 8;

/// How long a caller is told to wait when a ceiling was met that is no fetch's.
const CEILING_WAIT: Duration = Duration::from_secs(1);

/// A unit in the making.
#[derive(Default)]
pub struct Work {
    records: Vec<Draft>,
    salts: Vec<Salts>,
    puts: Vec<(Key, Bytes)>,
    deletes: Vec<Key>,
    expected: Vec<(Key, Option<u64>)>,
    counted: Vec<(Key, u64)>,
    ceilings: Vec<Ceiling>,
    request: Option<(Request, String)>,
}

/// What became of a unit that is not refused.
pub enum Done {
    /// It stands: its records, in their order, and when.
    Committed {
        /// The records with their proofs.
        entered: Vec<Entered>,
        /// The records' time in Unix milliseconds.
        time_ms: u64,
        /// For each ceiling, its count with this unit.
        counts: Vec<u64>,
    },
    /// The same request stood already, with this answer kept beside it.
    Replayed {
        /// The first record of the first time.
        first_index: u64,
        /// What was kept with it.
        answer: Bytes,
    },
    /// What the unit rests on was changed meanwhile: load and judge again.
    Conflict,
}

impl Work {
    /// Expects that there is no such row, and writes it.
    pub fn create<R: Message + Default>(&mut self, key: &RowKey<R>, row: &R) -> Result<(), Fault> {
        self.expect_absent(key);
        self.puts.push((key.as_bytes().to_vec(), key.encode(row)?));
        Ok(())
    }

    /// Expects the row as it was read, and writes it anew.
    pub fn update<R: Message + Default>(&mut self, read: &Loaded<R>, row: &R) -> Result<(), Fault> {
        self.expect(read);
        self.puts.push((read.key.as_bytes().to_vec(), read.key.encode(row)?));
        Ok(())
    }

    /// Writes a row that need not have been there, and expects it as it was looked up: there or not.
    pub fn write<R: Message + Default>(
        &mut self,
        key: &RowKey<R>,
        read: Option<&Loaded<R>>,
        row: &R,
    ) -> Result<(), Fault> {
        match read {
            Some(read) => self.update(read, row),
            None => self.create(key, row),
        }
    }

    /// Enters a resource in an agenda.
    pub fn look_at(&mut self, entry: impl Iterator<Item = (HousekeepingKey, Bytes)>) {
        self.puts.extend(entry.map(|(key, value)| (key.as_bytes().to_vec(), value)));
    }

    /// Removes a resource from an agenda.
    pub fn looked_at(&mut self, key: &HousekeepingKey) {
        self.deletes.push(key.as_bytes().to_vec());
    }

    /// Enters a resource in an index.
    pub fn index(&mut self, entry: &RowKey<String>, name: &str) -> Result<(), Fault> {
        self.puts.push((entry.as_bytes().to_vec(), entry.encode(&name.to_owned())?));
        Ok(())
    }

    /// Removes a row; one that isn't there is no error.
    pub fn delete<R: Message + Default>(&mut self, key: &RowKey<R>) {
        self.deletes.push(key.as_bytes().to_vec());
    }

    /// Removes rows by the bytes of their keys.
    pub fn remove(&mut self, keys: Vec<Key>) {
        self.deletes.extend(keys);
    }

    /// Expects the row as it was read.
    pub fn expect<R: Message + Default>(&mut self, read: &Loaded<R>) {
        self.expected.push((read.key.as_bytes().to_vec(), Some(read.version)));
    }

    /// Expects that there is no such row.
    pub fn expect_absent<R: Message + Default>(&mut self, key: &RowKey<R>) {
        self.expected.push((key.as_bytes().to_vec(), None));
    }

    /// Appends a record; records stand side by side in the order in which they are added.
    pub fn record(&mut self, drafted: Drafted) {
        self.records.push(drafted.draft);
        self.salts.push(drafted.salts);
    }

    /// Expects that a counter has counted no more than this, and leaves it as it is.
    pub fn expect_counted(&mut self, counter: Key, most: u64) {
        self.counted.push((counter, most));
    }

    /// Holds a counter under its ceiling, and counts one.
    pub fn ceiling(&mut self, ceiling: Ceiling) {
        self.ceilings.push(ceiling);
    }

    /// Makes a repeat of the same request harmless: it gets `answer`, once this unit stands.
    pub fn request(&mut self, principal: &Principal, id: &str, digest: Digest, answer: Bytes) {
        let request = Request { key: request_key(principal, id), digest: *digest.as_bytes(), answer };
        self.request = Some((request, id.to_owned()));
    }

    /// The unit for the ledger, and what opens its records, for those who submit it themselves.
    pub fn into_unit(self) -> (Unit, Vec<Salts>) {
        let unit = Unit {
            records: self.records,
            puts: self.puts,
            deletes: self.deletes,
            expected: self.expected,
            counted: self.counted,
            ceilings: self.ceilings,
            request: self.request.map(|(request, _)| request),
        };
        (unit, self.salts)
    }
}

/// Where a request id of a principal stands. It outlasts an erasure by hours, and says nothing to whoever does not know
/// the id, which is random: so it is a digest of the two.
pub fn request_key(principal: &Principal, id: &str) -> Key {
    let named = [principal.to_string().as_bytes(), &[0], id.as_bytes()].concat();
    Digest::of(&named).as_bytes().to_vec()
}

impl Broker {
    /// Commits. From here on the records are public, and a crash recovers forward.
    pub async fn commit(&self, work: Work) -> Result<Done, Fault> {
        let request_id = work.request.as_ref().map(|(_, id)| id.clone()).unwrap_or_default();
        let (unit, salts) = work.into_unit();
        match self.ledger().submit(unit).await? {
            Outcome::Committed(committed) => {
                let entered = committed
                    .receipts
                    .into_iter()
                    .zip(salts)
                    .map(|(receipt, salts)| Entered { receipt, salts })
                    .collect();
                Ok(Done::Committed { entered, time_ms: committed.time_ms, counts: committed.counts })
            }
            Outcome::Conflict { .. } => Ok(Done::Conflict),
            Outcome::Replayed { first_index, answer } => Ok(Done::Replayed { first_index, answer }),
            Outcome::IdReused => Err(Fault::RequestIdReused { request_id }),
            Outcome::Ceiling { retry_after_ms, .. } => Err(Fault::QuotaExceeded {
                quota: "uses",
                retry_after: Some(retry_after_ms.map_or(CEILING_WAIT, Duration::from_millis)),
            }),
        }
    }

    /// Commits work that carries no request id. Nothing means a conflict: load and judge again.
    pub async fn enter(&self, work: Work) -> Result<Option<Vec<Entered>>, Fault> {
        match self.commit(work).await? {
            Done::Committed { entered, .. } => Ok(Some(entered)),
            Done::Conflict => Ok(None),
            Done::Replayed { .. } => Err(Fault::Bug { what: "work without a request id was replayed" }),
        }
    }
}

/// Tries until an attempt goes through; `None` means that it met a conflict.
pub async fn settle<T, F, A>(row: &'static str, mut attempt: A) -> Result<T, Fault>
where
    A: FnMut() -> F,
    F: Future<Output = Result<Option<T>, Fault>>,
{
    for _ in 0..MAX_TRIES {
        if let Some(done) = attempt().await? {
            return Ok(done);
        }
    }
    Err(Fault::Contended { row })
}
