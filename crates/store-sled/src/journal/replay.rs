//! Reading the journal when the store is opened.

use std::path::Path;

use bytes::Bytes;
use countersign_store::Head;

use super::frame::{self, Found};
use super::{HEADER_BYTES, MAGIC, Place, VERSION, header, segment_number, segment_path};
use crate::errors::{Damage, OpenError};
use crate::files::Files;

/// Reads every frame of the journal, checks that each continues the one before it, and gives them to `each`: the head
/// before it, the head after it, its body after the head, its place. Returns the head that the journal reaches and the
/// place where it ends: a torn last frame, if there is one, begins there.
pub(crate) fn replay(
    files: &dyn Files,
    folder: &Path,
    mut each: impl FnMut(Head, Head, Bytes, Place) -> Result<(), OpenError>,
) -> Result<(Head, Place), OpenError> {
    let last = last_segment(files, folder)?;
    let mut reached = Head::default();
    let mut length = HEADER_BYTES;
    for segment in 1..=last {
        let path = segment_path(folder, segment);
        let Some(bytes) = files.read(&path).map_err(OpenError::io(&path))? else {
            return Err(Place::start(segment).is(Damage::Missing));
        };
        let bytes = Bytes::from(bytes);
        check_header(&bytes, segment, reached.sequence + 1, &path)?;
        length = HEADER_BYTES;
        loop {
            let place = Place { segment, offset: length as u64 };
            let body = match frame::look(&bytes, length) {
                Found::Body(body) => body,
                Found::End => break,
                // Only what nothing follows can be torn: the last thing of the last segment.
                Found::CutShort if segment == last => break,
                Found::Bad if segment == last && !frame::any_after(&bytes, length) => break,
                Found::CutShort | Found::Bad => return Err(place.is(Damage::Checksum)),
            };
            length += frame::PREFIX_BYTES + body.len();
            let (after, body) = frame::head(body).ok_or_else(|| place.is(Damage::Content))?;
            let expected = reached.sequence + 1;
            if after.sequence != expected || after.epoch < reached.epoch || after.size < reached.size {
                return Err(place.is(Damage::Order { expected, found: after.sequence }));
            }
            each(reached, after, body, place)?;
            reached = after;
        }
        if length < bytes.len() {
            let torn = bytes.len() - length;
            tracing::warn!(segment, offset = length, torn, "the journal ends in a torn frame");
        }
    }
    Ok((reached, Place { segment: last, offset: length as u64 }))
}

/// Whether there is a journal at all.
pub(crate) fn exists(files: &dyn Files, folder: &Path) -> Result<bool, OpenError> {
    let names = files.list(folder).map_err(OpenError::io(folder))?;
    Ok(names.iter().any(|name| segment_number(name).is_some()))
}

/// The number of the last segment. All from the first to it must be there.
fn last_segment(files: &dyn Files, folder: &Path) -> Result<u64, OpenError> {
    let names = files.list(folder).map_err(OpenError::io(folder))?;
    let last = names.iter().filter_map(|name| segment_number(name)).max();
    last.ok_or_else(|| Place::start(1).is(Damage::Missing))
}

fn check_header(bytes: &Bytes, segment: u64, first_sequence: u64, path: &Path) -> Result<(), OpenError> {
    if let Some((magic, rest)) = bytes.split_first_chunk::<8>()
        && let Some((version, _)) = rest.split_first_chunk::<4>()
        && magic == MAGIC
        && let found = u32::from_le_bytes(*version)
        && found != VERSION
    {
        return Err(OpenError::Version { path: path.to_owned(), found, known: VERSION });
    }
    if bytes.get(..HEADER_BYTES) == Some(&header(segment, first_sequence)) {
        return Ok(());
    }
    Err(Place::start(segment).is(Damage::Header))
}
