//! Replays the corpora of the fuzz targets, and every input that once broke something, on any toolchain.
//!
//! Files called `seed-…` are made from the story in `tests/fuzz/src/known.rs`; the others were found by fuzzing. With
//! `COUNTERSIGN_WRITE=1` the seeds are written anew.
#![cfg(test)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "for the binaries of the targets it is a library")]
mod fuzz;

use fuzz::{
    seeds::seeds,
    targets::{TARGETS, target},
};

/// So that a checkout stays small.
const MAX_FILES_OF_A_TARGET: usize = 80;
const MAX_CORPORA_BYTES: usize = 1 << 20;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_input_of_every_corpus_holds() {
    let mut bytes = 0;
    for (name, run) in TARGETS {
        let folder = folder().join("corpus").join(name);
        let files = names(&folder);
        assert!((1..=MAX_FILES_OF_A_TARGET).contains(&files.len()), "{name} has {} inputs", files.len());
        for file in files {
            let input = fs::read(folder.join(&file)).unwrap();
            bytes += input.len();
            // The panic of a target says what; this says where.
            if let Err(panic) = std::panic::catch_unwind(|| run(&input)) {
                eprintln!("corpus/{name}/{file}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(bytes <= MAX_CORPORA_BYTES, "the corpora have {bytes} bytes");
}

#[test]
fn each_target_has_a_binary_and_a_corpus() {
    let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder().join("corpus")), known);
    let binaries = known.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&folder().join("fuzz_targets")), binaries);
}

#[test]
fn the_seeds_are_those_of_the_story() {
    for seed in seeds() {
        assert!(target(seed.target).is_some(), "{}", seed.target);
        let path = folder().join("corpus").join(seed.target).join(&seed.name);
        if std::env::var_os("COUNTERSIGN_WRITE").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &seed.bytes).unwrap();
        }
        assert_eq!(fs::read(&path).ok(), Some(seed.bytes), "{}", path.display());
    }
}
