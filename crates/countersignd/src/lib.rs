#![doc = "Countersign's daemon: configuration, keys, wiring, signals."]
//!
//! What the broker is given stands here: its configuration, its keys, an engine, the real clock and the real
//! randomness. What it does stands in `countersign-broker`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`arguments`] | the command line |
//! | [`config`] | the configuration file, and the environment over it |
//! | [`folder`] | what stands where in the data folder |
//! | [`init`] | making a data folder |
//! | [`keyfile`] | the format of key files, which the SDK and the CLI share |
//! | [`real`] | the system's clock and randomness |

pub mod arguments;
pub mod config;
pub mod folder;
pub mod init;
pub mod keyfile;
pub mod real;
