#![doc = "The storage contract of Countersign: an ordered key-value store with a log in it."]
//!
//! [`Store`] is small enough that an engine is a few hundred lines, and says for each operation what an engine owes:
//! durability, atomicity, ordering, concurrency, retry. [`memory::MemoryStore`] is the engine of tests and demos. The
//! suite behind the feature `conformance` is what every engine, this one too, must pass.
//!
//! Engines share the words of the contract ([`Batch::check`], [`layout`]) and no other code.
//!
//! ```
//! use countersign_store::{Batch, Leaf, Store, memory::MemoryStore};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let store = MemoryStore::new();
//! let mut batch = Batch::default();
//! batch.puts.push((b"grants/1".to_vec(), "active".into()));
//! batch.leaves.push(Leaf { record: "approved".into(), private: "ciphertext".into() });
//!
//! let head = store.commit(store.head(), batch).await.unwrap();
//! assert_eq!((head.size, head.sequence), (1, 1));
//! assert_eq!(store.get(b"grants/1").await.unwrap().unwrap().version, 1);
//! # });
//! ```

mod batch;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod contract;
mod errors;
pub mod layout;
pub mod memory;

pub use batch::{
    Batch, Entry, Head, Key, Leaf, MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_PRIVATE_BYTES, MAX_RECORD_BYTES,
    MAX_VALUE_BYTES, Publication, REQUEST_HOURS, RequestRow,
};
pub use contract::Store;
pub use errors::{CommitError, Limit, PublishError, ReadError};
