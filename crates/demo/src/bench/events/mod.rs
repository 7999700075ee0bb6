//! `cargo xtask bench events`: how soon a stop is at every open stream, and how many events are fanned out.
//!
//! A source, several recipients, and people of whom each approved one grant to every recipient. All of them stand in this
//! process and share the processors with the broker; each stream is a `WatchEvents` call of its own. First the notices:
//! the source says of each person that something changed, which is a record for each recipient and an event at each of its
//! streams. Then the stops: with the streams open, spread evenly over source, recipients and people, one grant after the
//! other is stopped by its customer, which is an event at the streams of its three parties.
//!
//! `--json` writes one object; names are stable, and new ones may come:
//!
//! | name | what |
//! |---|---|
//! | `version`, `cores` | 1: the version of these names; processors that all processes share |
//! | `people` | people, each with one grant to each recipient |
//! | `notices[].recipients`, `.streams`, `.in_flight` | recipients; streams, of all of them together; notices under way, each begun as all events of one have come |
//! | `notices[].notices`, `.events`, `.seconds` | notices given; events that streams brought; in what time |
//! | `notices[].events_per_s` | events a second, over all streams |
//! | `notices[].p50_us`, `.p99_us`, `.max_us` | from the source's call to the event at a stream, in microseconds |
//! | `notices[].broker_cpu_us_per_event` | the broker's processor time an event, its share of the notice's records included |
//! | `stops[].streams`, `.stops`, `.events` | streams that are open; stops made; events of them that streams brought |
//! | `stops[].missing` | events that had not come after ten seconds |
//! | `stops[].p50_us`, `.p99_us`, `.max_us` | from the record's time to the event at a stream: the broker sets that time before it commits and cuts it to the millisecond, so these are too long by one sync and up to 1,000 |
//! | `stops[].last_p50_us`, `.last_p99_us` | the same to the last stream of each stop |
//! | `stops[].answer_p50_us` | from the customer's call to the verified proof that the stop is recorded |

mod cast;
mod notices;
mod stops;
mod streams;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::builder::RangedU64ValueParser;
use countersign_client::{channel::call, proto::v1::GetCheckpointRequest, tlog::SignedCheckpoint};
use hdrhistogram::Histogram;
use serde::Serialize;

use self::{
    cast::{Cast, STREAMS_OF_ONE},
    notices::Fanned,
    stops::Stopped,
};
use crate::director::grouped;

/// The longest that is told apart: what has not come by then is missing.
const MAX_MICROS: u64 = 60_000_000;

/// Within this a head is published: the broker does it once a second.
const PUBLISHED_WITHIN: Duration = Duration::from_millis(2500);

/// What is measured, and how large it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many streams are open when grants are stopped, one number after the other.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [64, 1024])]
    streams: Vec<usize>,
    /// How many streams each recipient has open when notices are given, one number after the other.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 16])]
    streams_each: Vec<usize>,
    /// How long notices are given with each number of streams.
    #[arg(long, value_name = "SECONDS", default_value_t = 8, value_parser = RangedU64ValueParser::<u64>::new().range(1..=600))]
    seconds: u64,
    /// How many recipients there are: a request has seven rows at most.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = RangedU64ValueParser::<usize>::new().range(1..=7))]
    recipients: usize,
    /// How many people there are; for each number of streams an equal part of them stops everything.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1000))]
    people: usize,
    /// Every figure as JSON on the standard output, under a stable name.
    #[arg(long)]
    json: bool,
}

/// Everything that was measured. The names are described where this file begins.
#[derive(Debug, Serialize)]
struct Figures {
    version: u32,
    cores: usize,
    people: usize,
    notices: Vec<Fanned>,
    stops: Vec<Stopped>,
}

