//! What a campaign can be told.

use std::path::PathBuf;

use clap::Parser;

/// Rounds of the slice that runs without arguments, undisturbed and with harm.
const SLICE: u32 = 10;

/// A real daemon under load, killed again and again, and checked after each time.
#[derive(Clone, Debug, Parser)]
#[command(name = "crash", bin_name = "cargo xtask crash")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Options {
    /// How many rounds: each ends with a SIGKILL, a check of the disk, and a restart. Without it a short slice runs:
    /// rounds, rounds with harm, and the proof that the checks can fail.
    #[arg(long)]
    pub(crate) rounds: Option<u32>,
    /// Everything that is drawn follows from it; what the machine's scheduling adds does not.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Harms the disk between kill and restart.
    #[arg(long)]
    pub(crate) harm: bool,
    /// Only this harm, by its name in the lines of the rounds.
    #[arg(long, requires = "harm")]
    pub(crate) only: Option<String>,
    /// After so many rounds a fresh broker with fresh parties begins, so that a long campaign sees many beginnings.
    #[arg(long, default_value_t = 12)]
    pub(crate) life: u32,
    /// The longest load before a kill.
    #[arg(long, default_value_t = 1200)]
    pub(crate) load_ms: u64,
    /// Where it works; a fresh temporary folder otherwise. It is kept after a fault.
    #[arg(long)]
    pub(crate) folder: Option<PathBuf>,
    /// One JSON object a round, and one for the whole, instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
    /// Makes the checks prove that they can fail, on a broker of their own.
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
        !self.filters.is_empty() && !self.filters.iter().any(|filter| "crash".contains(filter.as_str()))
    }

    /// The campaigns of this run: each with its number of rounds, and whether the disk is harmed.
    pub(crate) fn campaigns(&self) -> Vec<(u32, bool)> {
        match self.rounds {
            Some(rounds) => vec![(rounds, self.harm)],
            None if self.self_test => Vec::new(),
            None if self.harm => vec![(SLICE, true)],
            None => vec![(SLICE, false), (SLICE, true)],
        }
    }

    /// Whether the checks prove that they can fail.
    pub(crate) fn tests_itself(&self) -> bool {
        self.self_test || (self.rounds.is_none() && !self.harm)
    }
}
