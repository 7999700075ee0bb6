//! What the workspace's own commands share with its house tests: the code generator and the lint of the
//! protos. The commands themselves are in `main.rs` and its modules.

use std::path::{Path, PathBuf};

pub mod codegen;
pub mod lint;

/// The root folder of the workspace.
pub fn workspace_root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("crates/xtask stands two folders below the root")
}
