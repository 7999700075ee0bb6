//! A flight as the fields of the catalogue's `trip`.

use super::{Flight, MINUTE, Status, UnixMs, timestamp};

/// How long before the departure boarding begins. Derived: the data doesn't hold it.
const BOARDING_BEFORE: UnixMs = 30 * MINUTE;

/// When boarding that began then has ended: with the departure.
pub(crate) fn boarding_ends(began: UnixMs) -> UnixMs {
    began + BOARDING_BEFORE
}

/// The values that an airline's handler answers with, as they stood at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trip {
    /// `B6 35`.
    pub(crate) flight_no: String,
    /// The code of the airport of arrival, where a driver would wait.
    pub(crate) airport: String,
    /// The terminal of arrival. Derived.
    pub(crate) terminal: String,
    /// The believed arrival in RFC 3339, or `cancelled` or `diverted`.
    pub(crate) eta: String,
    /// Terminal and gate of departure: `8 B24`. Derived.
    pub(crate) gate: String,
    /// When boarding begins, in RFC 3339, or `cancelled`. Derived.
    pub(crate) boarding_time: String,
}

impl Trip {
    /// The value of a field by its name in the catalogue, less the `trip.`: `eta`. None for a field that an
    /// airline's trip doesn't have.
    pub(crate) fn value(&self, field: &str) -> Option<&str> {
        Some(match field {
            "flight_no" => &self.flight_no,
            "airport" => &self.airport,
            "terminal" => &self.terminal,
            "eta" => &self.eta,
            "gate" => &self.gate,
            "boarding_time" => &self.boarding_time,
            _ => return None,
        })
    }
}

impl Flight {
    /// What the airline would have answered at `clock`.
    pub(crate) fn trip_at(&self, clock: UnixMs) -> Trip {
        let belief = self.believed_at(clock);
        let instead = if belief.status == Status::Diverted { "diverted" } else { "cancelled" };
        let shown =
            |at: Option<UnixMs>| at.map_or_else(|| instead.to_owned(), |at| timestamp(at).to_string());
        Trip {
            flight_no: self.number.clone(),
            airport: self.destination.code.clone(),
            terminal: self.arrival_terminal(),
            eta: shown(belief.arrival),
            gate: format!("{} {}", belief.gate.terminal, belief.gate.gate),
            boarding_time: shown(belief.departure.map(|departure| departure - BOARDING_BEFORE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Course, FlightDay};

    #[test]
    fn a_trip_as_it_slips() {
        let day = FlightDay::load().unwrap();
        let flight = day.find("B6 35").unwrap();
        let check = |at, eta: &str, gate: &str, boarding: &str| {
            let trip = flight.trip_at(at);
            let found =
                ["flight_no", "airport", "eta", "gate", "boarding_time"].map(|field| trip.value(field));
            assert_eq!(found, [Some("B6 35"), Some("PBI"), Some(eta), Some(gate), Some(boarding)]);
            assert_eq!(trip.value("fare"), None);
        };
        check(0, "2013-03-09T05:34:00Z", "8 B24", "2013-03-09T02:15:00Z");
        check(flight.scheduled_departure, "2013-03-09T07:57:00Z", "8 B9", "2013-03-09T04:38:00Z");
        check(u64::MAX, "2013-03-09T07:40:00Z", "8 B9", "2013-03-09T04:38:00Z");
    }

    #[test]
    fn a_trip_that_never_was() {
        let day = FlightDay::load().unwrap();
        let flight = day.flights().iter().find(|flight| flight.course == Course::Cancelled).unwrap();
        let trip = flight.trip_at(u64::MAX);
        assert_eq!((trip.eta.as_str(), trip.boarding_time.as_str()), ("cancelled", "cancelled"));
        assert_eq!(day.find("US 2116").unwrap().trip_at(u64::MAX).eta, "diverted");
    }
}
