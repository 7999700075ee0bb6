//! `docs/testing.md` names for each requirement the tests that check it, or says that its part is not there: the tests must
//! exist, and no requirement may be missing.

use std::{collections::BTreeSet, fs};

use crate::threat_model::{named, root, tests_of};

/// R1 to R25.
const REQUIREMENTS: usize = 25;

/// What a row says in the place of a test whose part is not built.
const NOT_YET: &str = "not yet";

/// The rows of the table of requirements: the number, the need and its check, and what checks it.
fn rows(text: &str) -> Vec<(usize, Vec<&str>)> {
    let row = |line: &'_ str| -> Option<usize> {
        line.strip_prefix("| R")?.split(' ').next().and_then(|number| number.parse().ok())
    };
    let cells = |line| -> Vec<&str> { str::split(line, '|').map(str::trim).collect() };
    text.lines().filter_map(|line| Some((row(line)?, cells(line)))).collect()
}

/// The tests of the companion that a cell names, `path.ts::what it says`: in backticks, as those in Rust.
fn of_the_companion(cell: &str) -> BTreeSet<(String, String)> {
    let quoted = cell.split('`').skip(1).step_by(2);
    let named = quoted.filter_map(|quoted| quoted.split_once(".ts::"));
    named.map(|(path, said)| (format!("{path}.ts"), said.to_owned())).collect()
}

#[test]
fn every_requirement_has_its_tests_or_says_that_it_has_none() {
    let text = fs::read_to_string(root().join("docs/testing.md")).expect("reads");
    let rows = rows(&text);
    let numbers: Vec<usize> = rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=REQUIREMENTS).collect::<Vec<_>>(), "each once, in order");
    for (number, cells) in &rows {
        let [_, _, check, by, _] = cells[..] else { panic!("R{number} has other cells than its neighbours") };
        assert!(!check.is_empty(), "R{number} says nothing");
        let (rust, companion) = (named(by), of_the_companion(by));
        let said = !rust.is_empty() || !companion.is_empty();
        assert!(said || by.starts_with(NOT_YET), "R{number} has no test, and does not say `{NOT_YET}`");
        assert!(by.matches(".rs::").count() + by.matches(".ts::").count() == rust.len() + companion.len());
        for (path, function) in rust {
            assert!(tests_of(&root().join(&path)).contains(&function), "R{number}: `{path}::{function}`");
        }
        for (path, test) in companion {
            let written = fs::read_to_string(root().join(&path));
            let written = written.unwrap_or_else(|error| panic!("R{number}: {path}: {error}"));
            assert!(written.contains(&format!("test('{test}'")), "R{number}: `{path}::{test}` is no test");
        }
    }
}
