//! Reading in the background, at rest, what opening believed: the newest snapshot, and the journal that is kept.
//!
//! What is damaged there is found while the store serves, and is treated as when a snapshot is made of it: a snapshot is
//! made anew from the one before it, or from a journal that has its beginning; anything else poisons the store.
//!
//! It begins where it was when the store was closed before, so that a store that is closed again and again is read whole
//! in the end. Only a snapshot is read in one go.

use std::collections::VecDeque;

use super::{Keeper, Kept, MakeError, SnapshotError, SnapshotWork, verify};
use crate::errors::Damage;
use crate::journal::Place;
use crate::journal::replay::{self, Segment};

/// How much is read in a second: a small part of what any disk gives, so that the journal's syncs don't wait. Six
/// gigabytes, which five million records with a million grants have, take some three minutes.
pub(crate) const CHECKED_BYTES_A_SECOND: u64 = 32 << 20;

/// How much of a snapshot is read between two rests.
const BYTES_BETWEEN_RESTS: u64 = 1 << 20;

/// Something that opening believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Believed {
    /// The newest snapshot.
    Snapshot,
    /// A segment of the journal.
    Segment(Segment),
}

impl Believed {
    /// By which the mark names it: the number of a segment, and none has the number 0.
    pub(crate) fn number(self) -> u64 {
        match self {
            Believed::Snapshot => 0,
            Believed::Segment(segment) => segment.number,
        }
    }
}

/// What is to be read, in the order in which it is: from what `first` names on, and then what is before it.
pub(crate) fn in_turn(snapshot: bool, segments: &[Segment], first: u64) -> VecDeque<Believed> {
    let segments = segments.iter().copied().map(Believed::Segment);
    let mut all: VecDeque<_> = snapshot.then_some(Believed::Snapshot).into_iter().chain(segments).collect();
    let before = all.iter().filter(|believed| believed.number() < first).count();
    // All of it can be gone by now, and then it begins at its beginning.
    all.rotate_left(if before < all.len() { before } else { 0 });
    all
}

impl Keeper {
    /// Reads what was believed. Returns a snapshot that was made instead of a damaged one.
    pub(crate) fn check(&mut self, what: Believed, work: &SnapshotWork) -> Result<Option<Kept>, MakeError> {
        match what {
            Believed::Snapshot => self.check_newest(work),
            Believed::Segment(segment) => self.check_segment(segment, work).map(|()| None),
        }
    }

    fn check_newest(&mut self, work: &SnapshotWork) -> Result<Option<Kept>, MakeError> {
        let Some(newest) = self.kept.last().copied() else { return Ok(None) };
        let mut unrested = 0;
        let after_block = |bytes| {
            unrested += bytes as u64;
            if unrested < BYTES_BETWEEN_RESTS {
                return Ok(());
            }
            work.rest_after(std::mem::take(&mut unrested))
        };
        match verify(&*self.files, &self.folder, newest.next_segment, self.id, after_block) {
            Ok(_) => Ok(None),
            Err(MakeError::Base(SnapshotError::Io { source, .. })) => Err(source.into()),
            Err(MakeError::Base(error)) => {
                tracing::error!(%error, "a snapshot that was whole is damaged, it is made again");
                self.make(newest.next_segment - 1, &work.ending).map(Some)
            }
            Err(error) => Err(error),
        }
    }

    fn check_segment(&self, segment: Segment, work: &SnapshotWork) -> Result<(), MakeError> {
        // Cleaned up since.
        if segment.number < self.first_segment {
            return Ok(());
        }
        let Segment { number, before, after, length, .. } = segment;
        let sound = |commit: replay::Commit| commit.leaf_lengths(|_, _| ());
        let read = replay::read_segment(&*self.files, &self.journal, number, Some(before), false, sound)?;
        if (read.after.sequence, read.after.size) != (after.sequence, after.size) {
            let (expected, found) = (after.sequence + 1, read.after.sequence + 1);
            return Err(Place::start(number + 1).is(Damage::Order { expected, found }).into());
        }
        work.rest_after(length)
    }
}

#[cfg(test)]
mod tests {
    use countersign_store::Head;

    use super::*;

    fn check(snapshot: bool, segments: &[u64], first: u64, expected: &[u64]) {
        let head = Head::default();
        let segment =
            |number: &u64| Segment { number: *number, before: head, after: head, length: 0, whole: true };
        let segments: Vec<Segment> = segments.iter().map(segment).collect();
        let found: Vec<u64> = in_turn(snapshot, &segments, first).into_iter().map(Believed::number).collect();
        assert_eq!(found, expected, "{segments:?} from {first}");
    }

    #[test]
    fn what_was_left_last_time_is_read_first_and_all_else_after_it() {
        check(false, &[], 0, &[]);
        check(false, &[], 7, &[]);
        check(true, &[4, 5, 6], 0, &[0, 4, 5, 6]);
        check(true, &[4, 5, 6], 4, &[4, 5, 6, 0]);
        check(true, &[4, 5, 6], 6, &[6, 0, 4, 5]);
        check(true, &[4, 5, 6], 2, &[4, 5, 6, 0]);
        check(true, &[4, 5, 6], 7, &[0, 4, 5, 6]);
        check(false, &[1, 2], 2, &[2, 1]);
    }
}
