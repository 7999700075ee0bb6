//! The two sides of the bench: a source whose handler costs nothing, and a recipient that fetches in a closed loop.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use async_trait::async_trait;
use countersign_client::{
    Partner, ProvideError, Value,
    book::Side,
    grants::{
        catalogue::FieldPath,
        id::{GrantName, SubjectHandle},
    },
};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::Instant};

use super::{Desk, Role, Slice, relayed::Relayed};
use crate::{
    control::{Figures, Loaded},
    journey::BENCH_ROW,
};

/// The slowest transfer that is told apart: a call's own deadline is shorter.
const MAX_MICROS: u64 = 60_000_000;

/// Three significant digits: a thousandth of what is measured.
const DIGITS: u8 = 3;

/// Gives the same small values for ever.
pub(super) struct Source;

#[async_trait]
impl Role for Source {
    async fn provide(
        &self,
        _desk: &Desk,
        _subject: &SubjectHandle,
        fields: &[FieldPath],
    ) -> Result<Vec<Value>, ProvideError> {
        Ok(fields.iter().map(|_| Value::from("2013-03-09T07:40:00Z")).collect())
    }
}

/// Fetches as fast as it is let.
#[derive(Default)]
pub(super) struct Recipient {
    /// By how many were in flight.
    latencies: Mutex<BTreeMap<usize, Histogram<u64>>>,
    /// Where the next worker takes its grant: spread evenly, over all slices.
    turn: Arc<AtomicUsize>,
}

#[async_trait]
impl Role for Recipient {
    async fn provide(
        &self,
        _desk: &Desk,
        _subject: &SubjectHandle,
        _fields: &[FieldPath],
    ) -> Result<Vec<Value>, ProvideError> {
        Err(ProvideError::NotFound)
    }

    async fn load(&self, desk: &Desk, slice: Slice) -> Result<Loaded> {
        let Slice { in_flight, millis, measured, relay } = slice;
        let rows = desk.partner.book().grants();
        let receives = rows.iter().filter(|row| row.side() == Side::Recipient);
        let grants: Vec<GrantName> = receives.map(|row| row.name().clone()).collect();
        anyhow::ensure!(!grants.is_empty(), "there is no grant to fetch under");
        let through = match relay {
            None => Through::Broker(desk.partner.clone()),
            Some(relay) => Through::Relay(Box::new(Relayed::open(&desk.partner, &relay)?)),
        };
        let failures = Arc::new(AtomicU64::new(0));
        let begun = Instant::now();
        let until = begun + Duration::from_millis(millis);
        let shared = Arc::new(Shared { through, grants, turn: Arc::clone(&self.turn), failures, until });
        let mut workers = JoinSet::new();
        for _ in 0..in_flight {
            workers.spawn(work(Arc::clone(&shared)));
        }
        let mut latencies = histogram()?;
        while let Some(done) = workers.join_next().await {
            latencies.add(done??)?;
        }
        let micros = u64::try_from(begun.elapsed().as_micros())?;
        let loaded = Loaded {
            transfers: latencies.len(),
            failures: shared.failures.load(Ordering::Relaxed),
            micros,
            p50_us: latencies.value_at_quantile(0.50),
            p99_us: latencies.value_at_quantile(0.99),
        };
        if measured {
            let mut all = self.latencies.lock();
            if let Some(sum) = all.get_mut(&in_flight) {
                sum.add(latencies)?;
            } else {
                all.insert(in_flight, latencies);
            }
        }
        Ok(loaded)
    }

    fn figures(&self, in_flight: usize) -> Result<Figures> {
        let all = self.latencies.lock();
        let latencies =
            all.get(&in_flight).with_context(|| format!("nothing was measured at {in_flight}"))?;
        Ok(Figures {
            transfers: latencies.len(),
            p50_us: latencies.value_at_quantile(0.50),
            p99_us: latencies.value_at_quantile(0.99),
            max_us: latencies.max(),
        })
    }
}

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, MAX_MICROS, DIGITS)?)
}

/// What the workers of one slice share.
struct Shared {
    through: Through,
    grants: Vec<GrantName>,
    turn: Arc<AtomicUsize>,
    failures: Arc<AtomicU64>,
    until: Instant,
}

/// What stands between the recipient and the source.
enum Through {
    Broker(Partner),
    Relay(Box<Relayed>),
}

impl Through {
    async fn fetch(&self, grant: &GrantName) -> Result<()> {
        match self {
            Self::Broker(partner) => {
                partner.fetch(grant, BENCH_ROW.purpose, BENCH_ROW.fields).await?;
                Ok(())
            }
            Self::Relay(relayed) => relayed.fetch(grant, BENCH_ROW.purpose, BENCH_ROW.fields).await,
        }
    }
}

/// One fetch after the other; each counts from the call to the opened values, every check included.
async fn work(shared: Arc<Shared>) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    while Instant::now() < shared.until {
        let nth = shared.turn.fetch_add(1, Ordering::Relaxed);
        let grant = &shared.grants[nth % shared.grants.len()];
        let begun = Instant::now();
        match shared.through.fetch(grant).await {
            Ok(()) => latencies.saturating_record(u64::try_from(begun.elapsed().as_micros())?),
            Err(error) => {
                if shared.failures.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(error = format!("{error:#}"), "a transfer of the bench failed");
                }
            }
        }
    }
    Ok(latencies)
}
