//! What snapshots and journal say of a store that was closed and is as it was: of each segment and snapshot the beginning,
//! and all of the last segment.
//!
//! The mark says that the files are those that were whole when the store was closed. All else follows from where they
//! begin: what a segment reaches is where the next one begins, and the last one, which is to grow, is read. Where
//! anything of it doesn't fit, nothing is believed, and all is read.

use super::Places;
use super::state::State;
use crate::files::Files;
use crate::journal::replay::{self, Segment};
use crate::manifest::StoreId;
use crate::mark::Closed;
use crate::snapshot::{self, Header, Kept, Reader, SNAPSHOTS_KEPT};

impl State {
    /// What there is, if it was closed. `None` if it doesn't fit together.
    pub(super) fn believe(
        places: &Places<'_>,
        files: &dyn Files,
        id: StoreId,
        closed: Closed,
    ) -> Option<State> {
        let numbers = snapshot::list(files, &places.snapshots).ok()?;
        let (newest, useless) = numbers.split_at(numbers.len().min(SNAPSHOTS_KEPT));
        let (mut kept, mut base) = (Vec::new(), None);
        for &number in newest.iter().rev() {
            let header = Reader::open(files, &places.snapshots, number, id).ok()?.header();
            let bytes = files.length(&snapshot::path(&places.snapshots, number)).ok()??;
            kept.push(Kept { next_segment: number, head: header.head, bytes });
            base = Some(header);
        }
        let segments = segments(places, files, &kept, &closed)?;
        let next = base.map_or(0, |base: Header| base.next_segment);
        let reaches = segments.last().is_some_and(|last| last.number >= next);
        let whole = segments.iter().all(|segment| segment.number < next || segment.whole);
        let Closed { lengths, check_from, .. } = closed;
        let (useless, check_from) = (useless.to_vec(), Some(check_from));
        (reaches && whole).then_some(State { base, kept, segments, lengths, useless, check_from })
    }
}

/// The segments that are kept.
fn segments(places: &Places<'_>, files: &dyn Files, kept: &[Kept], closed: &Closed) -> Option<Vec<Segment>> {
    let required = kept.first().map_or(1, |oldest| oldest.next_segment);
    let numbers = replay::contiguous(files, &places.journal, required).ok()?;
    let last = *numbers.end();
    let mut segments: Vec<Segment> = Vec::new();
    for number in numbers {
        let begins = replay::beginning(files, &places.journal, number).ok()?;
        // Only the last one can be without a frame, and then it begins where the journal ends.
        let (before, whole) = if number == last { begins.unwrap_or((closed.head, true)) } else { begins? };
        if let Some(segment) = segments.last_mut() {
            segment.after = before;
        }
        if let Some(kept) = kept.iter().find(|kept| kept.next_segment == number)
            && (kept.head.sequence, kept.head.size) != (before.sequence, before.size)
        {
            return None;
        }
        let length = files.length(&replay::path(&places.journal, number)).ok()??;
        segments.push(Segment { number, before, after: before, length, whole });
    }
    let end = segments.last_mut()?;
    let sound = |commit: replay::Commit| commit.leaf_lengths(|_, _| ());
    let read = replay::read_segment(files, &places.journal, last, Some(end.before), true, sound).ok()?;
    let fits = read.length == end.length && read.whole == end.whole;
    let reached = (read.after.sequence, read.after.size) == (closed.head.sequence, closed.head.size);
    *end = read;
    let ordered =
        segments.iter().all(|it| it.before.sequence <= it.after.sequence && it.before.size <= it.after.size);
    (fits && reached && ordered).then_some(segments)
}
