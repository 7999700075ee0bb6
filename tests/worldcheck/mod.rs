//! The world check's half that looks at a disk: everything in a store's folder that follows from something else is
//! computed again and compared. Nothing is taken on the engine's word.
//!
//! The records are the ground. From them follow the tree, with it all tiles, bundles and checkpoints (`files`); the
//! order that the log promises (`order`); how people were asked (`asking`) and partners let in (`vetting`); what is to be deleted (`deletions`), which
//! grants notices find (`listed`); and the index: streams, counters, how many rows of each kind (`rows`). With
//! the broker's key-encryption key the private parts are opened and held against the records' commitments
//! (`private`).

mod asking;
mod deletions;
mod files;
mod listed;
mod order;
mod private;
mod rows;
mod tree;
mod vetting;

use std::{fmt, path::Path};

use bytes::Bytes;
use countersign_broker::private::Kek;
use countersign_ledger::VerifierKey;
use countersign_proto::log::v1::Record;
use countersign_store::{Head, ReadError, Store};
use countersign_store_sled::{Options, SledStore};
use countersign_tlog::{Hash, SignedCheckpoint};
use prost::Message as _;

pub(crate) use tree::Tree;

/// What a disk is checked with.
pub(crate) struct Keys {
    /// Verifies the log's checkpoints.
    pub(crate) log: VerifierKey,
    /// Opens the private parts that a broker wrote. Without it nothing is known of who a record is about, and neither
    /// private parts nor streams and counters are checked: the log alone is.
    pub(crate) broker: Option<Kek>,
}

/// What doesn't hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding(pub(crate) String);

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Finding {}

/// A world in which everything holds.
pub(crate) struct Summary {
    /// Where the store stands.
    pub(crate) head: Head,
    /// The size of the checkpoint that is public; 0 if none is.
    pub(crate) published: u64,
    /// Every record, as its exact bytes, in order.
    pub(crate) records: Vec<Bytes>,
    /// The tree over them.
    pub(crate) tree: Tree,
}

impl Summary {
    /// Holds a checkpoint that was handed out at any time against the log as it is now.
    pub(crate) fn contains(&self, checkpoint: &SignedCheckpoint) -> Result<(), Finding> {
        let (size, said) = (checkpoint.size(), checkpoint.root());
        match self.tree.root_at(size) {
            None => Err(Finding(format!(
                "a checkpoint of {size} records was handed out, there are {}",
                self.head.size
            ))),
            Some(root) if root != *said => Err(Finding(format!(
                "a checkpoint of {size} records says {said}, and they have the root {root}"
            ))),
            Some(_) => Ok(()),
        }
    }
}

/// Checks the store in `folder`: a copy, since opening a store writes to it.
pub(crate) async fn disk(folder: &Path, keys: &Keys) -> Result<Summary, Finding> {
    let options = Options { cache_bytes: 1 << 20, ..Options::default() };
    let store = SledStore::open(folder, options).await;
    let store = store.map_err(|error| Finding(format!("the store doesn't open: {error}")))?;
    let summary = opened(&store, folder, keys).await;
    store.close().await.map_err(|error| Finding(format!("the store doesn't close: {error}")))?;
    summary
}

/// Checks a store that is open and that nobody writes to.
pub(crate) async fn opened(store: &dyn Store, folder: &Path, keys: &Keys) -> Result<Summary, Finding> {
    let summary = log(store, folder, keys).await?;
    let decoded = decode(&summary.records)?;
    order::check(&decoded)?;
    if let Some(kek) = &keys.broker {
        let sealed = store.private_parts(0..u64::MAX).await.map_err(unreadable("the private parts"))?;
        let all = store.scan(Vec::new()..vec![0xff; countersign_store::MAX_KEY_BYTES + 1], usize::MAX);
        let all = all.await.map_err(unreadable("the rows"))?;
        let rows = rows::Rows::sort(all, summary.head)?;
        let parts = private::open_all(kek, keys.log.name().as_str(), &rows, &decoded, &sealed)?;
        rows.check(&decoded, &parts)?;
    }
    Ok(summary)
}

/// Checks of an open store its files alone: tiles, bundles, checkpoint.
pub(crate) async fn log(store: &dyn Store, folder: &Path, keys: &Keys) -> Result<Summary, Finding> {
    let head = store.head();
    let records = store.leaves(0..u64::MAX).await.map_err(unreadable("the records"))?;
    let sealed = store.private_parts(0..u64::MAX).await.map_err(unreadable("the private parts"))?;
    ensure(records.len() as u64 == head.size, || {
        format!("the head says {} records, and {} are there", head.size, records.len())
    })?;
    ensure(sealed.len() == records.len(), || {
        format!("{} private parts for {} records", sealed.len(), records.len())
    })?;
    let tree = Tree::of(&records);
    let published = files::check(folder, &keys.log, &records, &sealed, &tree)?;
    Ok(Summary { head, published, records, tree })
}

fn unreadable(what: &'static str) -> impl Fn(ReadError) -> Finding {
    move |error| Finding(format!("{what} can't be read: {error}"))
}

fn decode(records: &[Bytes]) -> Result<Vec<Record>, Finding> {
    let decode = |(index, bytes): (usize, &Bytes)| {
        let record = Record::decode(bytes.clone());
        record.map_err(|error| Finding(format!("record {index} is none: {error}")))
    };
    records.iter().enumerate().map(decode).collect()
}

/// The finding, unless what must hold does.
fn ensure(holds: bool, finding: impl FnOnce() -> String) -> Result<(), Finding> {
    if holds { Ok(()) } else { Err(Finding(finding())) }
}

/// The hash of a node that has one child or two.
fn join(left: Hash, right: Option<Hash>) -> Hash {
    right.map_or(left, |right| countersign_tlog::hash::node_hash(&left, &right))
}
