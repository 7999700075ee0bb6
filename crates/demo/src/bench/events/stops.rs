//! How soon a stop is at every open stream that it concerns.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use countersign_client::{
    System,
    grants::id::GrantName,
    proto::{
        log::v1::{Kind, Record},
        v1::Event,
    },
};
use hdrhistogram::Histogram;
use prost::Message as _;
use serde::Serialize;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, sleep, timeout},
};

use super::{
    cast::{Cast, Party, Person},
    histogram,
    streams::{Sink, Streams},
};
use crate::bench::load::progress;

/// How long an event may take until it counts as missing.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

/// Between two stops, so that none waits for the one before it.
const PAUSE: Duration = Duration::from_millis(50);

/// The stops with so many streams open.
#[derive(Debug, Default, Serialize)]
pub(super) struct Stopped {
    pub(super) streams: usize,
    pub(super) stops: u64,
    pub(super) events: u64,
    pub(super) missing: u64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) max_us: u64,
    pub(super) last_p50_us: u64,
    pub(super) last_p99_us: u64,
    pub(super) answer_p50_us: u64,
}

/// What a stream brought.
struct Brought {
    grant: String,
    /// The record's time, in Unix milliseconds.
    time_ms: u64,
    at: Instant,
}

/// A moment by both clocks, so that what came at an instant can be held against a record's time.
struct Aligned {
    millis: u64,
    at: Instant,
}

impl Aligned {
    /// Waits for the wall clock's next millisecond.
    fn now() -> Self {
        let system = System::real();
        let first = system.now().as_millis();
        loop {
            let (millis, at) = (system.now().as_millis(), Instant::now());
            if millis != first {
                return Self { millis, at };
            }
        }
    }

    /// Microseconds from a record's time to an instant.
    fn since(&self, time_ms: u64, at: Instant) -> u64 {
        let after = at.saturating_duration_since(self.at).as_micros();
        let after = u64::try_from(after).unwrap_or(u64::MAX).saturating_add(self.millis * 1000);
        after.saturating_sub(time_ms * 1000)
    }
}

/// Opens the streams, spread evenly over all parties, and stops every grant of these people, one after the other.
pub(super) async fn measure(cast: &Cast, streams: usize, people: &[Person]) -> Result<Stopped> {
    let (sender, mut brought) = unbounded_channel();
    let sink: Sink = Arc::new(move |event: &Event, at: Instant| {
        let record = Record::decode(event.record.clone());
        let brought =
            record.map(|record| Brought { grant: event.grant.clone(), time_ms: record.time_ms, at });
        // What is no record is missing in the end. Without the measurement there is nobody to tell.
        let _ = brought.map(|brought| sender.send(brought));
    });
    let spread = spread(&cast.parties(), streams);
    let cursor = super::size_of_log(cast).await?;
    let mut open = Streams::open(&spread, Kind::GrantWithdrawn, cursor, &sink).await?;
    let of =
        |party: &Party| spread.iter().find(|(one, _)| one.name == party.name).map_or(0, |(_, count)| *count);
    let aligned = Aligned::now();
    let (mut each, mut last, mut answers) = (histogram()?, histogram()?, histogram()?);
    let mut figures = Stopped { streams: open.count(), ..Stopped::default() };
    let bar = progress((people.len() * cast.recipients.len()) as u64, "stops");
    for person in people {
        for (house, grant) in cast.recipients.iter().zip(&person.grants) {
            let concerned = of(&cast.source.party) + of(&house.party) + of(&person.party);
            let begun = Instant::now();
            person.customer.stop(grant, false).await?;
            answers.saturating_record(u64::try_from(begun.elapsed().as_micros())?);
            let came = gather(&mut brought, grant, concerned, &aligned, &mut each).await;
            figures.stops += 1;
            figures.events += came.0 as u64;
            figures.missing += (concerned - came.0) as u64;
            last.saturating_record(came.1);
            open.check()?;
            sleep(PAUSE).await;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    (figures.p50_us, figures.p99_us, figures.max_us) = quantiles(&each);
    (figures.last_p50_us, figures.last_p99_us, _) = quantiles(&last);
    figures.answer_p50_us = answers.value_at_quantile(0.50);
    Ok(figures)
}

/// Takes the events of one grant's stop until all streams have brought it: how many did, and how long the last one took.
async fn gather(
    brought: &mut UnboundedReceiver<Brought>,
    grant: &GrantName,
    concerned: usize,
    aligned: &Aligned,
    each: &mut Histogram<u64>,
) -> (usize, u64) {
    let (mut came, mut last) = (0, 0);
    let gathering = async {
        while came < concerned {
            let Some(one) = brought.recv().await else { break };
            if one.grant == grant.as_str() {
                let took = aligned.since(one.time_ms, one.at);
                each.saturating_record(took);
                (came, last) = (came + 1, took.max(last));
            }
        }
    };
    // What has not come by then is missing, and counted.
    let _ = timeout(ARRIVES_WITHIN, gathering).await;
    (came, last)
}

/// So many streams for each party that all together are as many as asked.
fn spread<'a>(parties: &[&'a Party], streams: usize) -> Vec<(&'a Party, usize)> {
    let (each, more) = (streams / parties.len(), streams % parties.len());
    let count = |nth| each + usize::from(nth < more);
    parties.iter().enumerate().map(|(nth, party)| (*party, count(nth))).collect()
}

fn quantiles(histogram: &Histogram<u64>) -> (u64, u64, u64) {
    (histogram.value_at_quantile(0.50), histogram.value_at_quantile(0.99), histogram.max())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_agree() {
        let aligned = Aligned::now();
        assert_eq!(aligned.since(aligned.millis, aligned.at + Duration::from_micros(1500)), 1500);
        assert_eq!(aligned.since(aligned.millis + 1, aligned.at), 0, "a clock that was set back");
    }
}
