//! What the campaign can be told.

use clap::Parser;

/// Commits of the scenario.
pub(crate) const COMMITS: u64 = 2_000;

/// Images of the slice that runs without arguments.
const SLICE: usize = 200;

/// A store's disk as power cuts leave it, opened and checked.
#[derive(Clone, Debug, Parser)]
#[command(name = "powercut", bin_name = "cargo xtask powercut")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Options {
    /// How many images, drawn from all that there are. Without it, and without --all, a short slice runs, and the
    /// proof that the checks can fail.
    #[arg(long)]
    pub(crate) images: Option<usize>,
    /// At every moment at which a sync ended: what was synced, and an image with some of what wasn't.
    #[arg(long, conflicts_with = "images")]
    pub(crate) all: bool,
    /// The scenario and the images follow from it; how the engine's threads interleave does not.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many commits the scenario has.
    #[arg(long, default_value_t = COMMITS)]
    pub(crate) commits: u64,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Makes the checks prove that they can fail: files that lie about syncs must be found out.
    #[arg(long)]
    pub(crate) self_test: bool,
    /// Runs a real daemon into a full disk, and starts it again.
    #[arg(long)]
    pub(crate) full_disk: bool,
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
        !self.filters.is_empty() && !self.filters.iter().any(|filter| "powercut".contains(filter.as_str()))
    }

    /// Whether nothing was asked for in particular.
    pub(crate) fn is_slice(&self) -> bool {
        self.images.is_none() && !self.all && !self.self_test && !self.full_disk
    }

    /// How many images are drawn; `None` is all of them.
    pub(crate) fn drawn(&self) -> Option<usize> {
        if self.all { None } else { Some(self.images.unwrap_or(SLICE)) }
    }
}
