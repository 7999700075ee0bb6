//! Writes down the files of `app/dist`, if the app is built, so that `lib.rs` embeds them.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

/// What `npm run build` fills. The folder itself is always there, so that cargo sees when it is filled.
const DIST: &str = "app/dist";

/// What a compressed copy is called: the file's name and this.
const BROTLI: &str = ".br";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={DIST}");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join(DIST);
    let mut paths = Vec::new();
    collect(&root, &root, &mut paths)?;
    paths.sort();

    let mut text = String::from("&[\n");
    for path in paths.iter().filter(|path| !path.ends_with(BROTLI)) {
        let packed = format!("{path}{BROTLI}");
        let brotli = if paths.binary_search(&packed).is_ok() {
            format!("Some(include_bytes!({:?}))", text_of(&root.join(&packed)))
        } else {
            "None".to_owned()
        };
        let bytes = root.join(path);
        let bytes = text_of(&bytes);
        writeln!(text, "    File {{ path: {path:?}, bytes: include_bytes!({bytes:?}), brotli: {brotli} }},")
            .expect("text can be written to");
    }
    text.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("files.rs"), text)
}

/// A path as a literal can hold it.
fn text_of(path: &Path) -> &str {
    path.to_str().expect("the workspace stands in a folder whose path is text")
}

/// The files below `folder`, by their paths from `root`, with `/` between the parts. Those whose names begin with a dot are
/// no part of the app.
fn collect(root: &Path, folder: &Path, into: &mut Vec<String>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(".");
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, into)?;
        } else {
            let below = path.strip_prefix(root).expect("it was found below the root");
            let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            into.push(parts.join("/"));
        }
    }
    Ok(())
}
