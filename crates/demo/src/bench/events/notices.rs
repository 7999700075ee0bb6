//! How many events of change notices are fanned out.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use countersign_client::proto::{log::v1::Kind, v1::Event};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, timeout},
};

use super::{
    cast::{Cast, Party, Person},
    histogram,
    streams::{Sink, Streams},
};
use crate::bench::machine::processor_time;

/// How long one notice's events may take.
const ARRIVES_WITHIN: Duration = Duration::from_secs(10);

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// The notices with so many streams open at each recipient.
#[derive(Debug, Serialize)]
pub(super) struct Fanned {
    pub(super) recipients: usize,
    pub(super) streams: usize,
    pub(super) in_flight: usize,
    pub(super) notices: u64,
    pub(super) events: u64,
    pub(super) seconds: f64,
    pub(super) events_per_s: f64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) max_us: u64,
    pub(super) broker_cpu_us_per_event: f64,
}

/// Gives notices in a closed loop, one for each person at a time: the next begins when each stream has brought the events
/// of the one before.
pub(super) async fn measure(cast: &Cast, streams_each: usize, length: Duration) -> Result<Fanned> {
    let mut arrivals = Vec::with_capacity(cast.people.len());
    let mut senders = HashMap::new();
    for person in &cast.people {
        let (sender, arrived) = unbounded_channel();
        senders.extend(person.grants.iter().map(|grant| (grant.to_string(), sender.clone())));
        arrivals.push(arrived);
    }
    let sink: Sink = Arc::new(move |event: &Event, at: Instant| {
        if let Some(person) = senders.get(&event.grant) {
            // Whoever has stopped counting needs no more of them.
            let _ = person.send(at);
        }
    });
    let parties: Vec<(&Party, usize)> =
        cast.recipients.iter().map(|house| (&house.party, streams_each)).collect();
    let cursor = super::size_of_log(cast).await?;
    let mut open = Streams::open(&parties, Kind::ChangeNotice, cursor, &sink).await?;

    let broker = cast.stage.broker.pid().context("the broker has ended")?;
    run(cast, &mut arrivals, open.count(), WARM_UP).await?;
    let (before, begun) = (processor_time(broker)?, Instant::now());
    let took = run(cast, &mut arrivals, open.count(), length).await?;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), processor_time(broker)?.saturating_sub(before));
    open.check()?;
    let events = took.len();
    Ok(Fanned {
        recipients: cast.recipients.len(),
        streams: open.count(),
        in_flight: cast.people.len(),
        notices: events / open.count() as u64,
        events,
        seconds,
        events_per_s: events as f64 / seconds,
        p50_us: took.value_at_quantile(0.50),
        p99_us: took.value_at_quantile(0.99),
        max_us: took.max(),
        broker_cpu_us_per_event: cpu.as_secs_f64() * 1e6 / events.max(1) as f64,
    })
}

/// All people's loops for so long, to the last event: how long each event took from its notice's call.
async fn run(
    cast: &Cast,
    arrivals: &mut [UnboundedReceiver<Instant>],
    streams: usize,
    length: Duration,
) -> Result<Histogram<u64>> {
    let until = Instant::now() + length;
    let loops = cast.people.iter().zip(arrivals);
    let loops = loops.map(|(person, arrived)| notify(cast, person, arrived, streams, until));
    let mut all = histogram()?;
    for took in futures_util::future::try_join_all(loops).await? {
        all.add(took)?;
    }
    Ok(all)
}

async fn notify(
    cast: &Cast,
    person: &Person,
    arrived: &mut UnboundedReceiver<Instant>,
    streams: usize,
    until: Instant,
) -> Result<Histogram<u64>> {
    let mut took = histogram()?;
    while Instant::now() < until {
        let begun = Instant::now();
        cast.source.partner.notify_change(&person.subject, "trip").await?;
        for nth in 0..streams {
            let at = timeout(ARRIVES_WITHIN, arrived.recv()).await;
            let at = at.with_context(|| format!("of {streams} streams {nth} have brought a notice"))?;
            let at = at.context("the streams have ended")?;
            took.saturating_record(u64::try_from(at.saturating_duration_since(begun).as_micros())?);
        }
    }
    Ok(took)
}
