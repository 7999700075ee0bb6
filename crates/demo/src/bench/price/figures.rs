//! The figures, for machines and for the eye, and what is asked of them.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use super::{Gathered, SHARES_AT, disk::SyncTimes, made::Slice, shares::Portion};
use crate::director::grouped;

/// The version of the names in the JSON.
const VERSION: u32 = 1;

/// Which messages pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Messages {
    /// Signed beforehand: the middle alone is measured.
    Made,
    /// The real SDK at both ends.
    Sdk,
}

/// What stands in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    Relay,
    Broker,
}

/// What a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) messages: Messages,
    pub(super) in_flight: u16,
    pub(super) side: Side,
}

/// One row's slices.
#[derive(Default)]
pub(super) struct Sums(Vec<(Slice, Duration, u64)>);

impl Sums {
    /// A slice, the middle's processor time in it, and its memory after it.
    pub(super) fn add(&mut self, slice: Slice, cpu: Duration, resident_kib: u64) {
        self.0.push((slice, cpu, resident_kib));
    }
}

/// Everything that was measured. The names are described where the bench begins.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    version: u32,
    cores: usize,
    pub(super) rows: Vec<Row>,
    ratios: Vec<Ratio>,
    disk: Option<SyncTimes>,
    open_loop: Option<OpenLoop>,
    shares: Vec<Portion>,
    goals: Vec<Asked>,
}

/// One side at one width.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Row {
    messages: Messages,
    side: Side,
    in_flight: u16,
    calls_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us_per_call: f64,
    rss_mib: f64,
    calls: u64,
    pub(super) failures: u64,
    slices: usize,
}

/// The broker over the relay.
#[derive(Clone, Copy, Debug, Serialize)]
struct Ratio {
    messages: Messages,
    in_flight: u16,
    calls_per_s: f64,
    cpu_us_per_call: f64,
    p99_us: f64,
}

/// Calls at fixed moments.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct OpenLoop {
    per_second: f64,
    calls: u64,
    failures: u64,
    source_us: u64,
    p50_us: u64,
    p99_us: u64,
}

/// What is asked of a figure.
#[derive(Clone, Debug, Serialize)]
struct Asked {
    goal: &'static str,
    wanted: f64,
    found: f64,
    met: bool,
}

impl OpenLoop {
    pub(super) fn of(per_second: f64, slice: Slice, source: Duration) -> Self {
        let Slice { calls, failures, p50_us, p99_us, .. } = slice;
        let source_us = super::made::micros(source);
        Self { per_second, calls, failures, source_us, p50_us, p99_us }
    }
}

impl Slice {
    pub(in crate::bench) fn per_second(&self) -> f64 {
        self.calls as f64 * 1e6 / self.micros.max(1) as f64
    }
}

impl Row {
    fn of(key: Key, sums: &Sums) -> Self {
        let median_of =
            |value: &dyn Fn(&(Slice, Duration, u64)) -> f64| median(sums.0.iter().map(value).collect());
        Self {
            messages: key.messages,
            side: key.side,
            in_flight: key.in_flight,
            calls_per_s: median_of(&|(slice, ..)| slice.per_second()),
            p50_us: median_of(&|(slice, ..)| slice.p50_us as f64),
            p99_us: median_of(&|(slice, ..)| slice.p99_us as f64),
            cpu_us_per_call: median_of(&|(slice, cpu, _)| {
                cpu.as_secs_f64() * 1e6 / slice.calls.max(1) as f64
            }),
            rss_mib: median_of(&|(.., kib)| *kib as f64 / 1024.0),
            calls: sums.0.iter().map(|(slice, ..)| slice.calls).sum(),
            failures: sums.0.iter().map(|(slice, ..)| slice.failures).sum(),
            slices: sums.0.len(),
        }
    }
}

impl Figures {
    pub(super) fn of(gathered: Gathered) -> Self {
        let rows: Vec<Row> = gathered.sums.iter().map(|(key, sums)| Row::of(*key, sums)).collect();
        let mut ratios = Vec::new();
        for relay in rows.iter().filter(|row| row.side == Side::Relay) {
            let same = |row: &&Row| {
                row.side == Side::Broker && (row.messages, row.in_flight) == (relay.messages, relay.in_flight)
            };
            if let Some(broker) = rows.iter().find(same) {
                ratios.push(Ratio {
                    messages: relay.messages,
                    in_flight: relay.in_flight,
                    calls_per_s: broker.calls_per_s / relay.calls_per_s,
                    cpu_us_per_call: broker.cpu_us_per_call / relay.cpu_us_per_call,
                    p99_us: broker.p99_us / relay.p99_us,
                });
            }
        }
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let disk = gathered.disk.syncs();
        let goals = goals(&rows, &ratios, disk, gathered.open_loop);
        let (open_loop, shares) = (gathered.open_loop, gathered.shares);
        Self { version: VERSION, cores, rows, ratios, disk, open_loop, shares, goals }
    }

