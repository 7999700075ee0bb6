//! What the airline held to be true at each moment of the day.
//!
//! The data tells how late a flight was, and not when anybody was told. So the announcements are derived from the
//! real delays, the same on every run:
//!
//! | when | what is announced |
//! |---|---|
//! | before all else | the schedule |
//! | 2 h before the scheduled departure | that it is cancelled, if it was |
//! | 1 h before the scheduled departure | half of the departure delay, in steps of 5 minutes, from 15 minutes on |
//! | at the scheduled departure | the whole departure delay, from 15 minutes on; from 60 on, another gate too |
//! | when it left | that it left, and so late |
//! | halfway through the flight | its arrival, to 5 minutes |
//! | on arrival | its arrival; or, if it never came, that it was diverted |

use super::{Course, Flight, Gate, MINUTE, UnixMs};

/// How long before the scheduled departure a cancellation is announced.
const CANCELLATION_NOTICE: UnixMs = 120 * MINUTE;
/// How long before the scheduled departure a delay is first announced.
const FIRST_NOTICE: UnixMs = 60 * MINUTE;
/// Shorter departure delays are not announced: by the on-time statistics a flight is late from 15 minutes on.
const ANNOUNCED_FROM_MINUTES: UnixMs = 15;
/// A delay this long makes room at the gate for another flight.
const GATE_CHANGES_FROM_MINUTES: UnixMs = 60;
/// Estimates are told to this many minutes.
const ESTIMATE_STEP: UnixMs = 5 * MINUTE;

/// What is held to be true of a flight, from one moment until the next belief.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Belief {
    /// From when on; the first belief holds since ever.
    pub(crate) since: UnixMs,
    pub(crate) status: Status,
    /// When it leaves, or left; none once it is known that it won't.
    pub(crate) departure: Option<UnixMs>,
    /// When it arrives, or arrived; none once it is known that it won't.
    pub(crate) arrival: Option<UnixMs>,
    /// Where it leaves from.
    pub(crate) gate: Gate,
}

/// Where a flight stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nothing else is known.
    Scheduled,
    /// It will leave late.
    Delayed,
    /// It is in the air.
    Departed,
    /// It has arrived.
    Landed,
    /// It won't leave.
    Cancelled,
    /// It left, and won't arrive where it was bound for.
    Diverted,
}

impl Flight {
    /// What was believed at `clock`.
    pub(crate) fn believed_at(&self, clock: UnixMs) -> Belief {
        let (first, later) = self.all_beliefs();
        later.into_iter().rev().find(|belief| belief.since <= clock).unwrap_or(first)
    }

    /// Everything that was believed, oldest first; each differs from the one before it.
    pub(crate) fn beliefs(&self) -> Vec<Belief> {
        let (first, later) = self.all_beliefs();
        let mut beliefs = vec![first];
        beliefs.extend(later);
        beliefs
    }

    fn all_beliefs(&self) -> (Belief, Vec<Belief>) {
        let first = Belief {
            since: 0,
            status: Status::Scheduled,
            departure: Some(self.scheduled_departure),
            arrival: Some(self.scheduled_arrival),
            gate: self.departure_gate(0),
        };
        let later = match self.course {
            Course::Flown { departure, arrival } => {
                let mut later = self.until_departure(departure);
                later.extend(self.in_the_air(departure, arrival));
                later
            }
            Course::Diverted { departure } => {
                let mut later = self.until_departure(departure);
                let expected = self.left_at(departure);
                let missed = expected.arrival.unwrap_or(departure);
                later.push(Belief {
                    since: missed,
                    status: Status::Diverted,
                    arrival: None,
                    ..expected.clone()
                });
                later.insert(later.len() - 1, expected);
                later
            }
            Course::Cancelled => vec![Belief {
                since: self.scheduled_departure - CANCELLATION_NOTICE,
                status: Status::Cancelled,
                departure: None,
                arrival: None,
                gate: self.departure_gate(0),
            }],
        };
        (first, later)
    }

