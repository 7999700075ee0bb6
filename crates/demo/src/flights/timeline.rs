//! The day as a row of changes, for a clock that replays it faster than life.

use super::{Belief, Flight, UnixMs};

/// One flight's belief gave way to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) at: UnixMs,
    /// The flight's number.
    pub(crate) flight: String,
    pub(crate) before: Belief,
    pub(crate) after: Belief,
}

impl Change {
    /// Whether the believed arrival changed: what a driver cares for.
    pub(crate) fn moves_arrival(&self) -> bool {
        self.before.arrival != self.after.arrival
    }

    /// Whether gate or believed departure changed: what a traveller waiting at the gate cares for.
    pub(crate) fn moves_departure(&self) -> bool {
        self.before.gate != self.after.gate || self.before.departure != self.after.departure
    }
}

/// The changes of some flights in the order in which they came.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    changes: Vec<Change>,
}

impl Timeline {
    /// All changes of these flights. Changes of one moment come in the order of the flights' numbers.
    pub(crate) fn of<'a>(flights: impl IntoIterator<Item = &'a Flight>) -> Self {
        let mut changes: Vec<Change> = flights.into_iter().flat_map(changes).collect();
        changes.sort_by(|a, b| (a.at, &a.flight).cmp(&(b.at, &b.flight)));
        Self { changes }
    }

    /// What a clock that moves from `after` to `until` passes: later than `after`, and up to `until`.
    pub(crate) fn between(&self, after: UnixMs, until: UnixMs) -> &[Change] {
        let start = self.changes.partition_point(|change| change.at <= after);
        let end = self.changes.partition_point(|change| change.at <= until);
        &self.changes[start..end.max(start)]
    }

    /// The moment of the next change after `clock`, to which a replay may jump.
    pub(crate) fn next_after(&self, clock: UnixMs) -> Option<UnixMs> {
        let next = self.changes.partition_point(|change| change.at <= clock);
        self.changes.get(next).map(|change| change.at)
    }

    /// The first and the last moment at which anything changes; none without any change.
    pub(crate) fn span(&self) -> Option<(UnixMs, UnixMs)> {
        Some((self.changes.first()?.at, self.changes.last()?.at))
    }
}

fn changes(flight: &Flight) -> Vec<Change> {
    let beliefs = flight.beliefs();
    beliefs
        .windows(2)
        .map(|pair| Change {
            at: pair[1].since,
            flight: flight.number.clone(),
            before: pair[0].clone(),
            after: pair[1].clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::FlightDay, *};

    #[test]
    fn a_replay_passes_every_change_once_and_in_order() {
        let day = FlightDay::load().unwrap();
        let flights = day.delayed_flights(40);
        let timeline = Timeline::of(flights.iter().copied().take(25));
        assert!(timeline.changes.is_sorted_by_key(|change| change.at));
        let (first, last) = timeline.span().unwrap();

        let mut clock = first - 1;
        let mut passed = Vec::new();
        while clock < last {
            let until = clock + 10 * super::super::MINUTE;
            passed.extend_from_slice(timeline.between(clock, until));
            clock = until;
        }
        assert_eq!(passed, timeline.changes);
        assert_eq!(timeline.between(last, u64::MAX), []);
        assert_eq!(timeline.between(last, first), []);
    }

    #[test]
    fn a_clock_can_jump_from_change_to_change() {
        let day = FlightDay::load().unwrap();
        let timeline = Timeline::of(day.find("B6 35"));
        let mut clock = 0;
        let mut moved = Vec::new();
        while let Some(next) = timeline.next_after(clock) {
            let change = &timeline.between(clock, next)[0];
            moved.push((change.moves_arrival(), change.moves_departure()));
            clock = next;
        }
        assert_eq!(moved, [(true, true), (true, true), (false, false), (true, false), (false, false)]);
        assert_eq!(timeline.next_after(clock), None);
    }

    #[test]
    fn no_flights_no_changes() {
        let timeline = Timeline::of([]);
        assert_eq!((timeline.span(), timeline.next_after(0)), (None, None));
    }
}
