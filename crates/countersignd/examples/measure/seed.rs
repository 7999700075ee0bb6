//! Millions of records and grants, entered through the ledger as the broker enters them.
//!
//! The rows are copies of those that a real broker wrote for real people: their links, requests, grants, indexes and
//! acknowledgements, each copy under keys of its own. The records are copies of real ones with their private parts; each
//! stands in the streams of its grant, its customer and both partners, and counts as a use.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use countersign_broker::grants::time::Clock as _;
use countersign_ledger::{Ceiling, Draft, Ledger, Outcome, StreamKey, Unit};
use countersign_proto::log::v1::{Kind, Record};
use countersign_store::{Key, Store as _};
use countersign_store_sled::{Options, SledStore};
use countersignd::{folder::DataFolder, keyfile, real::SystemClock};
use prost::Message as _;
use tokio::task::JoinSet;

use crate::Result;

/// Rows of people: keyed by something of their own right after the kind.
const NAMED: [&str; 6] = ["request", "grant", "log-tag", "grant-statement", "link", "data-key"];

/// Rows of people: keyed by a name that ends in something of their own.
const HANDLED: [&str; 2] = ["subject", "customer"];

/// Indexes: a party or a handle, a time, a digest.
const INDEXES: [&str; 5] = ["links-of", "requests-of", "grants-of", "grants-from", "due"];

/// What ends the key of an index entry: a slash, the time, the digest.
const INDEX_TAIL: usize = 1 + 8 + 32;

/// How much of a key is made its copy's own.
const OWN_BYTES: usize = 16;

/// Records in one unit: as the ledger takes several, the judge is passed quickly.
const RECORDS_A_UNIT: u64 = 16;

/// Units on their way at a time.
const IN_FLIGHT: usize = 512;

/// Records after which a line says how far it is.
const SAY_EVERY: u64 = 500_000;

/// Partners that share the seeded transfers.
const PARTNERS: u64 = 20;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The data folder.
    #[arg(long)]
    data: PathBuf,
    /// How many records, at least one for each grant.
    #[arg(long)]
    records: u64,
    /// How many standing grants.
    #[arg(long)]
    grants: u64,
}

/// What is copied.
struct Template {
    /// All rows of the people who are there.
    rows: Vec<(Key, Bytes)>,
    /// How many of them are grants.
    grants: u64,
    approval: (Record, Bytes),
    transfer: (Record, Bytes),
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let folder = DataFolder::at(&arguments.data);
    let store = Arc::new(SledStore::open(folder.store(), Options::default()).await?);
    let key = keyfile::read_log_key(&folder.log_key())?;
    let ledger = Ledger::open(store.clone(), key, Arc::new(|| SystemClock.now().as_millis())).await?;
    let template = Arc::new(Template::read(&store).await?);
    let copies = arguments.grants.div_ceil(template.grants);
    let transfers = arguments.records.saturating_sub(copies * template.grants);

    let done = Arc::new(AtomicU64::new(0));
    let mut working = JoinSet::new();
    for copy in 1..=copies {
        // A copy of all people at once is a few thousand rows; a unit takes fewer.
        for unit in template.approvals(copy) {
            enter(&mut working, &ledger, unit, &done, arguments.records).await?;
        }
    }
    let grants = copies * template.grants;
    let mut entered = 0;
    while entered < transfers {
        let count = RECORDS_A_UNIT.min(transfers - entered);
        let unit = template.transfers(entered, count, grants);
        enter(&mut working, &ledger, unit, &done, arguments.records).await?;
        entered += count;
    }
    while let Some(ended) = working.join_next().await {
        ended??;
    }
    ledger.shutdown().await;
    drop(ledger);
    store.close().await?;
    println!("{}", serde_json::json!({ "records": done.load(Ordering::Relaxed), "grants": grants }));
    Ok(())
}

/// Submits a unit, when there is room among those that are on their way.
async fn enter(
    working: &mut JoinSet<std::result::Result<(), String>>,
    ledger: &Ledger,
    unit: Unit,
    done: &Arc<AtomicU64>,
    of: u64,
) -> Result<()> {
    if working.len() >= IN_FLIGHT
        && let Some(ended) = working.join_next().await
    {
        ended??;
    }
    let (ledger, done) = (ledger.clone(), Arc::clone(done));
    working.spawn(async move {
        let records = unit.records.len() as u64;
        match ledger.submit(unit).await {
            Ok(Outcome::Committed(_)) => {}
            other => return Err(format!("a unit was not committed: {other:?}")),
        }
        let now = done.fetch_add(records, Ordering::Relaxed) + records;
        if now / SAY_EVERY != (now - records) / SAY_EVERY {
            eprintln!("{now} of {of} records entered");
        }
        Ok(())
    });
    Ok(())
}

