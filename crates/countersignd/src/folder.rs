//! The data folder: where what stands in it.

use std::path::{Path, PathBuf};

/// A data folder.
///
/// ```text
/// countersign.toml      the configuration, as `init` wrote it and the operator changed it
/// broker.json           what partners and customers need to know of this broker; public
/// keys/log.key          signs the heads of the log
/// keys/call.key         signs the broker's tokens when it calls a source
/// keys/wrapping.key     wraps customers' data keys
/// keys/operator.key     the first operator's; belongs on the operator's own machine, not here
/// keys/second-operator.key  the second operator's, without whom no partner is let in; belongs on another person's machine
/// store/                the embedded engine's
/// catalogues/<hex>.toml every catalogue that was ever in use, by the SHA-256 of its bytes
/// ```
#[derive(Clone, Debug)]
pub struct DataFolder(PathBuf);

impl DataFolder {
    /// The folder at this path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration that `init` writes.
    pub fn configuration(&self) -> PathBuf {
        self.0.join("countersign.toml")
    }

    /// The trust file.
    pub fn trust(&self) -> PathBuf {
        self.0.join("broker.json")
    }

    /// Where the keys are.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The log's key.
    pub fn log_key(&self) -> PathBuf {
        self.keys().join("log.key")
    }

    /// The key of the broker's calls.
    pub fn call_key(&self) -> PathBuf {
        self.keys().join("call.key")
    }

    /// The key-encryption key.
    pub fn wrapping_key(&self) -> PathBuf {
        self.keys().join("wrapping.key")
    }

    /// The first operator's key.
    pub fn operator_key(&self) -> PathBuf {
        self.keys().join("operator.key")
    }

    /// The second operator's key.
    pub fn second_operator_key(&self) -> PathBuf {
        self.keys().join("second-operator.key")
    }

    /// The embedded engine's folder.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The catalogues.
    pub fn catalogues(&self) -> PathBuf {
        self.0.join("catalogues")
    }
}
