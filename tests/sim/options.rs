//! What a campaign can be told.

use std::ops::Range;

use clap::Parser;

use crate::store::Mutation;

/// The seeds of the slice that runs without arguments.
const SLICE: Range<u64> = 1..21;

/// Broker, partners, customers and an auditor on a simulated network: faults by seed, and a seed makes a run again.
#[derive(Clone, Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(name = "sim", bin_name = "cargo xtask sim")]
pub(crate) struct Options {
    /// The seeds from A up to, and without, B. Without it a short slice runs, and the proof that the checks can fail.
    #[arg(long, value_name = "A..B", value_parser = range)]
    pub(crate) seeds: Option<Range<u64>>,
    /// One seed.
    #[arg(long, conflicts_with = "seeds")]
    pub(crate) seed: Option<u64>,
    /// Shows every event of the run.
    #[arg(long, requires = "seed")]
    pub(crate) trace: bool,
    /// How many runs at a time.
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// One JSON object a run, and one for all.
    #[arg(long)]
    pub(crate) json: bool,
    /// Makes the broker's store lie, to see the checks fail.
    #[arg(long)]
    pub(crate) mutation: Option<Mutation>,
    /// Only the proof that the checks can fail, and that a seed makes the same run again.
    #[arg(long)]
    pub(crate) self_test: bool,
    /// Names of tests, as `cargo test` passes them on: the campaign runs if its name contains one of them.
    #[arg(hide = true)]
    filters: Vec<String>,
    /// Taken and not needed: what `cargo test` passes to every test.
    #[arg(long, hide = true)]
    nocapture: bool,
}

impl Options {
    /// Whether a filter of `cargo test` leaves this target out.
    pub(crate) fn is_left_out(&self) -> bool {
        !self.filters.is_empty() && !self.filters.iter().any(|filter| "sim".contains(filter.as_str()))
    }

    /// The seeds of this run.
    pub(crate) fn chosen(&self) -> Range<u64> {
        match (self.seed, &self.seeds) {
            (Some(seed), _) => seed..seed + 1,
            (None, Some(seeds)) => seeds.clone(),
            (None, None) if self.self_test => 0..0,
            (None, None) => SLICE,
        }
    }

    /// Whether the checks have to prove that they can fail.
    pub(crate) fn tests_itself(&self) -> bool {
        self.self_test || (self.seed.is_none() && self.seeds.is_none() && self.mutation.is_none())
    }
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (first, end) = text.split_once("..").ok_or("two numbers with `..` between them")?;
    let number = |text: &str| text.trim().parse::<u64>().map_err(|error| format!("`{text}`: {error}"));
    let (first, end) = (number(first)?, number(end)?);
    if first < end { Ok(first..end) } else { Err(format!("{first}..{end} is empty")) }
}
