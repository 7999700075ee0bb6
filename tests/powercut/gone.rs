//! People whose data has a mark in it, by which it is known again in any file; and what a scrub leaves of it once they have
//! gone.

use std::{
    collections::BTreeMap,
    fs,
    io::BufRead as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use countersign_store::{Key, ReadError};
use countersign_store_sled::Left;

use crate::model::Model;

/// What all marks begin with, and nothing else has in it: drawn once.
const MARK: [u8; 16] =
    [0xd7, 0x1c, 0x9e, 0x03, 0x58, 0xb2, 0xf4, 0x6a, 0x91, 0x2d, 0xe8, 0x47, 0x7b, 0xc5, 0x30, 0xaf];

/// The keys of the rows of people begin with it.
const ROWS: &[u8] = b"b/person/";

/// By its number.
pub(crate) type Person = u32;

/// The row that stands until this person goes.
pub(crate) fn key(person: Person) -> Key {
    [ROWS, format!("{person:08}").as_bytes()].concat()
}

/// What is in everything about this person.
pub(crate) fn mark(person: Person) -> [u8; 20] {
    let mut mark = [0; 20];
    mark[..MARK.len()].copy_from_slice(&MARK);
    mark[MARK.len()..].copy_from_slice(&person.to_be_bytes());
    mark
}

/// Who is in these bytes.
fn people(bytes: &[u8]) -> Vec<Person> {
    let (mut found, mut rest) = (Vec::new(), bytes);
    // This is quick where nothing is optimised too, and there are gigabytes to look at.
    while rest.skip_until(MARK[0]).is_ok_and(|skipped| skipped > 0) {
        if let Some(number) = rest.strip_prefix(&MARK[1..]).and_then(|rest| rest.first_chunk()) {
            found.push(Person::from_be_bytes(*number));
        }
    }
    found
}

/// Whose this private part is.
pub(crate) fn whose(part: &[u8]) -> Option<Person> {
    people(part).first().copied()
}

/// Blanks the private parts of those whose row is gone.
pub(crate) fn left() -> Arc<Left> {
    Arc::new(|part: &[u8], stands: &dyn Fn(&[u8]) -> Result<bool, ReadError>| match whose(part) {
        Some(person) if !stands(&key(person))? => Ok(Some(vec![0; part.len()])),
        _ => Ok(None),
    })
}

/// Whether nothing is left of a private part.
pub(crate) fn is_blank_of(found: &Bytes, part: &Bytes) -> bool {
    found.len() == part.len() && found.iter().all(|byte| *byte == 0)
}

/// The commits by which people went.
pub(crate) fn gone(model: &Model) -> BTreeMap<Person, u64> {
    let mut gone = BTreeMap::new();
    for (sequence, commit) in (1..).zip(&model.commits) {
        for key in commit.iter().flat_map(|done| &done.deletes) {
            let number = key
                .strip_prefix(ROWS)
                .and_then(|number| std::str::from_utf8(number).ok()?.parse::<Person>().ok());
            if let Some(person) = number {
                gone.insert(person, sequence);
            }
        }
    }
    gone
}

/// Who is in any file below a folder, and in which.
pub(crate) fn people_in(folder: &Path) -> std::io::Result<BTreeMap<Person, PathBuf>> {
    let (mut found, mut left) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
                continue;
            }
            match fs::read(entry.path()) {
                Ok(bytes) => found.extend(people(&bytes).into_iter().map(|person| (person, entry.path()))),
                // The index removes files while it is looked at.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}
