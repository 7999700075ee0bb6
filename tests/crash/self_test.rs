//! The proof that the checks can fail.

use std::path::Path;

use anyhow::Result;

pub(crate) async fn run(_seed: u64, _folder: &Path) -> Result<()> {
    Ok(())
}
