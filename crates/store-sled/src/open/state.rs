//! What snapshots and journal say, before anything is done about it.

use std::collections::VecDeque;

use countersign_store::Head;

use super::Places;
use crate::bundles::Lengths;
use crate::errors::{Damage, OpenError};
use crate::files::Files;
use crate::journal::Place;
use crate::journal::replay::{self, Segment};
use crate::manifest::StoreId;
use crate::snapshot::{self, Believed, Header, Kept, Reader, SnapshotError, in_turn, verify};

/// What snapshots and journal say. Every frame of the journal that is kept has been checked, unless it was
/// [believed](State::believe).
pub(super) struct State {
    /// The newest snapshot that is whole.
    pub(super) base: Option<Header>,
    /// The snapshots to keep, the oldest first: the base, and the one before it.
    pub(super) kept: Vec<Kept>,
    /// The segments that are kept, at least one.
    pub(super) segments: Vec<Segment>,
    /// The lengths of all bundles.
    pub(super) lengths: Lengths,
    /// Snapshots that are of no use.
    pub(super) useless: Vec<u64>,
    /// If all of this was believed: where to begin to read it in the background.
    pub(super) check_from: Option<u64>,
}

impl State {
    pub(super) fn read(places: &Places<'_>, files: &dyn Files, id: StoreId) -> Result<State, OpenError> {
        let (kept, useless, mut damage) = snapshots(places, files, id)?;
        let base = kept.last().copied();
        let required = kept.first().map_or(1, |oldest| oldest.next_segment);
        let numbers = replay::contiguous(files, &places.journal, required);
        // That there is no snapshot to begin with is what is wrong then.
        let mut without = |error: OpenError| match error {
            OpenError::Corrupt { .. } if kept.is_empty() => damage.take().unwrap_or(error),
            error => error,
        };
        let numbers = numbers.map_err(&mut without)?;
        if let Some(base) = base
            && *numbers.end() < base.next_segment
        {
            return Err(Place::start(numbers.end() + 1).is(Damage::Missing));
        }
        let mut lengths = match base {
            Some(base) => Reader::open(files, &places.snapshots, base.next_segment, id)?.lengths().clone(),
            None => Lengths::default(),
        };
        let from = base.map_or(0, |base| base.head.sequence);
        let known = |number| match kept.iter().find(|kept| kept.next_segment == number) {
            Some(kept) => Some(kept.head),
            None => (number == 1).then(Head::default),
        };
        let segments = replay::read_all(files, &places.journal, numbers, known, |commit| {
            let covered = commit.after.sequence <= from;
            commit.leaf_lengths(|record, private| {
                if !covered {
                    lengths.push(record, private);
                }
            })
        })?;
        let next = base.map_or(0, |base| base.next_segment);
        for segment in segments.iter().filter(|segment| segment.number >= next) {
            segment.needed_whole().map_err(&mut without)?;
        }
        let mut snapshots = Vec::with_capacity(kept.len());
        for Header { next_segment, head, .. } in kept {
            let path = snapshot::path(&places.snapshots, next_segment);
            let bytes = files.length(&path).map_err(OpenError::io(&path))?.unwrap_or(0);
            snapshots.push(Kept { next_segment, head, bytes });
        }
        Ok(State { base, kept: snapshots, segments, lengths, useless, check_from: None })
    }

    /// The head that the journal reaches.
    pub(super) fn reached(&self) -> Head {
        self.last().after
    }

    /// Where the journal ends.
    pub(super) fn end(&self) -> Place {
        Place { segment: self.last().number, offset: self.last().length }
    }

    pub(super) fn first_segment(&self) -> u64 {
        self.segments[0].number
    }

    /// The sequence from which on the journal has all of every commit.
    pub(super) fn whole_from(&self) -> u64 {
        let stripped = self.segments.iter().rev().find(|segment| !segment.whole);
        stripped.map_or(self.segments[0].before.sequence, |segment| segment.after.sequence)
    }

    /// The first leaf that the journal has.
    pub(super) fn first_leaf(&self) -> u64 {
        self.segments[0].before.size
    }

    /// The length of the newest snapshot.
    pub(super) fn newest_bytes(&self) -> u64 {
        self.kept.last().map_or(0, |newest| newest.bytes)
    }

    /// The full segments that no snapshot covers, with their lengths.
    pub(super) fn closed(&self) -> VecDeque<(u64, u64)> {
        let next = self.base.map_or(1, |base| base.next_segment);
        let (_, closed) = self.segments.split_last().expect("there is a segment, or reading has failed");
        closed.iter().filter(|it| it.number >= next).map(|it| (it.number, it.length)).collect()
    }

    /// What was believed, in the order in which it is to be read. The last segment was read.
    pub(super) fn believed(&self) -> VecDeque<Believed> {
        let Some(first) = self.check_from else { return VecDeque::new() };
        let (_, closed) = self.segments.split_last().expect("there is a segment, or reading has failed");
        in_turn(self.base.is_some(), closed, first)
    }

    /// Removes what interrupted cleaning has left, and snapshots of no use. What stays for an error costs its room.
    pub(super) fn clean(&self, files: &dyn Files, places: &Places<'_>) {
        for &number in &self.useless {
            let path = snapshot::path(&places.snapshots, number);
            if let Err(error) = files.remove(&path) {
                tracing::warn!(%error, "a useless snapshot stays");
            }
        }
        let numbers = replay::numbers(files, &places.journal).unwrap_or_default();
        let before: Vec<u64> = numbers.into_iter().filter(|number| *number < self.first_segment()).collect();
        if let Err(error) = replay::remove(files, &places.journal, &before) {
            tracing::warn!(%error, "segments that are of no use stay");
        }
    }

    fn last(&self) -> Segment {
        *self.segments.last().expect("there is a segment, or reading has failed")
    }
}

type Snapshots = (Vec<Header>, Vec<u64>, Option<OpenError>);

/// The snapshots to keep, the oldest first, the numbers of all others, and what is wrong with the newest of those that
/// are damaged. Of the ones that are kept the newest is whole.
fn snapshots(places: &Places<'_>, files: &dyn Files, id: StoreId) -> Result<Snapshots, OpenError> {
    let (mut kept, mut useless, mut damage) = (Vec::new(), Vec::new(), None);
    for number in snapshot::list(files, &places.snapshots)? {
        // The older one is read when the newest turns out to be damaged. Until then its header says all that is needed.
        let header = match kept.len() {
            0 => verify(files, &places.snapshots, number, id, |_| Ok(())),
            1 => Reader::open(files, &places.snapshots, number, id).map(|reader| reader.header()),
            _ => {
                useless.push(number);
                continue;
            }
        };
        match header {
            Ok(header) => kept.insert(0, header),
            Err(error @ SnapshotError::Damaged { .. }) => {
                tracing::error!(%error, "a snapshot is of no use, the one before it is taken");
                useless.push(number);
                damage.get_or_insert(error.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((kept, useless, damage))
}