impl Template {
    async fn read(store: &SledStore) -> Result<Self> {
        let rows = store.scan(b"b/".to_vec()..b"b0".to_vec(), usize::MAX).await?;
        let rows: Vec<(Key, Bytes)> = rows
            .into_iter()
            .filter(|(key, _)| kind(key).is_some_and(is_of_people))
            .map(|(key, entry)| (key, entry.value))
            .collect();
        let grants = rows.iter().filter(|(key, _)| kind(key) == Some("grant")).count() as u64;
        let size = store.head().size;
        let (mut approval, mut transfer) = (None, None);
        let leaves = store.leaves(0..size).await?;
        for (index, leaf) in (0..size).zip(leaves) {
            let record = Record::decode(leaf)?;
            let place = match record.kind() {
                Kind::GrantApproved => &mut approval,
                Kind::Transfer => &mut transfer,
                _ => continue,
            };
            if place.is_none() {
                let private = store.private_parts(index..index + 1).await?.pop().unwrap_or_default();
                *place = Some((record, private));
            }
        }
        let missing = "the store has no approval and no transfer to copy";
        Ok(Self { rows, grants, approval: approval.ok_or(missing)?, transfer: transfer.ok_or(missing)? })
    }

    /// The rows of all people once more, spread over one unit for each grant.
    fn approvals(&self, copy: u64) -> Vec<Unit> {
        let each = self.rows.len().div_ceil(usize::try_from(self.grants).unwrap_or(1));
        let parts = self.rows.chunks(each);
        parts
            .zip((copy - 1) * self.grants..)
            .map(|(rows, grant)| Unit {
                puts: rows.iter().map(|(key, value)| (own_key(key, copy), value.clone())).collect(),
                records: vec![Self::draft(&self.approval, grant, grant)],
                ..Unit::default()
            })
            .collect()
    }

    fn transfers(&self, first: u64, count: u64, grants: u64) -> Unit {
        let mut unit = Unit::default();
        for nth in first..first + count {
            let grant = nth.wrapping_mul(0x9e37_79b1) % grants;
            unit.ceilings.push(Ceiling {
                counter: [b"b/uses/".as_slice(), &hash(grant, 1)].concat(),
                window_ms: None,
                at_most: u64::MAX,
                numbers_record: false,
            });
            unit.records.push(Self::draft(&self.transfer, grant, nth | 1 << 63));
        }
        unit
    }

    /// A record of a seeded grant with its private part.
    fn draft((record, private): &(Record, Bytes), grant: u64, nth: u64) -> Draft {
        let stream = |text: String| StreamKey::from(text.as_str());
        let hex = |what| data_encoding::HEXLOWER.encode(&hash(grant, what));
        let source = format!("partners/seeded-source-{}", grant % PARTNERS);
        let recipient = format!("partners/seeded-recipient-{}", grant % PARTNERS);
        Draft {
            streams: vec![
                stream(source.clone()),
                stream(recipient.clone()),
                stream(format!("customers/{}", &hex(2)[..43])),
            ],
            grant: Some(stream(format!("grants/{}", hex(3)))),
            record: Record {
                time_ms: 0,
                grant_sequence: 0,
                use_number: 0,
                source,
                recipient,
                grant_tag: hash(grant, 4).to_vec().into(),
                record_id: hash(nth, 5)[..16].to_vec().into(),
                subject_commitment: hash(nth, 6).to_vec().into(),
                fields_commitment: hash(nth, 7).to_vec().into(),
                evidence_commitment: hash(nth, 8).to_vec().into(),
                ..record.clone()
            },
            private: private.clone(),
        }
    }
}

/// What kind of row stands at a key of the broker's.
fn kind(key: &[u8]) -> Option<&str> {
    let after = key.strip_prefix(b"b/")?;
    let end = after.iter().position(|byte| *byte == b'/').unwrap_or(after.len());
    std::str::from_utf8(&after[..end]).ok()
}

fn is_of_people(kind: &str) -> bool {
    NAMED.contains(&kind) || HANDLED.contains(&kind) || INDEXES.contains(&kind)
}

/// The key of a copy's row: of the same form and length, and in the same range of its index if a partner has that, but
/// nobody else's.
fn own_key(key: &[u8], copy: u64) -> Key {
    let mut own = key.to_vec();
    let kind = kind(key).unwrap_or_default();
    let end = own.len();
    let mut change = |end: usize| {
        let hash = hash(copy, 0);
        for (byte, with) in own[end.saturating_sub(OWN_BYTES)..end].iter_mut().zip(hash) {
            *byte ^= with;
        }
    };
    if NAMED.contains(&kind) {
        change("b/".len() + kind.len() + "/".len() + OWN_BYTES);
    } else {
        change(end);
        let party = &key["b/".len() + kind.len()..];
        let contains = |text: &[u8]| party.windows(text.len()).any(|part| part == text);
        if INDEXES.contains(&kind) && (contains(b"/customers/") || contains(b"/subjects/")) {
            change(end - INDEX_TAIL);
        }
    }
    own
}

/// Bytes that look random and are the same on every run: splitmix64 over what they are of.
fn hash(of: u64, what: u64) -> [u8; 32] {
    let mut state = of.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(what << 56 | 1);
    let mut bytes = [0; 32];
    for part in bytes.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes());
    }
    bytes
}
