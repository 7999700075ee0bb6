//! From `proto/` to `crates/proto/src/gen`: messages, stubs and the descriptor set.
//!
//! The generated files are committed, and a house test generates them again and compares. So everything here
//! is a function of the protos and `Cargo.lock` alone: protox parses, so no `protoc` is needed, and
//! prettyplease formats, so the output doesn't change with the toolchain's rustfmt.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use prost::Message;
use prost_types::FileDescriptorSet;

/// Where the generated files are committed, from the workspace's root.
pub const COMMITTED: &str = "crates/proto/src/gen";

/// The file name of the descriptor set that the reflection service is given.
pub const DESCRIPTOR: &str = "descriptor.bin";

/// Stored rows are no API: nobody outside the broker may come to rely on them, so reflection never shows them.
const NOT_REFLECTED: &str = "countersign.row.v1";

/// Generates everything into `out_dir`, which is created if absent, and returns the paths of the files written.
pub fn generate(out_dir: &Path) -> Result<Vec<PathBuf>> {
    let protos = crate::workspace_root().join("proto");
    let set = compile(&protos)?;
    fs::create_dir_all(out_dir).with_context(|| format!("creating {}", out_dir.display()))?;

    tonic_prost_build::configure()
        .out_dir(out_dir)
        .bytes(".")
        // Channels are the client crate's choice: the stubs take any service.
        .build_transport(false)
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .emit_rerun_if_changed(false)
        .compile_fds(set.clone())
        .context("generating Rust from the protos")?;

    fs::write(out_dir.join(DESCRIPTOR), reflected(set).encode_to_vec())
        .with_context(|| format!("writing {DESCRIPTOR}"))?;
    files_in(out_dir)
}

/// Every file of `dir`, sorted by name.
pub fn files_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(dir)
        .with_context(|| format!("reading {}", dir.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// Parses and links every `.proto` below `root`, comments and imports included.
pub fn compile(root: &Path) -> Result<FileDescriptorSet> {
    let mut sources = Vec::new();
    find_protos(root, &mut sources)?;
    sources.sort();
    ensure!(!sources.is_empty(), "there is no .proto file under {}", root.display());
    // protox draws the place of an error in a terminal only through miette; its message names file and line.
    protox::compile(&sources, [root]).map_err(|error| anyhow::anyhow!("{error:?}"))
}

/// What a client may learn by reflection: no comments (they are most of the bytes), no stored rows.
fn reflected(mut set: FileDescriptorSet) -> FileDescriptorSet {
    set.file.retain(|file| file.package() != NOT_REFLECTED);
    for file in &mut set.file {
        file.source_code_info = None;
    }
    set
}

fn find_protos(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}
