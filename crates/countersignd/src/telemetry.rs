//! What the daemon says while it runs: lines on stderr.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::{EnvFilter, util::SubscriberInitExt as _};

use crate::config::{LogFormat, Logging};

/// A filter that isn't one.
#[derive(Debug, thiserror::Error)]
#[error("logging.filter: `{filter}`: {source}")]
pub struct WrongFilter {
    /// What was given.
    filter: String,
    /// What is wrong with it.
    source: tracing_subscriber::filter::ParseError,
}

/// Lets lines out from here on. A second call in one process changes nothing: the first one's choice stands.
pub fn start(logging: &Logging) -> Result<(), WrongFilter> {
    let filter = EnvFilter::try_new(&logging.filter)
        .map_err(|source| WrongFilter { filter: logging.filter.clone(), source })?;
    let colours = stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(colours);
    let started = match logging.format {
        LogFormat::Text => lines.finish().try_init(),
        LogFormat::Json => lines.json().finish().try_init(),
    };
    // The only error is that there is a subscriber already.
    drop(started);
    Ok(())
}
