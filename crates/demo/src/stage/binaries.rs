//! The programs that are started: those that were built beside this one.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::present;

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    /// The daemon.
    pub(crate) countersignd: PathBuf,
    /// The command line.
    pub(crate) countersign: PathBuf,
    /// This program, which plays the brands too.
    pub(crate) demo: PathBuf,
}

impl Binaries {
    /// Those in the folder of this program.
    pub(crate) fn beside_this_one() -> Result<Self> {
        let demo = std::env::current_exe().context("where this program is")?;
        let folder = demo.parent().context("a program stands in a folder")?;
        let beside = |name: &str| {
            let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
            present(path, "`cargo xtask demo` builds everything that it needs")
        };
        Ok(Self {
            countersignd: beside("countersignd")?,
            countersign: beside("countersign")?,
            demo: demo.clone(),
        })
    }
}