    /// Tables for the eye.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        for messages in [Messages::Made, Messages::Sdk] {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.messages == messages).collect();
            if rows.is_empty() {
                continue;
            }
            let title = match messages {
                Messages::Made => "Made messages: the middle alone",
                Messages::Sdk => "The SDK at both ends",
            };
            writeln!(
                text,
                "{title}; {} cores for all processes, medians of {} slices",
                self.cores, rows[0].slices
            )?;
            let names = ["in flight", "", "calls/s", "p50 ms", "p99 ms", "CPU µs", "RSS MiB"];
            let [flight, side, rate, p50, p99, cpu, rss] = names;
            writeln!(text, "{flight:>10}  {side:<7}{rate:>9}{p50:>10}{p99:>10}{cpu:>10}{rss:>10}")?;
            for row in rows {
                write_row(text, row)?;
                let of = |ratio: &&Ratio| (ratio.messages, ratio.in_flight) == (messages, row.in_flight);
                if row.side == Side::Broker
                    && let Some(ratio) = self.ratios.iter().find(of)
                {
                    let Ratio { calls_per_s, cpu_us_per_call, p99_us, .. } = ratio;
                    writeln!(
                        text,
                        "{:>10}  {:<7}{calls_per_s:>9.2}{:>10}{p99_us:>10.2}{cpu_us_per_call:>10.2}",
                        "", "ratio", ""
                    )?;
                }
            }
            writeln!(text)?;
        }
        if let Some(disk) = self.disk {
            writeln!(
                text,
                "This disk: {} syncs of 4 KiB appended, p50 {:.2} ms, p99 {:.2} ms",
                grouped(disk.syncs),
                ms(disk.p50_us as f64),
                ms(disk.p99_us as f64)
            )?;
        }
        if let Some(open) = self.open_loop {
            writeln!(
                text,
                "Open loop: {} calls/s, the source's {:.0} ms left out: p50 {:.2} ms, p99 {:.2} ms{}",
                grouped(open.per_second.round() as u64),
                ms(open.source_us as f64),
                ms(open.p50_us as f64),
                ms(open.p99_us as f64),
                if open.failures > 0 { format!("   {} FAILED", open.failures) } else { String::new() }
            )?;
        }
        if !self.shares.is_empty() {
            writeln!(text, "\nThe broker's processor time at {SHARES_AT} in flight, made messages")?;
            for share in &self.shares {
                writeln!(
                    text,
                    "{:>10.1} µs {:>6.1} %  {}",
                    share.us_per_call,
                    share.share * 100.0,
                    share.part
                )?;
            }
        }
        if !self.goals.is_empty() {
            writeln!(text, "\nGoals")?;
            for Asked { goal, wanted, found, met } in &self.goals {
                let word = if *met { "met" } else { "MISSED" };
                writeln!(text, "  {word:<7} {goal}: {found:.2} (wanted: {wanted:.2})")?;
            }
        }
        Ok(())
    }
}

fn write_row(text: &mut String, row: &Row) -> std::fmt::Result {
    let (flight, side) = match row.side {
        Side::Relay => (row.in_flight.to_string(), "relay"),
        Side::Broker => (String::new(), "broker"),
    };
    writeln!(
        text,
        "{flight:>10}  {side:<7}{:>9}{:>10.2}{:>10.2}{:>10.1}{:>10.0}{}",
        grouped(row.calls_per_s.round() as u64),
        ms(row.p50_us),
        ms(row.p99_us),
        row.cpu_us_per_call,
        row.rss_mib,
        if row.failures > 0 { format!("   {} FAILED", row.failures) } else { String::new() }
    )
}