    /// The announcements on the ground.
    fn until_departure(&self, departure: UnixMs) -> Vec<Belief> {
        let delay = departure.saturating_sub(self.scheduled_departure);
        if delay < ANNOUNCED_FROM_MINUTES * MINUTE {
            return Vec::new();
        }
        let delayed = |since, delay, gate| Belief {
            since,
            status: Status::Delayed,
            departure: Some(self.scheduled_departure + delay),
            arrival: Some(self.scheduled_arrival + delay),
            gate,
        };
        let half = delay / 2 / ESTIMATE_STEP * ESTIMATE_STEP;
        vec![
            delayed(self.scheduled_departure - FIRST_NOTICE, half, self.departure_gate(0)),
            delayed(self.scheduled_departure, delay, self.last_gate(delay)),
        ]
    }

    fn in_the_air(&self, departure: UnixMs, arrival: UnixMs) -> [Belief; 3] {
        let left = self.left_at(departure);
        let estimate = (arrival + ESTIMATE_STEP / 2) / ESTIMATE_STEP * ESTIMATE_STEP;
        let halfway = departure + (arrival - departure) / 2;
        let estimated = Belief { since: halfway, arrival: Some(estimate), ..left.clone() };
        let landed =
            Belief { since: arrival, status: Status::Landed, arrival: Some(arrival), ..left.clone() };
        [left, estimated, landed]
    }

    /// It left: the arrival is taken to be late, or early, by as much.
    fn left_at(&self, departure: UnixMs) -> Belief {
        Belief {
            since: departure,
            status: Status::Departed,
            departure: Some(departure),
            arrival: Some(self.scheduled_arrival + departure - self.scheduled_departure),
            gate: self.last_gate(departure.saturating_sub(self.scheduled_departure)),
        }
    }

    fn last_gate(&self, delay: UnixMs) -> Gate {
        self.departure_gate(u64::from(delay >= GATE_CHANGES_FROM_MINUTES * MINUTE))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::FlightDay, *};

    /// Beliefs as lines: status, and departure and arrival in minutes after the schedule.
    fn check(number: &str, expected: &[&str]) {
        let day = FlightDay::load().unwrap();
        let flight = day.find(number).unwrap();
        let after = |at: Option<UnixMs>, schedule| match at {
            Some(at) => super::super::minutes_between(schedule, at).to_string(),
            None => "-".to_owned(),
        };
        let lines: Vec<String> = flight
            .beliefs()
            .iter()
            .map(|belief| {
                let departure = after(belief.departure, flight.scheduled_departure);
                let arrival = after(belief.arrival, flight.scheduled_arrival);
                let since = flight.origin.wall_clock(belief.since);
                let since = if belief.since == 0 { "-----".to_owned() } else { since };
                format!("{since} {:?} {departure} {arrival} {}", belief.status, belief.gate.gate)
            })
            .collect();
        assert_eq!(lines, expected, "{number}");
    }

    #[test]
    fn a_late_flight_slips_in_steps() {
        check(
            "B6 35",
            &[
                "----- Scheduled 0 0 B24",
                "20:45 Delayed 70 70 B24",
                "21:45 Delayed 143 143 B9",
                "00:08 Departed 143 143 B9",
                "01:24 Departed 143 126 B9",
                "02:40 Landed 143 126 B9",
            ],
        );
    }

    #[test]
    fn a_cancelled_flight_is_told_two_hours_before() {
        let day = FlightDay::load().unwrap();
        let flight = day.flights().iter().find(|flight| flight.course == Course::Cancelled).unwrap();
        let told = flight.scheduled_departure - CANCELLATION_NOTICE;
        assert_eq!(flight.believed_at(told - 1).status, Status::Scheduled);
        assert_eq!(flight.believed_at(told).status, Status::Cancelled);
        assert_eq!(flight.believed_at(told).arrival, None);
    }

    #[test]
    fn a_diverted_flight_is_missed_when_it_should_have_come() {
        check("US 2116", &["----- Scheduled 0 0 A12", "06:55 Departed -5 -5 A12", "08:02 Diverted -5 - A12"]);
    }

    #[test]
    fn every_flight_goes_forward_in_time() {
        for flight in FlightDay::load().unwrap().flights() {
            let beliefs = flight.beliefs();
            assert!(beliefs.is_sorted_by(|a, b| a.since < b.since), "{beliefs:?}");
            for belief in &beliefs {
                assert_eq!(flight.believed_at(belief.since), *belief, "{}", flight.number);
            }
            if let Course::Flown { arrival, .. } = flight.course {
                assert_eq!(flight.believed_at(u64::MAX).arrival, Some(arrival));
            }
        }
    }
}
