//! Reading the journal: when the store is opened, and when a snapshot is made.

use std::io::Read as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use countersign_store::Head;

use super::frame::{self, Found};
use super::{HEADER_BYTES, Place, STRIPPED, VERSION, WHOLE, header, segment_number, segment_path};
use crate::errors::{Damage, OpenError};
use crate::files::Files;

/// A commit as the journal has it: the head before it, the head after it, its body after the head, its place.
pub(crate) struct Commit {
    pub(crate) before: Head,
    pub(crate) after: Head,
    pub(crate) body: Bytes,
    pub(crate) place: Place,
}

impl Commit {
    /// That it has as many leaves as its heads say; each is given to `each` as the lengths of its record and its private
    /// part.
    pub(crate) fn leaf_lengths(&self, each: impl FnMut(usize, usize)) -> Result<(), OpenError> {
        let leaves = frame::leaf_lengths(&self.body, each);
        let sound = leaves.is_some_and(|leaves| self.before.size + leaves == self.after.size);
        if sound { Ok(()) } else { Err(self.place.is(Damage::Content)) }
    }
}

/// A segment that was read: all of its frames are sound and continue one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) before: Head,
    pub(crate) after: Head,
    /// Where it ends: a torn last frame, if there is one, begins there.
    pub(crate) length: u64,
    /// Whether it has all of its commits, or no more of them than their leaves.
    pub(crate) whole: bool,
}

impl Segment {
    /// That the rows of a segment are needed, which may be gone.
    pub(crate) fn needed_whole(self) -> Result<Segment, OpenError> {
        if self.whole { Ok(self) } else { Err(Place::start(self.number).is(Damage::Stripped)) }
    }
}

/// The segments up to the last between which none is missing. They must reach back to `required`.
pub(crate) fn contiguous(
    files: &dyn Files,
    folder: &Path,
    required: u64,
) -> Result<RangeInclusive<u64>, OpenError> {
    let numbers = numbers(files, folder)?;
    let missing = |segment| Err(Place::start(segment).is(Damage::Missing));
    let Some(&last) = numbers.last() else { return missing(required) };
    let gap = numbers.iter().rev().zip((0..=last).rev()).find(|(found, due)| **found != *due);
    let first = gap.map_or(last + 1 - numbers.len() as u64, |(_, due)| due + 1);
    if last < required {
        return missing(last + 1);
    }
    if first > required {
        return missing(first - 1);
    }
    Ok(first..=last)
}

