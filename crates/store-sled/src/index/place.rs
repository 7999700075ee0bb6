//! Where sled lies: in a numbered folder of its own, so that another one can be made beside it and take its place.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The number of a store's first index.
const FIRST: u64 = 1;

/// The folder of the index that is in use, below `sled`; whatever else lies there goes.
///
/// Of several the one with the lowest number counts: the others are on their way in, and were stopped. Should it be on
/// its way out itself, it is brought up like any other.
pub(crate) fn current(sled: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(sled)?;
    let entries = fs::read_dir(sled)?.collect::<io::Result<Vec<_>>>()?;
    let lowest = entries.iter().filter_map(|entry| number(&entry.path())).min();
    let current = sled.join(lowest.unwrap_or(FIRST).to_string());
    keep_only(&current)?;
    Ok(current)
}

/// Removes what lies beside an index.
pub(crate) fn keep_only(folder: &Path) -> io::Result<()> {
    let Some(sled) = folder.parent() else { return Ok(()) };
    for entry in fs::read_dir(sled)? {
        let entry = entry?;
        if entry.path() == folder {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    // What is gone must not come back after a power cut: it may be what was to leave the disk.
    File::open(sled)?.sync_all()
}

/// The folder for the index that is to take this one's place.
pub(crate) fn next(current: &Path) -> PathBuf {
    current.with_file_name((number(current).unwrap_or(FIRST) + 1).to_string())
}

fn number(folder: &Path) -> Option<u64> {
    let name = folder.file_name()?.to_str()?;
    name.parse().ok().filter(|number: &u64| number.to_string() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(there: &[&str], expected: &str) {
        let sled = tempfile::TempDir::new().unwrap();
        for name in there {
            fs::create_dir(sled.path().join(name)).unwrap();
        }
        fs::write(sled.path().join("db"), "a file").unwrap();
        assert_eq!(current(sled.path()).unwrap(), sled.path().join(expected), "{there:?}");
        for entry in fs::read_dir(sled.path()).unwrap() {
            assert_eq!(entry.unwrap().file_name().to_str(), Some(expected), "{there:?}");
        }
    }

    #[test]
    fn the_lowest_number_counts_and_all_else_goes() {
        check(&[], "1");
        check(&["1"], "1");
        check(&["7", "8"], "7");
        check(&["10", "9", "09", "+1", "older"], "9");
        assert_eq!(next(Path::new("sled/9")), Path::new("sled/10"));
    }
}
