//! What is to be looked at, and when.
//!
//! Entries are housekeeping: each can be moved or dropped without a record, since nothing rests on them but when
//! somebody looks. What is then found decides, and an entry too many costs one look.

use std::ops::Range;

use bytes::Bytes;
use countersign_grants::{digest::Digest, time::Timestamp};
use countersign_ledger::{Housekeeping, HousekeepingKey};
use countersign_store::Key;

use crate::{
    broker::{Broker, damaged},
    error::Fault,
};

/// The resources of one kind, by when they are looked at.
#[derive(Clone, Copy)]
pub struct Agenda(&'static str);

/// The customers for whom something waits to be shown.
pub const ASKED: Agenda = Agenda("asked");

/// The grants that end before long, by when that is told.
pub const EXPIRING: Agenda = Agenda("expiring");

/// The customers a link of whose account ended, by when the account is abandoned for so long that it may be erased.
pub const ABANDONED: Agenda = Agenda("abandoned");

/// What was removed and is to leave the disk, by when that was.
pub const REMOVED: Agenda = Agenda("removed");

/// Operators' orders that what was removed leave the disk at once, each by until when it was removed.
pub const SCRUBS: Agenda = Agenda("scrubs");

/// Entries that are read together when all are looked through.
const PAGE: usize = 1_024;

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
    /// The key of an entry at this moment. Whoever adds one takes a digest that nobody else takes: who looks drops what
    /// it has read, and must not drop another's that came meanwhile.
    pub fn key(self, at: Timestamp, digest: Digest) -> HousekeepingKey {
        self.place(at.as_millis(), digest.as_bytes())
    }

    fn place(self, at: u64, digest: &[u8; 32]) -> HousekeepingKey {
        HousekeepingKey::new([self.0.as_bytes(), b"/", &at.to_be_bytes(), digest].concat())
    }

    /// The first entries that are due at this moment, at most `limit`.
    pub async fn due(self, broker: &Broker, now: Timestamp, limit: usize) -> Result<Vec<Entry>, Fault> {
        let start: Key = HousekeepingKey::new([self.0.as_bytes(), b"/"].concat()).as_bytes().to_vec();
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

    /// The key of an entry, for a unit that is to drop it.
    pub fn key_of(self, entry: &Entry) -> HousekeepingKey {
        self.place(entry.at, &entry.digest)
    }

    /// The keys of the entries of one resource, at most `limit`: looks through all that there are.
    pub async fn of(self, broker: &Broker, name: &str, limit: usize) -> Result<Vec<Key>, Fault> {
        let start: Key = HousekeepingKey::new([self.0.as_bytes(), b"/"].concat()).as_bytes().to_vec();
        let mut end = start.clone();
        end.extend_from_slice(&[0xff; 9]);
        let (mut next, mut found) = (start, Vec::new());
        while found.len() < limit {
            let page = broker.store().scan(next..end.clone(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            // The next key after a key is that key with a zero byte.
            next = [last.as_slice(), &[0]].concat();
            let of_it = page.into_iter().filter(|(_, entry)| entry.value == name.as_bytes());
            found.extend(of_it.map(|(key, _)| key).take(limit - found.len()));
        }
        Ok(found)
    }

    /// Moves an entry that was looked at, or drops it.
    pub async fn done(self, broker: &Broker, entry: &Entry, next: Option<Timestamp>) -> Result<(), Fault> {
        let again =
            next.map(|at| (self.key(at, Digest::of(entry.name.as_bytes())), Bytes::from(entry.name.clone())));
        let housekeeping =
            Housekeeping { puts: again.into_iter().collect(), deletes: vec![self.key_of(entry)] };
        Ok(broker.ledger().housekeep(housekeeping).await?)
    }
}