/// What is asked, as far as it was measured.
fn goals(rows: &[Row], ratios: &[Ratio], disk: Option<SyncTimes>, open: Option<OpenLoop>) -> Vec<Asked> {
    let at_least = |goal, wanted, found: Option<f64>| {
        found.map(|found| Asked { goal, wanted, found, met: found >= wanted })
    };
    let at_most = |goal, wanted, found: Option<f64>| {
        found.map(|found| Asked { goal, wanted, found, met: found <= wanted })
    };
    let ratio = |messages, in_flight| {
        ratios.iter().find(|ratio| (ratio.messages, ratio.in_flight) == (messages, in_flight))
    };
    let row = |messages, side, in_flight| {
        rows.iter().find(|row| (row.messages, row.side, row.in_flight) == (messages, side, in_flight))
    };
    let (made, sdk) = (ratio(Messages::Made, 64), ratio(Messages::Sdk, 64));
    let allowed = row(Messages::Made, Side::Relay, 16).zip(disk);
    let allowed = allowed.map(|(relay, disk)| ms(2.5 * relay.p99_us + 2.0 * disk.p99_us as f64));
    let broker = row(Messages::Made, Side::Broker, 16).map(|broker| ms(broker.p99_us));
    [
        at_least("made, 64 in flight: share of the relay's calls/s", 0.60, made.map(|made| made.calls_per_s)),
        at_most("made, 64 in flight: times the relay's CPU", 1.9, made.map(|made| made.cpu_us_per_call)),
        at_least("SDK, 64 in flight: share of the relay's calls/s", 0.75, sdk.map(|sdk| sdk.calls_per_s)),
        at_least(
            "SDK, 64 in flight: transfers/s",
            2000.0,
            row(Messages::Sdk, Side::Broker, 64).map(|row| row.calls_per_s),
        ),
        allowed.and_then(|allowed| {
            at_most("made, 16 in flight: p99 in ms, of 2.5 of the relay's and two syncs", allowed, broker)
        }),
        at_most("open loop: the broker's own p99 in ms", 10.0, open.map(|open| ms(open.p99_us as f64))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn ms(us: f64) -> f64 {
    us / 1000.0
}

/// The middle value; between two, their mean.
pub(in crate::bench) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match (values.get(half), values.len() % 2) {
        (Some(upper), 0) => f64::midpoint(values[half - 1], *upper),
        (Some(middle), _) => *middle,
        (None, _) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered() -> Gathered {
        let mut gathered = Gathered::default();
        for (messages, side, calls) in [
            (Messages::Made, Side::Relay, 6000),
            (Messages::Made, Side::Broker, 4000),
            (Messages::Sdk, Side::Relay, 3000),
            (Messages::Sdk, Side::Broker, 2400),
        ] {
            for in_flight in [16, 64] {
                let slice = Slice { calls, failures: 0, micros: 1_000_000, p50_us: 2000, p99_us: 5000 };
                let sums = gathered.sums.entry(Key { messages, in_flight, side }).or_default();
                sums.add(slice, Duration::from_millis(500), 2048);
            }
        }
        let slice = Slice { calls: 10, failures: 0, micros: 1_000_000, p50_us: 2000, p99_us: 5000 };
        gathered.open_loop = Some(OpenLoop::of(2000.0, slice, Duration::from_millis(5)));
        gathered.shares = vec![Portion { part: "token".to_owned(), us_per_call: 3.0, share: 0.01 }];
        gathered
    }

    #[test]
    fn medians_are_of_the_middle() {
        let check =
            |values: &[f64], expected: f64| assert!((median(values.to_vec()) - expected).abs() < 1e-9);
        check(&[3.0, 1.0, 2.0], 2.0);
        check(&[4.0, 1.0, 2.0, 3.0], 2.5);
        check(&[], 0.0);
    }

    #[tokio::test]
    async fn the_names_are_those_that_are_described() {
        let folder = tempfile::tempdir().unwrap();
        let mut gathered = gathered();
        gathered.disk.sync(folder.path(), 3).await.unwrap();
        let figures = Figures::of(gathered);
        let json = serde_json::to_value(&figures).unwrap();
        let described = include_str!("mod.rs");
        for (name, value) in json.as_object().unwrap() {
            let inner = value.as_array().and_then(|list| list.first()).unwrap_or(value);
            let names: Vec<&String> = inner.as_object().into_iter().flat_map(serde_json::Map::keys).collect();
            assert!(!names.is_empty() || described.contains(&format!("`{name}`")), "{name}");
            for inner in names {
                assert!(described.contains(&format!(".{inner}`")), "{name}.{inner}");
            }
        }
        let met: Vec<bool> = figures.goals.iter().map(|goal| goal.met).collect();
        // Four thousand of six thousand are enough; 1.5 times the processor time too.
        assert_eq!(met, [true; 6], "{:?}", figures.goals);
        let table = figures.table();
        assert!(table.contains("0.67") && table.contains("2,400") && !table.contains("FAILED"), "{table}");
    }
}
