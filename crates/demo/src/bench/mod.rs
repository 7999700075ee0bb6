//! The bench: transfers a second and their latency, the broker's memory and time, and how fast a log is checked.

use anyhow::Result;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Every figure as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(_arguments: &Arguments) -> Result<bool> {
    Ok(true)
}
