#![doc = "Countersign's daemon: configuration, keys, wiring, signals."]
//!
//! What the broker is given stands here: its configuration, its keys, an engine, the real clock and the real
//! randomness. What it does stands in `countersign-broker`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`catalogues`] | keeping every catalogue that was ever in use |
//! | [`config`] | the configuration file, and the environment over it |
//! | [`folder`] | what stands where in the data folder |
//! | [`init`] | making a data folder |
//! | [`keyfile`] | the format of key files, which the SDK and the CLI share |
//! | [`real`] | the system's clock and randomness |
//! | [`scrub`] | taking what was erased off the disk at once |
//! | [`serve`] | wiring the broker and running it |
//! | [`signals`] | when it ends |
//! | [`telemetry`] | what it says meanwhile |

pub mod arguments;
pub mod catalogues;
mod companion;
pub mod config;
pub mod folder;
pub mod init;
pub mod keyfile;
pub mod real;
mod run;
pub mod scrub;
pub mod serve;
pub mod signals;
pub mod telemetry;

pub use run::{Failure, run};
