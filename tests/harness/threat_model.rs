//! `docs/threat-model.md` names a test for each attack: each must exist, and no test of the hostile broker may be missing.

use std::{collections::BTreeSet, fs, path::Path};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in the workspace")
}

/// Everything between backticks that names a test: `path.rs::function`.
pub(crate) fn named(text: &str) -> BTreeSet<(String, String)> {
    let quoted = text.split('`').skip(1).step_by(2);
    let as_name = |quoted: &str| {
        let (path, function) = quoted.split_once("::")?;
        Path::new(path)
            .extension()
            .is_some_and(|it| it == "rs")
            .then(|| (path.to_owned(), function.to_owned()))
    };
    quoted.filter_map(as_name).collect()
}

/// The test functions of a file.
pub(crate) fn tests_of(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found = BTreeSet::new();
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[tokio::test") || line == "#[test]" {
            marked = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| marked) {
            found.insert(rest.split(['(', '<']).next().unwrap_or_default().to_owned());
            marked = false;
        }
    }
    found
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let text = fs::read_to_string(root().join("docs/threat-model.md")).expect("reads");
    let named = named(&text);
    assert!(named.len() > 40, "{} tests are named", named.len());
    for (path, function) in &named {
        let tests = tests_of(&root().join(path));
        assert!(tests.contains(function), "`{path}::{function}` is no test");
    }
    // A row of a table of attacks without a test is a claim that nobody checks.
    let rows = text.lines().filter(|line| line.starts_with('|') && line.matches('|').count() == 6);
    for row in rows.filter(|row| !row.contains("---") && !row.starts_with("| attack")) {
        assert!(row.contains(".rs::"), "no test: {row}");
    }
}

#[test]
fn every_test_of_the_hostile_broker_is_in_the_threat_model() {
    let text = fs::read_to_string(root().join("docs/threat-model.md")).expect("reads");
    let named = named(&text);
    let folder = fs::read_dir(root().join("tests/harness/hostile")).expect("reads");
    let mut files: Vec<_> =
        folder.map(|entry| entry.expect("reads").file_name().into_string().expect("UTF-8")).collect();
    files.sort_unstable();
    for file in files {
        let path = format!("tests/harness/hostile/{file}");
        for function in tests_of(&root().join(&path)) {
            assert!(named.contains(&(path.clone(), function.clone())), "`{path}::{function}` is not named");
        }
    }
}
