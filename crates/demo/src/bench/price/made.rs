//! Messages made beforehand, so that both ends cost next to nothing and the middle alone is measured: signed fetches, each
//! once, and for each the provision that answers it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use countersign_client::{
    Connection, System,
    channel::call,
    grants::{
        digest::Digest,
        envelope,
        id::{Origin, PartnerName},
        key::SigningKey,
        statement::{Fetch, Provision},
    },
    proto::{
        statement::v1::{self as wire, SealedField, SealedFields},
        v1::{FetchDataRequest, ProvideDataResponse},
    },
};
use prost::Message as _;
use tokio::{task::JoinSet, time::Instant};

use super::source::Made;
use crate::journey::BENCH_ROW;

/// The X25519 point 9: a key that parses. Nothing is sealed to it.
const SEALING_KEY: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 9;
    point
};

/// A padded short value and the seal's tag.
const CIPHERTEXT_BYTES: usize = 64 + 16;

/// Both ends' keys, and the grants between them.
#[derive(Clone)]
pub(in crate::bench) struct Maker {
    pub(in crate::bench) origin: Origin,
    pub(in crate::bench) recipient: PartnerName,
    pub(in crate::bench) recipient_key: Arc<SigningKey>,
    pub(in crate::bench) source: PartnerName,
    pub(in crate::bench) source_key: Arc<SigningKey>,
    pub(in crate::bench) grants: Arc<Vec<Digest>>,
    /// A published checkpoint, as both ends' statements name one.
    pub(in crate::bench) checkpoint: Bytes,
}

/// Fetches that wait to be sent, and what answers them.
pub(in crate::bench) struct Prepared {
    pub(in crate::bench) fetches: Vec<FetchDataRequest>,
    pub(super) made: Arc<Made>,
}

/// What one slice came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::bench) struct Slice {
    pub(in crate::bench) calls: u64,
    pub(in crate::bench) failures: u64,
    pub(in crate::bench) micros: u64,
    pub(in crate::bench) p50_us: u64,
    pub(in crate::bench) p99_us: u64,
}

impl Maker {
    /// Makes so many, beside the runtime.
    pub(in crate::bench) async fn make(&self, count: usize) -> Result<Prepared> {
        let maker = self.clone();
        Ok(tokio::task::spawn_blocking(move || maker.make_here(count)).await?)
    }

    fn make_here(&self, count: usize) -> Prepared {
        let system = System::real();
        let sealed = SealedFields {
            encapsulated_key: SEALING_KEY.to_vec().into(),
            fields: BENCH_ROW
                .fields
                .iter()
                .map(|field| SealedField {
                    field: (*field).to_owned(),
                    ciphertext: vec![0; CIPHERTEXT_BYTES].into(),
                })
                .collect(),
        };
        let sealed = Bytes::from(sealed.encode_to_vec());
        let seal = Digest::of(&sealed);
        let mut made = Made::default();
        let mut fetches = Vec::with_capacity(count);
        for place in 0..count {
            let time_ms = system.now().as_millis();
            let message = wire::Fetch {
                broker: self.origin.to_string(),
                recipient: self.recipient.to_string(),
                terms: self.grants[place % self.grants.len()].into(),
                purpose: BENCH_ROW.purpose.to_owned(),
                fields: BENCH_ROW.fields.iter().map(|field| (*field).to_owned()).collect(),
                request_id: system.draw_uuid(),
                time_ms,
                sealing_key: SEALING_KEY.to_vec().into(),
                checkpoint: self.checkpoint.clone(),
                ..wire::Fetch::default()
            };
            let fetch = envelope::sign::<Fetch>(&message, &[&self.recipient_key]);
            let digest = envelope::digest(&fetch);
            let provision = envelope::sign::<Provision>(
                &wire::Provision {
                    broker: self.origin.to_string(),
                    source: self.source.to_string(),
                    fetch: digest.into(),
                    sealed: seal.into(),
                    time_ms,
                    checkpoint: self.checkpoint.clone(),
                    ..wire::Provision::default()
                },
                &[&self.source_key],
            );
            let answer = ProvideDataResponse { sealed_fields: sealed.clone(), provision: Some(provision) };
            made.answers.insert(digest, (place, answer));
            made.stayed.push(AtomicU64::new(0));
            fetches.push(FetchDataRequest { statement: Some(fetch) });
        }
        Prepared { fetches, made: Arc::new(made) }
    }
}

