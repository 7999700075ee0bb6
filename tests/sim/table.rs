//! What is shown of a campaign.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use crate::{options::Options, run::Report};

/// The sums over all runs.
pub(crate) struct Table {
    json: bool,
    runs: u64,
    of: u64,
    failed: Vec<u64>,
    sums: BTreeMap<&'static str, u64>,
    faults: BTreeMap<&'static str, u64>,
    outcomes: BTreeMap<String, u64>,
    simulated: Duration,
    spent: Duration,
    slowest_settling_ms: u64,
}

/// Runs between two lines of progress.
const PROGRESS: u64 = 50;

impl Table {
    pub(crate) fn new(options: &Options, of: u64) -> Self {
        Self {
            json: options.json,
            runs: 0,
            of,
            failed: Vec::new(),
            sums: BTreeMap::new(),
            faults: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            simulated: Duration::ZERO,
            spent: Duration::ZERO,
            slowest_settling_ms: 0,
        }
    }

    /// Adds a run, and shows it if it failed.
    pub(crate) fn add(&mut self, report: &Report) {
        self.runs += 1;
        for (name, number) in numbers(report) {
            *self.sums.entry(name).or_default() += number;
        }
        for (fault, number) in &report.counts.faults {
            *self.faults.entry(fault).or_default() += number;
        }
        for (outcome, number) in &report.counts.outcomes {
            *self.outcomes.entry(outcome.clone()).or_default() += number;
        }
        self.simulated += report.simulated;
        self.spent += report.cpu;
        self.slowest_settling_ms = self.slowest_settling_ms.max(report.settled_ms);
        if !report.violations.is_empty() {
            self.failed.push(report.seed);
        }
        if self.json {
            let row = json!({
                "seed": report.seed,
                "digest": report.digest,
                "simulated_ms": report.simulated.as_millis() as u64,
                "spent_ms": report.cpu.as_millis() as u64,
                "settled_ms": report.settled_ms,
                "numbers": numbers(report).into_iter().collect::<BTreeMap<_, _>>(),
                "faults": report.counts.faults,
                "outcomes": report.counts.outcomes,
                "violations": report.violations,
            });
            println!("{row}");
        } else if !report.violations.is_empty() {
            Self::show_failure(report);
        } else if self.of == 1 {
            println!(
                "seed {}: digest {}, {} events, {:?} simulated in {:.1?}",
                report.seed, report.digest, report.events, report.simulated, report.cpu
            );
        } else if self.runs.is_multiple_of(PROGRESS) {
            println!("{} of {} seeds, {} failed", self.runs, self.of, self.failed.len());
        }
    }

    fn show_failure(report: &Report) {
        println!("seed {} FAILED:", report.seed);
        for violation in &report.violations {
            println!("  {}: {}", violation.invariant, violation.detail);
        }
        println!("  the last events (all of them: `cargo xtask sim --seed {} --trace`):", report.seed);
        for line in &report.recent {
            println!("    {line}");
        }
    }

    /// Shows the sums; says whether everything held.
    pub(crate) fn end(mut self) -> bool {
        self.failed.sort_unstable();
        if self.json {
            let all = json!({
                "seeds": self.runs,
                "failed": self.failed,
                "simulated_s": self.simulated.as_secs(),
                "spent_s": self.spent.as_secs(),
                "slowest_settling_ms": self.slowest_settling_ms,
                "numbers": self.sums,
                "faults": self.faults,
                "outcomes": self.outcomes,
            });
            println!("{all}");
            return self.failed.is_empty();
        }
        let line = |name: &str, value: String| println!("  {name:<22} {value:>12}");
        println!("{} seeds, {} failed {:?}", self.runs, self.failed.len(), self.failed);
        line("simulated", format!("{} s", self.simulated.as_secs()));
        line("spent", format!("{:.1} s", self.spent.as_secs_f64()));
        line(
            "slowest settling",
            format!("{:.1} s", Duration::from_millis(self.slowest_settling_ms).as_secs_f64()),
        );
        for (name, number) in &self.sums {
            line(name, number.to_string());
        }
        println!("faults:");
        for (name, number) in &self.faults {
            line(name, number.to_string());
        }
        println!("what calls came to:");
        let mut outcomes: Vec<_> = self.outcomes.iter().collect();
        outcomes.sort_by_key(|(_, number)| std::cmp::Reverse(**number));
        for (name, number) in outcomes {
            println!("  {number:>9} {name}");
        }
        self.failed.is_empty()
    }
}

fn numbers(report: &Report) -> [(&'static str, u64); 13] {
    [
        ("steps", report.steps),
        ("events", report.events),
        ("calls", report.counts.calls),
        ("records", report.records),
        ("grants", report.grants),
        ("transfers", report.transfers),
        ("stops", report.stops),
        ("provided, not released", report.dropped),
        ("taps", report.taps),
        ("superseded", report.superseded),
        ("suspended", report.suspended),
        ("revoked", report.revoked),
        ("accounts closed", report.closed),
    ]
}
