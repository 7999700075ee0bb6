//! Checking a log's folder with the command line, as an auditor would; and damaging a copy of one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use countersign_client::tlog::BundleCoord;
use serde::Deserialize;

use crate::stage::output_of;

/// The exit code of a check that found something.
pub(crate) const FOUND_SOMETHING: i32 = 3;

/// Records in a full bundle.
const BUNDLE_RECORDS: u64 = 256;

/// What `countersign log verify --json` says, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Report {
    /// How many records were read.
    pub(crate) records: u64,
    /// How many grants they speak of.
    pub(crate) grants: u64,
    /// What does not hold, by the index that it hits.
    pub(crate) findings: Vec<Finding>,
    /// How many records there are of each kind.
    #[serde(default)]
    pub(crate) kinds: std::collections::BTreeMap<String, u64>,
}

/// One thing that does not hold.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Finding {
    pub(crate) index: u64,
}

/// A check: its exit code and its report.
pub(crate) struct Checked {
    pub(crate) code: Option<i32>,
    pub(crate) report: Report,
}

/// The arguments of the check.
pub(crate) fn arguments(log: &Path, broker_file: &Path) -> Vec<String> {
    let (log, broker) = (log.display().to_string(), broker_file.display().to_string());
    ["log", "verify", &log, "--broker", &broker].map(str::to_owned).to_vec()
}

/// Checks a folder in a process of its own.
pub(crate) async fn check(countersign: &Path, log: &Path, broker_file: &Path) -> Result<Checked> {
    let mut arguments = arguments(log, broker_file);
    arguments.push("--json".to_owned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, output, errors) = output_of(countersign, &arguments).await?;
    let report = serde_json::from_str(&output)
        .with_context(|| format!("`countersign log verify` ended with {code:?}: {output}{errors}"))?;
    Ok(Checked { code, report })
}

/// Copies a log's folder. The checkpoint comes first: what it stands for was in place before it was published.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    fs::copy(from.join("checkpoint"), to.join("checkpoint")).context("the checkpoint")?;
    copy_folder(&from.join("tile"), &to.join("tile"))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&source, &target)?;
        } else if let Err(error) = fs::copy(&source, &target) {
            // A running log replaces partial files by full ones; the full ones are copied too.
            ensure!(error.kind() == std::io::ErrorKind::NotFound, "{}: {error}", source.display());
        }
    }
    Ok(())
}

/// Flips one bit in the middle of a record, in the bundle that holds it; where.
pub(crate) fn flip(log: &Path, index: u64, size: u64) -> Result<(PathBuf, usize)> {
    let bundle =
        BundleCoord::in_log(index / BUNDLE_RECORDS, size).context("the record lies beyond the log")?;
    let path = [Some(bundle.path()), BundleCoord::new(bundle.index(), 256).ok().map(BundleCoord::path)]
        .into_iter()
        .flatten()
        .map(|path| log.join(path))
        .find(|path| path.is_file())
        .context("no bundle holds the record")?;
    let mut bytes = fs::read(&path)?;
    let record =
        place(&bytes, (index % BUNDLE_RECORDS) as usize).context("the bundle ends before the record")?;
    let at = record.start + record.len() / 2;
    bytes[at] ^= 1;
    fs::write(&path, bytes)?;
    Ok((path, at))
}

/// Where the nth record of a bundle stands: each comes after its length in two bytes.
fn place(bundle: &[u8], nth: usize) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    let mut nth = nth;
    loop {
        let length = bundle.get(start..start + 2)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let record = start + 2..start + 2 + length;
        if nth == 0 {
            return (record.end <= bundle.len()).then_some(record);
        }
        nth -= 1;
        start = record.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_in_their_bundle() {
        let bundle = [0, 2, 7, 7, 0, 1, 8, 0, 3, 9, 9, 9];
        let check = |nth, expected| assert_eq!(place(&bundle, nth), expected);
        check(0, Some(2..4));
        check(1, Some(6..7));
        check(2, Some(9..12));
        check(3, None);
        assert_eq!(place(&bundle[..11], 2), None, "a record that is cut off");
    }

    #[test]
    fn one_bit_is_flipped_in_the_record_that_was_named() {
        let folder = tempfile::tempdir().unwrap();
        let entries = folder.path().join("tile/entries");
        fs::create_dir_all(entries.join("000.p")).unwrap();
        let bundle = [0, 2, 7, 7, 0, 1, 8];
        fs::write(entries.join("000.p/2"), bundle).unwrap();
        let (path, at) = flip(folder.path(), 1, 2).unwrap();
        assert_eq!((path.as_path(), at), (entries.join("000.p/2").as_path(), 6));
        assert_eq!(fs::read(path).unwrap(), [0, 2, 7, 7, 0, 1, 9]);
        assert!(flip(folder.path(), 2, 2).is_err());
    }

    #[test]
    fn a_copy_is_whole() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(from.path().join("tile/entries")).unwrap();
        fs::write(from.path().join("checkpoint"), "c").unwrap();
        fs::write(from.path().join("tile/entries/000"), "e").unwrap();
        let copied = to.path().join("copy");
        copy(from.path(), &copied).unwrap();
        assert_eq!(fs::read_to_string(copied.join("tile/entries/000")).unwrap(), "e");
        assert_eq!(fs::read_to_string(copied.join("checkpoint")).unwrap(), "c");
    }
}