/// Sends all of them in a closed loop, so many at a time.
pub(in crate::bench) async fn closed_loop(
    connection: &Connection,
    prepared: &Arc<Prepared>,
    in_flight: usize,
) -> Result<Slice> {
    let next = Arc::new(AtomicUsize::new(0));
    let failures = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..in_flight {
        let (connection, prepared) = (connection.clone(), Arc::clone(prepared));
        let (next, failures) = (Arc::clone(&next), Arc::clone(&failures));
        workers.spawn(async move {
            let mut took = Vec::new();
            while let Some(fetch) = prepared.fetches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let sent = Instant::now();
                match connection.transfers().fetch_data(call(fetch.clone())).await {
                    Ok(_) => took.push(micros(sent.elapsed())),
                    Err(status) => fail(&failures, &status),
                }
            }
            took
        });
    }
    let mut took = Vec::with_capacity(prepared.fetches.len());
    while let Some(one) = workers.join_next().await {
        took.extend(one?);
    }
    summary(took, failures.load(Ordering::Relaxed), begun.elapsed())
}

/// Sends them at their moments, whatever became of those before; each counts from the moment at which it was due, less
/// what the source kept it. So a call that has to wait for its turn counts its wait.
pub(in crate::bench) async fn open_loop(
    connection: &Connection,
    prepared: &Arc<Prepared>,
    per_second: f64,
) -> Result<Slice> {
    let failures = Arc::new(AtomicU64::new(0));
    let mut calls = JoinSet::new();
    let begun = Instant::now();
    for place in 0..prepared.fetches.len() {
        let due = begun + Duration::from_secs_f64(place as f64 / per_second);
        tokio::time::sleep_until(due).await;
        let (connection, prepared) = (connection.clone(), Arc::clone(prepared));
        let failures = Arc::clone(&failures);
        calls.spawn(async move {
            match connection.transfers().fetch_data(call(prepared.fetches[place].clone())).await {
                Ok(_) => {
                    let stayed = prepared.made.stayed[place].load(Ordering::Relaxed);
                    Some(micros(due.elapsed()).saturating_sub(stayed))
                }
                Err(status) => {
                    fail(&failures, &status);
                    None
                }
            }
        });
    }
    let mut took = Vec::with_capacity(prepared.fetches.len());
    while let Some(one) = calls.join_next().await {
        took.extend(one?);
    }
    summary(took, failures.load(Ordering::Relaxed), begun.elapsed())
}

fn fail(failures: &AtomicU64, status: &tonic::Status) {
    if failures.fetch_add(1, Ordering::Relaxed) == 0 {
        tracing::warn!(%status, "a call of the bench failed");
    }
}

fn summary(mut took: Vec<u64>, failures: u64, elapsed: Duration) -> Result<Slice> {
    ensure!(!took.is_empty(), "every call failed");
    took.sort_unstable();
    let (p50_us, p99_us) = (quantile(&took, 0.50), quantile(&took, 0.99));
    let calls = u64::try_from(took.len()).context("calls are counted in 64 bits")?;
    Ok(Slice { calls, failures, micros: micros(elapsed), p50_us, p99_us })
}

/// The value below which this part of sorted values lies.
pub(super) fn quantile(sorted: &[u64], part: f64) -> u64 {
    let at = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(at.saturating_sub(1)).or(sorted.last()).copied().unwrap_or_default()
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!(
            (quantile(&values, 0.5), quantile(&values, 0.99), quantile(&values, 1.0)),
            (100, 198, 200)
        );
        assert_eq!((quantile(&[7], 0.5), quantile(&[], 0.5)), (7, 0));
    }

    #[test]
    fn made_messages_verify_and_differ() {
        let key = |secret| Arc::new(SigningKey::from_secret(&[secret; 32]));
        let maker = Maker {
            origin: Origin::parse("bench.example/log").unwrap(),
            recipient: PartnerName::parse("partners/recipient").unwrap(),
            recipient_key: key(1),
            source: PartnerName::parse("partners/source").unwrap(),
            source_key: key(2),
            grants: Arc::new(vec![Digest::of(b"terms")]),
            checkpoint: Bytes::from_static(b"head"),
        };
        let prepared = maker.make_here(3);
        assert_eq!(prepared.made.answers.len(), 3);
        for fetch in &prepared.fetches {
            let fetch = fetch.statement.as_ref();
            let signed =
                envelope::verify::<Fetch>(fetch, &[maker.recipient_key.public()], &maker.origin).unwrap();
            let (_, answer) = &prepared.made.answers[&signed.digest()];
            let provision = answer.provision.as_ref();
            let signed =
                envelope::verify::<Provision>(provision, &[maker.source_key.public()], &maker.origin)
                    .unwrap();
            assert_eq!(signed.statement().sealed, Digest::of(&answer.sealed_fields));
        }
    }
}
