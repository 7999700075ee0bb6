//! From a command line to an exit code.

use std::{env, io};

use tokio_util::sync::CancellationToken;

use crate::{
    arguments::{self, Arguments, Command},
    config::{self, ConfigError},
    folder::DataFolder,
    init::{self, InitError},
    real::SystemEntropy,
    scrub,
    serve::{self, ServeError},
    signals,
    telemetry::{self, WrongFilter},
};

/// Failed while running; another start may succeed.
const FAILED: u8 = 1;

/// `EX_CANTCREAT` of sysexits: what `init` would write is there, or can't be written.
const CANT_CREATE: u8 = 73;

/// `EX_CONFIG` of sysexits: a file of the operator's is wrong, and starting again changes nothing.
const WRONG_CONFIGURATION: u8 = 78;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// `init` made no data folder.
    #[error("init: {0}")]
    Init(#[from] InitError),
    /// The configuration is refused.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The filter of the log lines is refused.
    #[error("configuration: {0}")]
    Filter(#[from] WrongFilter),
    /// The broker isn't served.
    #[error("{0}")]
    Serve(#[from] ServeError),
    /// The store isn't scrubbed.
    #[error("scrub: {0}; the same again goes on")]
    Scrub(#[from] countersign_store_sled::ScrubError),
    /// The system gives no threads.
    #[error("the runtime can't be started: {0}")]
    Runtime(io::Error),
}

impl Failure {
    /// The exit code that tells a supervisor whether to try again. A wrong command line is 2, by clap.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Init(_) => CANT_CREATE,
            Self::Config(_) | Self::Filter(_) => WRONG_CONFIGURATION,
            Self::Serve(error) if error.is_configuration() => WRONG_CONFIGURATION,
            Self::Serve(_) | Self::Scrub(_) | Self::Runtime(_) => FAILED,
        }
    }
}

/// Does what the command line says.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Init(given) => make(given),
        Command::Serve(given) => {
            let config = config::read(&given.config, variables())?;
            telemetry::start(&config.logging)?;
            let runtime = tokio::runtime::Runtime::new().map_err(Failure::Runtime)?;
            runtime.block_on(async {
                let stop = CancellationToken::new();
                signals::cancel_on_signal(stop.clone()).map_err(ServeError::Signals)?;
                let ready = serve::prepare(&config).await?;
                ready.say(given.ready_file.as_deref())?;
                Ok(ready.run(stop).await?)
            })
        }
        Command::Scrub(given) => {
            let config = config::read(&given.config, variables())?;
            telemetry::start(&config.logging)?;
            let runtime = tokio::runtime::Runtime::new().map_err(Failure::Runtime)?;
            let done = runtime.block_on(scrub::run(&config))?;
            println!(
                "scrubbed {}: {} private parts blanked, {} journal segments removed, {} stripped to their leaves",
                DataFolder::at(&config.data).store().display(),
                done.blanked,
                done.removed,
                done.stripped
            );
            Ok(())
        }
    }
}

fn make(given: arguments::Init) -> Result<(), Failure> {
    let plan = given.into();
    init::init(&plan, &SystemEntropy)?;
    let folder = DataFolder::at(&plan.data);
    println!("made {}", folder.path().display());
    println!("for partners and customers: {}", folder.trust().display());
    println!("the operators' keys, each to be moved to the machine of another person:");
    for key in [folder.operator_key(), folder.second_operator_key()] {
        println!("  {}", key.display());
    }
    println!("next: countersignd serve --config {}", folder.configuration().display());
    Ok(())
}

/// The environment, as far as it is text. A variable of ours that isn't stands in no key's way: its name is refused.
fn variables() -> impl Iterator<Item = (String, String)> {
    env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        Some((name, value.to_string_lossy().into_owned()))
    })
}