/// Measures; whether every event came.
pub(crate) async fn run(arguments: &Arguments) -> Result<bool> {
    let parties = 1 + arguments.recipients + arguments.people;
    for streams in &arguments.streams {
        let most = parties * STREAMS_OF_ONE;
        ensure!((1..=most).contains(streams), "--streams: {parties} parties have 1 to {most} streams");
    }
    let each = arguments.streams_each.iter().all(|each| (1..=STREAMS_OF_ONE).contains(each));
    ensure!(each, "--streams-each: one recipient has 1 to {STREAMS_OF_ONE} streams");
    ensure!(arguments.people >= arguments.streams.len(), "--people: there is one for each of --streams");

    let mut cast = Cast::set(arguments.recipients, arguments.people).await?;
    let (mut notices, mut stops) = (Vec::new(), Vec::new());
    for each in &arguments.streams_each {
        notices.push(notices::measure(&cast, *each, Duration::from_secs(arguments.seconds)).await?);
    }
    let part = arguments.people / arguments.streams.len().max(1);
    for (streams, people) in arguments.streams.iter().zip(cast.people.chunks(part)) {
        stops.push(stops::measure(&cast, *streams, people).await?);
    }
    cast.stage.close().await?;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let figures = Figures { version: 1, cores, people: arguments.people, notices, stops };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print(&figures);
    }
    Ok(figures.stops.iter().all(|stops| stops.missing == 0))
}

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, MAX_MICROS, 3)?)
}

/// Where the log ends, by its published head: streams begin there. Nothing is under way, so after a publication that is the
/// end indeed.
async fn size_of_log(cast: &Cast) -> Result<u64> {
    tokio::time::sleep(PUBLISHED_WITHIN).await;
    let connection = cast.source.partner.connection();
    let answer = connection.audit().get_checkpoint(call(GetCheckpointRequest {})).await?.into_inner();
    let checkpoint = SignedCheckpoint::verify(answer.checkpoint, &cast.stage.trust.log_key);
    Ok(checkpoint.context("the broker's checkpoint")?.size())
}

fn print(figures: &Figures) {
    let ms = |us: u64| us as f64 / 1000.0;
    println!(
        "Change notices, each a record and an event for each recipient; {} cores for all",
        figures.cores
    );
    println!(
        "{:>10}{:>10}{:>12}{:>12}{:>10}{:>10}{:>10}{:>15}",
        "streams", "notices", "events", "events/s", "p50 ms", "p99 ms", "max ms", "CPU µs/event"
    );
    for row in &figures.notices {
        println!(
            "{:>10}{:>10}{:>12}{:>12}{:>10.2}{:>10.2}{:>10.2}{:>15.1}",
            row.streams,
            grouped(row.notices),
            grouped(row.events),
            grouped(row.events_per_s.round() as u64),
            ms(row.p50_us),
            ms(row.p99_us),
            ms(row.max_us),
            row.broker_cpu_us_per_event
        );
    }
    println!(
        "\nStops, from the record's time to the event at each stream that it concerns, and to the last of them"
    );
    println!(
        "{:>10}{:>10}{:>12}{:>10}{:>10}{:>10}{:>14}{:>14}",
        "streams", "stops", "events", "p50 ms", "p99 ms", "max ms", "last p50 ms", "last p99 ms"
    );
    for row in &figures.stops {
        let missing = if row.missing > 0 { format!("   {} MISSING", row.missing) } else { String::new() };
        println!(
            "{:>10}{:>10}{:>12}{:>10.2}{:>10.2}{:>10.2}{:>14.2}{:>14.2}{missing}",
            row.streams,
            row.stops,
            grouped(row.events),
            ms(row.p50_us),
            ms(row.p99_us),
            ms(row.max_us),
            ms(row.last_p50_us),
            ms(row.last_p99_us)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_are_described() {
        let notices = Fanned {
            recipients: 7,
            streams: 7,
            in_flight: 24,
            notices: 10,
            events: 70,
            seconds: 1.0,
            events_per_s: 70.0,
            p50_us: 1,
            p99_us: 2,
            max_us: 3,
            broker_cpu_us_per_event: 1.0,
        };
        let figures = Figures {
            version: 1,
            cores: 2,
            people: 24,
            notices: vec![notices],
            stops: vec![Stopped::default()],
        };
        let json = serde_json::to_value(&figures).unwrap();
        let described = include_str!("mod.rs");
        for (name, value) in json.as_object().unwrap() {
            let Some(rows) = value.as_array() else {
                assert!(described.contains(&format!("`{name}`")), "{name}");
                continue;
            };
            for inner in rows[0].as_object().unwrap().keys() {
                let line = described.lines().find(|line| {
                    line.starts_with(&format!("//! | `{name}[]"))
                        && (line.contains(&format!("`{name}[].{inner}`"))
                            || line.contains(&format!("`.{inner}`")))
                });
                assert!(line.is_some(), "{name}[].{inner}");
            }
        }
    }
}
