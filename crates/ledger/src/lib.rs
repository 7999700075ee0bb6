#![doc = "Judges units of work in log order and gives them their place."]
//!
//! Whoever wants to change something hands the [`Ledger`] a [`Unit`]: the drafts of its records, the rows that it
//! writes, and on what condition. One task judges units in the order of their arrival, each against the state after
//! the one before it, and answers with an [`Outcome`]. What it lets through it gives an index, a time and a number
//! within its grant, and commits together with all that arrived meanwhile; only when that is durable it signs the new
//! head and answers, so each record's proof is in the answer.
//!
//! - A refused unit changes nothing and never fails its neighbours.
//! - A change without its record can't be written: a unit without records is refused, and [`Housekeeping`] reaches
//!   keys of its own alone.
//! - No head is signed before its leaves are durable; so no two roots are ever signed for one size.
//! - A commit whose outcome isn't known ends the ledger: from then on nothing is acknowledged, and opening it again
//!   finds out what stands.
//!
//! ```
//! use std::sync::Arc;
//!
//! use countersign_ledger::{Draft, KeyName, Ledger, Outcome, SignerKey, Unit};
//! use countersign_store::memory::MemoryStore;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let key = SignerKey::from_seed(KeyName::parse("log.example")?, &[7; 32]);
//! let ledger = Ledger::open(Arc::new(MemoryStore::new()), key, Arc::new(|| 1_362_700_800_000)).await?;
//! let draft = Draft { streams: vec!["partners/hopp".into()], ..Draft::default() };
//! let expected = vec![(b"grants/1".to_vec(), None)];
//! let puts = vec![(b"grants/1".to_vec(), "active".into())];
//! let unit = Unit { records: vec![draft], expected, puts, ..Unit::default() };
//! let Outcome::Committed(done) = ledger.submit(unit).await? else { panic!("nobody else wrote that row") };
//! assert_eq!(done.receipts[0].index, 0);
//! assert_eq!(ledger.stream(&"partners/hopp".into(), 0, 10).await?.len(), 1);
//! ledger.shutdown().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! Keys that begin with `c/` (counters) and `s/` (streams) are the ledger's own, those with `h/` are
//! [`HousekeepingKey`]s; all others are the callers'.

mod hub;
mod judge;
mod ledger;
mod mend;
mod open;
mod outcome;
mod proofs;
mod publisher;
mod read;
mod rows;
mod shared;
mod stream;
mod tail;
#[cfg(test)]
mod tests;
mod unit;
pub mod work;

pub use countersign_tlog::{Hash, KeyName, SignedCheckpoint, SignerKey, VerifierKey, note::KeyNameError};
pub use hub::Watch;
pub use ledger::{Ledger, Now};
pub use open::OpenError;
pub use outcome::{Closed, Committed, Outcome, Receipt, SubmitError};
pub use proofs::ProofError;
pub use read::MAX_STREAM_PAGE;
pub use rows::KnownRequest;
pub use stream::{StreamItem, StreamKey};
pub use unit::{
    Ceiling, Counter, Draft, Erasure, Housekeeping, HousekeepingKey, MAX_ANSWER_BYTES, MAX_CONDITIONS,
    MAX_RECORD_BYTES, MAX_ROWS, MAX_STREAM_BYTES, MAX_STREAMS, MAX_UNIT_BYTES, MAX_UNIT_RECORDS, Request,
    Unit, UnitError,
};
