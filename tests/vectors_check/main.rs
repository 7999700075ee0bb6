//! Runs every vector of `tests/vectors/` through the crates: each outcome, and for each refusal its reason, is the one
//! that the file says.
//!
//! The files are made here too, from the story in `tests/fuzz/src/known.rs`; with `COUNTERSIGN_WRITE=1` they are written
//! anew. A change of a committed file is a change of the protocol.
#![cfg(test)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

#[path = "../fuzz/src/known.rs"]
#[expect(unreachable_pub, reason = "shared with the fuzz targets, where it is a library")]
mod known;

mod case;
mod comparisons;
mod devices;
mod envelopes;
mod fields;
mod grants;
mod keys;
mod kinds;
mod links;
mod log;
mod message;
mod records;
mod revisions;
mod sealing;
mod statements;
mod tokens;

use case::{Case, Outcome};

/// One file: what it is about, how its cases are made, and what runs one.
struct File {
    name: &'static str,
    about: &'static str,
    make: fn() -> Vec<Case>,
    run: fn(&Value) -> Outcome,
}

const FILES: &[File] = &[
    keys::KEYS,
    keys::NAMES,
    statements::STATEMENTS,
    envelopes::ENVELOPES,
    envelopes::PARTNER_KEYS,
    tokens::TOKENS,
    links::LABELS_AND_PARTIES,
    links::LINK_CODES,
    links::INVITATIONS,
    devices::WRAPPING,
    devices::CUSTOMER_CHANGES,
    grants::OFFERS,
    grants::TERMS,
    grants::CHANGES,
    revisions::REVISIONS,
    grants::PERMITS,
    sealing::PADDING,
    sealing::SEALING,
    sealing::ANSWERS,
    comparisons::COMPARISONS,
    records::COMMITMENTS,
    records::RECORDS,
    records::RECEIPTS,
    log::INCLUSION,
    log::CONSISTENCY,
    log::CHECKPOINTS,
    log::PROOF_FILES,
    log::BUNDLES,
    log::LOG_PATHS,
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn made(file: &File) -> String {
    let cases: Vec<Value> = (file.make)().into_iter().map(|case| case.finish(file.run)).collect();
    let mut text = serde_json::to_string_pretty(&json!({ "about": file.about, "cases": cases })).unwrap();
    text.push('\n');
    text
}

#[test]
fn the_files_are_those_that_are_made() {
    for file in FILES {
        let path = folder().join(file.name);
        let made = made(file);
        if std::env::var_os("COUNTERSIGN_WRITE").is_some() {
            fs::write(&path, &made).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == made, "{} is not what is made: see the head of this test", path.display());
    }
}

#[test]
fn every_case_has_the_outcome_that_its_file_says() {
    let known: BTreeSet<String> = FILES.iter().map(|file| file.name.to_owned()).collect();
    let found =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<String> = found.filter(|name| name != "README.md").collect();
    assert_eq!(found, known, "a file that no code here runs, or the other way round");
    let (mut cases, mut refusals, mut wrong) = (0, 0, Vec::new());
    for file in FILES {
        let text = fs::read_to_string(folder().join(file.name)).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        let mut names = BTreeSet::new();
        for case in read["cases"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            let place = format!("{}: {name}", file.name);
            assert!(names.insert(name), "{place} stands twice");
            assert!(!case["comment"].as_str().unwrap().is_empty(), "{place} has no comment");
            let expected = case["expected"].as_str().unwrap();
            let found = match (file.run)(&case["input"]) {
                Ok(output) if output == *case.get("output").unwrap_or(&Value::Null) => "ok".to_owned(),
                Ok(output) => format!("ok with {output}"),
                Err(reason) => reason,
            };
            if found != expected {
                wrong.push(format!("{place}: {found}, not {expected}"));
            }
            cases += 1;
            refusals += usize::from(expected != "ok");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{cases} cases, {refusals} of them refusals");
    assert!(2 * refusals > cases, "vectors are mostly negative: {refusals} of {cases}");
}

#[test]
fn the_protocol_cites_every_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let protocol = fs::read_to_string(path).unwrap();
    for file in FILES {
        assert!(protocol.contains(&format!("`{}`", file.name)), "{} stands nowhere in it", file.name);
    }
}
