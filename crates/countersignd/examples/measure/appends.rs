//! Records a second, each durable and proven before its caller goes on.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use countersign_broker::grants::time::Clock as _;
use countersign_ledger::{Ceiling, Draft, KeyName, Ledger, Outcome, Request, SignerKey, Unit};
use countersign_proto::log::v1::{Kind, Record, Result as Went};
use countersign_store_sled::{Options, SledStore};
use countersignd::real::SystemClock;
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use crate::Result;

/// A transfer's private part: its envelopes and salts, sealed.
const PRIVATE_BYTES: usize = 1400;

/// Grants that the records belong to, so that streams and counters spread as in life.
const GRANTS: u64 = 10_000;

/// Before anything is measured.
const WARM_UP: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// An empty folder on the disk to measure.
    #[arg(long)]
    folder: PathBuf,
    /// How many callers there are, each with one record at a time.
    #[arg(long)]
    callers: u64,
    /// For how long.
    #[arg(long)]
    seconds: u64,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let store = Arc::new(SledStore::open(&arguments.folder, Options::default()).await?);
    let key = SignerKey::from_seed(KeyName::parse("bench.example/log")?, &[7; 32]);
    let ledger = Ledger::open(store.clone(), key, Arc::new(|| SystemClock.now().as_millis())).await?;
    let turn = Arc::new(AtomicU64::new(0));
    load(&ledger, &turn, arguments.callers, WARM_UP).await?;
    let begun = Instant::now();
    let mut took = load(&ledger, &turn, arguments.callers, Duration::from_secs(arguments.seconds)).await?;
    let seconds = begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |part: f64| took.get((took.len() as f64 * part) as usize).or(took.last()).copied().unwrap_or(0);
    let figures = json!({
        "callers": arguments.callers,
        "records": took.len(),
        "seconds": seconds,
        "records_per_s": took.len() as f64 / seconds,
        "p50_us": at(0.50),
        "p99_us": at(0.99),
    });
    println!("{figures}");
    ledger.shutdown().await;
    drop(ledger);
    store.close().await?;
    Ok(())
}

/// One record after the other by each caller: how long each took, in microseconds.
async fn load(ledger: &Ledger, turn: &Arc<AtomicU64>, callers: u64, length: Duration) -> Result<Vec<u64>> {
    let until = Instant::now() + length;
    let mut working = JoinSet::new();
    for _ in 0..callers {
        let (ledger, turn) = (ledger.clone(), Arc::clone(turn));
        working.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < until {
                let unit = unit(turn.fetch_add(1, Ordering::Relaxed));
                let begun = Instant::now();
                match ledger.submit(unit).await {
                    Ok(Outcome::Committed(done)) if !done.receipts.is_empty() => {}
                    other => return Err(format!("a unit was not committed: {other:?}")),
                }
                took.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            Ok(took)
        });
    }
    let mut all = Vec::new();
    while let Some(took) = working.join_next().await {
        all.extend(took??);
    }
    Ok(all)
}

/// A transfer's unit: record, private part, four streams, a use counter, a request.
fn unit(nth: u64) -> Unit {
    let grant = nth.wrapping_mul(0x9e37_79b9) % GRANTS;
    let bytes = |of: u8| vec![of; 32].into();
    let record = Record {
        version: 1,
        kind: Kind::Transfer.into(),
        source: "partners/skylark".to_owned(),
        recipient: "partners/hopp".to_owned(),
        purpose: "pickup_planning".to_owned(),
        catalogue_version: bytes(1),
        result: Went::Released.into(),
        grant_tag: bytes(2),
        record_id: nth.to_be_bytes().repeat(2).into(),
        subject_commitment: bytes(3),
        fields_commitment: bytes(4),
        evidence_commitment: bytes(5),
        ..Record::default()
    };
    let stream = |text: String| text.as_str().into();
    Unit {
        records: vec![Draft {
            record,
            private: vec![0x5a; PRIVATE_BYTES].into(),
            streams: vec![
                "partners/skylark".into(),
                "partners/hopp".into(),
                stream(format!("customers/{grant:043}")),
            ],
            grant: Some(stream(format!("grants/{grant:064}"))),
        }],
        ceilings: vec![Ceiling {
            counter: format!("uses/{grant:064}").into_bytes(),
            window_ms: None,
            at_most: u64::MAX,
            numbers_record: true,
        }],
        request: Some(Request {
            key: format!("partners/hopp/{nth:036}").into_bytes(),
            digest: [6; 32],
            answer: bytes(7),
        }),
        ..Unit::default()
    }
}
