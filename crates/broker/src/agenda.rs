//! What is to be looked at, and when.
//!
//! Entries are housekeeping: each can be moved or dropped without a record, since nothing rests on them but when
//! somebody looks. What is then found decides, and an entry too many costs one look.

use std::ops::Range;

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    id::CustomerName,
    time::{Timestamp, draw},
};
use countersign_ledger::{Housekeeping, HousekeepingKey};
use countersign_store::Key;

use crate::{
    broker::{Broker, damaged},
    error::Fault,
    rows,
};

/// The resources of one kind, by when they are looked at.
#[derive(Clone, Copy)]
pub struct Agenda {
    name: &'static str,
    /// Where the entries of each resource stand once more, by its name, so that they are found without all others.
    of_each: Option<&'static str>,
}

/// The customers for whom something waits to be shown.
pub const ASKED: Agenda = Agenda { name: "asked", of_each: Some("asked-of") };

/// The grants that end before long, by when that is told.
pub const EXPIRING: Agenda = Agenda { name: "expiring", of_each: None };

/// The customers a link of whose account ended, by when the account is abandoned for so long that it may be erased.
pub const ABANDONED: Agenda = Agenda { name: "abandoned", of_each: Some("abandoned-of") };

/// What was removed and is to leave the disk, by when that was.
pub const REMOVED: Agenda = Agenda { name: "removed", of_each: None };

/// Operators' orders that what was removed leave the disk at once, each by until when it was removed.
pub const SCRUBS: Agenda = Agenda { name: "scrubs", of_each: None };

/// Where an entry stands in its agenda: a time and a digest.
const PLACE_BYTES: usize = 8 + 32;

/// One entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The time that it is placed by, in milliseconds of Unix time.
    pub(crate) at: u64,
    pub(crate) digest: [u8; 32],
    /// The resource's name.
    pub name: String,
}

impl Agenda {
    /// The rows of an entry at this moment. Whoever adds one takes a digest that nobody else takes: who looks drops what
    /// it has read, and must not drop another's that came meanwhile.
    pub fn entry(
        self,
        at: Timestamp,
        digest: Digest,
        name: &str,
    ) -> impl Iterator<Item = (HousekeepingKey, Bytes)> + use<> {
        let of_it = self.of_it(at.as_millis(), digest.as_bytes(), name);
        let of_it = of_it.map(|key| (key, Bytes::new()));
        [(self.key(at, digest), Bytes::from(name.to_owned()))].into_iter().chain(of_it)
    }

    /// The key of an entry at this moment.
    pub fn key(self, at: Timestamp, digest: Digest) -> HousekeepingKey {
        self.place(at.as_millis(), digest.as_bytes())
    }

    fn place(self, at: u64, digest: &[u8; 32]) -> HousekeepingKey {
        HousekeepingKey::new([self.name.as_bytes(), b"/", &at.to_be_bytes(), digest].concat())
    }

    fn of_it(self, at: u64, digest: &[u8; 32], name: &str) -> Option<HousekeepingKey> {
        let list = self.of_each?.as_bytes();
        let key = [list, b"/", name.as_bytes(), b"/", &at.to_be_bytes(), digest].concat();
        Some(HousekeepingKey::new(key))
    }

    /// The first entries that are due at this moment, at most `limit`.
    pub async fn due(self, broker: &Broker, now: Timestamp, limit: usize) -> Result<Vec<Entry>, Fault> {
        let start: Key = HousekeepingKey::new([self.name.as_bytes(), b"/"].concat()).as_bytes().to_vec();
        let mut end = start.clone();
        end.extend_from_slice(&now.as_millis().saturating_add(1).to_be_bytes());
        let found = broker.store().scan(Range { start: start.clone(), end }, limit).await?;
        let read = |(key, entry): (Key, countersign_store::Entry)| {
            let place = key.get(start.len()..).and_then(|place| place.split_first_chunk::<8>());
            let (at, digest) = place.ok_or_else(|| damaged("agenda", &"an entry without a time"))?;
            let digest = digest.try_into().map_err(|_| damaged("agenda", &"an entry without a digest"))?;
            let name = String::from_utf8(entry.value.to_vec()).map_err(|error| damaged("agenda", &error))?;
            Ok(Entry { at: u64::from_be_bytes(*at), digest, name })
        };
        found.into_iter().map(read).collect()
    }

    /// The keys of an entry, for a unit that is to drop it.
    pub fn keys_of(self, entry: &Entry) -> impl Iterator<Item = HousekeepingKey> + use<> {
        let of_it = self.of_it(entry.at, &entry.digest, &entry.name);
        [self.place(entry.at, &entry.digest)].into_iter().chain(of_it)
    }

    /// The rows of the first entries of one resource, at most `limit` of them, of an agenda that keeps these by name.
    pub async fn of(self, broker: &Broker, name: &str, limit: usize) -> Result<Vec<Key>, Fault> {
        let Some(list) = self.of_each else {
            return Err(Fault::Bug { what: "an agenda is asked for what it does not keep" });
        };
        let start = HousekeepingKey::new([list, "/", name, "/"].concat()).as_bytes().to_vec();
        let end = [start.as_slice(), &[0xff; PLACE_BYTES + 1]].concat();
        let own = HousekeepingKey::new([self.name, "/"].concat()).as_bytes().to_vec();
        let found = broker.store().scan(start.clone()..end, limit).await?;
        let both = |(key, _): (Key, _)| [[own.as_slice(), &key[start.len()..]].concat(), key];
        Ok(found.into_iter().flat_map(both).collect())
    }

    /// Moves or drops an entry that names a customer. Of one whose account was closed meanwhile nothing is left behind, and
    /// what stood here is to leave the disk.
    pub(crate) async fn done_of(
        self,
        broker: &Broker,
        (customer, entry): (&CustomerName, &Entry),
        next: Option<Timestamp>,
    ) -> Result<(), Fault> {
        self.done(broker, entry, next).await?;
        let row = broker.load(rows::customer(customer)).await?;
        if row.is_some_and(|read| read.row.close_time_ms == 0) {
            return Ok(());
        }
        let digest = *Digest::of(entry.name.as_bytes()).as_bytes();
        let moved = next.map(|at| Entry { at: at.as_millis(), digest, name: entry.name.clone() });
        let own = Digest::from(draw::<32>(broker.entropy()));
        let housekeeping = Housekeeping {
            puts: REMOVED.entry(broker.now(), own, "").collect(),
            deletes: moved.iter().flat_map(|moved| self.keys_of(moved)).collect(),
        };
        Ok(broker.ledger().housekeep(housekeeping).await?)
    }

    /// Moves an entry that was looked at, or drops it.
    pub async fn done(self, broker: &Broker, entry: &Entry, next: Option<Timestamp>) -> Result<(), Fault> {
        let again = next.map(|at| self.entry(at, Digest::of(entry.name.as_bytes()), &entry.name));
        let housekeeping = Housekeeping {
            puts: again.into_iter().flatten().collect(),
            deletes: self.keys_of(entry).collect(),
        };
        Ok(broker.ledger().housekeep(housekeeping).await?)
    }
}