/// The numbers of the segments that are there, in order.
pub(crate) fn numbers(files: &dyn Files, folder: &Path) -> Result<Vec<u64>, OpenError> {
    let names = files.list(folder).map_err(OpenError::io(folder))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads segments in order, and gives each of their commits to `each`. `known` tells the head that must stand before a
/// segment, where that is known; of the first one it may be unknown.
pub(crate) fn read_all(
    files: &dyn Files,
    folder: &Path,
    segments: RangeInclusive<u64>,
    known: impl Fn(u64) -> Option<Head>,
    mut each: impl FnMut(Commit) -> Result<(), OpenError>,
) -> Result<Vec<Segment>, OpenError> {
    let last = *segments.end();
    let mut read: Vec<Segment> = Vec::new();
    for number in segments {
        let reached = read.last().map(|segment| segment.after);
        if let (Some(reached), Some(known)) = (reached, known(number))
            && (reached.sequence, reached.size) != (known.sequence, known.size)
        {
            let (expected, found) = (known.sequence + 1, reached.sequence + 1);
            return Err(Place::start(number).is(Damage::Order { expected, found }));
        }
        let before = reached.or_else(|| known(number));
        read.push(read_segment(files, folder, number, before, number == last, &mut each)?);
    }
    Ok(read)
}

/// Reads one segment. Of the `last` one the end may be torn. Without the head `before` it, that follows from the first
/// frame.
pub(crate) fn read_segment(
    files: &dyn Files,
    folder: &Path,
    number: u64,
    before: Option<Head>,
    last: bool,
    mut each: impl FnMut(Commit) -> Result<(), OpenError>,
) -> Result<Segment, OpenError> {
    let path = segment_path(folder, number);
    let Some(bytes) = files.read(&path).map_err(OpenError::io(&path))? else {
        return Err(Place::start(number).is(Damage::Missing));
    };
    let bytes = Bytes::from(bytes);
    let (first_sequence, whole) = opening(&bytes, number, &path)?;
    if before.is_some_and(|before| before.sequence + 1 != first_sequence) {
        return Err(Place::start(number).is(Damage::Header));
    }
    let (mut start, mut reached) = (before, before);
    let mut length = HEADER_BYTES;
    loop {
        let place = Place { segment: number, offset: length as u64 };
        let body = match frame::look(&bytes, length) {
            Found::Body(body) => body,
            Found::End => break,
            // Only what nothing follows can be torn: the last thing of the last segment.
            Found::CutShort if last => break,
            Found::Bad if last && !frame::any_after(&bytes, length) => break,
            Found::CutShort | Found::Bad => return Err(place.is(Damage::Checksum)),
        };
        length += frame::PREFIX_BYTES + body.len();
        let (after, body) = frame::head(body).ok_or_else(|| place.is(Damage::Content))?;
        let before = match reached {
            Some(before) => before,
            None => before_first(after, &body, first_sequence).ok_or_else(|| place.is(Damage::Content))?,
        };
        start.get_or_insert(before);
        let expected = before.sequence + 1;
        if after.sequence != expected || after.epoch < before.epoch || after.size < before.size {
            return Err(place.is(Damage::Order { expected, found: after.sequence }));
        }
        each(Commit { before, after, body, place })?;
        reached = Some(after);
    }
    if length < bytes.len() {
        let torn = bytes.len() - length;
        tracing::warn!(segment = number, offset = length, torn, "the journal ends in a torn frame");
    }
    // A segment gets its name just before its first frame: only the last one can be without any.
    let (Some(before), Some(after)) = (start, reached) else {
        return Err(Place { segment: number, offset: length as u64 }.is(Damage::Content));
    };
    Ok(Segment { number, before, after, length: length as u64, whole })
}

/// Reads the beginning of a segment: the head before its first frame, and whether it is whole. `None` if there is no frame in
/// it.
pub(crate) fn beginning(
    files: &dyn Files,
    folder: &Path,
    number: u64,
) -> Result<Option<(Head, bool)>, OpenError> {
    let path = segment_path(folder, number);
    let Some(mut file) = files.open(&path).map_err(OpenError::io(&path))? else {
        return Err(Place::start(number).is(Damage::Missing));
    };
    let mut begun = Vec::new();
    let mut read = |begun: &mut Vec<u8>, bytes: usize| {
        file.by_ref().take(bytes as u64).read_to_end(begun).map_err(OpenError::io(&path))
    };
    read(&mut begun, HEADER_BYTES + frame::PREFIX_BYTES)?;
    let (first_sequence, whole) = opening(&begun, number, &path)?;
    if begun.len() == HEADER_BYTES {
        return Ok(None);
    }
    let place = Place { segment: number, offset: HEADER_BYTES as u64 };
    let length = frame::length(&begun[HEADER_BYTES..]).ok_or_else(|| place.is(Damage::Checksum))?;
    read(&mut begun, length)?;
    let Found::Body(body) = frame::look(&begun.into(), HEADER_BYTES) else {
        return Err(place.is(Damage::Checksum));
    };
    let before = frame::head(body).and_then(|(after, body)| before_first(after, &body, first_sequence));
    before.map(|before| Some((before, whole))).ok_or_else(|| place.is(Damage::Content))
}

/// Whether there is a journal at all.
pub(crate) fn exists(files: &dyn Files, folder: &Path) -> Result<bool, OpenError> {
    Ok(!numbers(files, folder)?.is_empty())
}

/// Where a segment lies.
pub(crate) fn path(folder: &Path, segment: u64) -> PathBuf {
    segment_path(folder, segment)
}

/// Removes segments, the oldest first.
pub(crate) fn remove(files: &dyn Files, folder: &Path, numbers: &[u64]) -> std::io::Result<()> {
    numbers.iter().try_for_each(|number| files.remove(&segment_path(folder, *number)))
}

fn before_first(after: Head, body: &[u8], first_sequence: u64) -> Option<Head> {
    let leaves = frame::leaf_lengths(body, |_, _| ())?;
    let size = after.size.checked_sub(leaves)?;
    Some(Head { size, epoch: after.epoch, sequence: first_sequence.checked_sub(1)? })
}

/// The sequence that a segment's header says its first frame reaches, and whether the segment is whole.
fn opening(bytes: &[u8], segment: u64, path: &Path) -> Result<(u64, bool), OpenError> {
    let damaged = || Place::start(segment).is(Damage::Header);
    let found = bytes.get(..HEADER_BYTES).ok_or_else(damaged)?;
    let (magic, rest) = found.split_first_chunk::<8>().ok_or_else(damaged)?;
    let (version, _) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    let version = u32::from_le_bytes(*version);
    let known = [WHOLE, STRIPPED].into_iter().find(|known| known == magic).ok_or_else(damaged)?;
    if version != VERSION {
        return Err(OpenError::Version { path: path.to_owned(), found: version, known: VERSION });
    }
    let (_, sequence) = found[..HEADER_BYTES - 4].split_last_chunk::<8>().ok_or_else(damaged)?;
    let sequence = u64::from_le_bytes(*sequence);
    if found == header(known, segment, sequence) { Ok((sequence, known == WHOLE)) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::RealFiles;

    fn check(there: &[u64], required: u64, expected: &Result<RangeInclusive<u64>, u64>) {
        let folder = tempfile::TempDir::new().unwrap();
        for number in there {
            std::fs::write(segment_path(folder.path(), *number), b"").unwrap();
        }
        let found = contiguous(&RealFiles, folder.path(), required).map_err(|error| match error {
            OpenError::Corrupt { segment, offset: 0, what: Damage::Missing } => segment,
            other => panic!("{other}"),
        });
        assert_eq!(&found, expected, "{there:?} from {required}");
    }

    #[test]
    fn the_journal_reaches_back_without_a_gap() {
        check(&[], 1, &Err(1));
        check(&[1], 1, &Ok(1..=1));
        check(&[1, 2, 3], 1, &Ok(1..=3));
        check(&[1, 2, 3], 3, &Ok(1..=3));
        check(&[1, 3, 4], 3, &Ok(3..=4));
        check(&[1, 3, 4], 1, &Err(2));
        check(&[3, 4], 2, &Err(2));
        check(&[3, 4], 4, &Ok(3..=4));
        check(&[3, 4], 5, &Err(5));
    }
}
