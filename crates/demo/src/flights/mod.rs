//! One real day of flights, and what an airline would have known of it at each moment.
//!
//! Schedules and outcomes are the data's (`data/README.md`). What the data doesn't hold is derived from the
//! flight, the same on every run: gates and terminals in [`derived`], and the moments at which delays were
//! announced in [`belief`].
//!
//! No clock is read here: every question takes the moment at which it is asked, in the day's own time.

use jiff::{Timestamp, tz::Offset};

pub(crate) use self::{
    belief::{Belief, Status},
    derived::Gate,
    table::DataError,
    timeline::Timeline,
    trip::boarding_ends,
};

mod belief;
mod derived;
mod table;
mod timeline;
mod trip;

/// A moment: milliseconds since 1970-01-01T00:00:00Z, as the SDK's clock gives them.
pub(crate) type UnixMs = u64;

/// One minute of [`UnixMs`].
pub(crate) const MINUTE: UnixMs = 60_000;

/// A flight of the day with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flight {
    /// Carrier code and number, as on a boarding pass: `B6 35`. Unique within the day.
    pub(crate) number: String,
    /// The carrier's name: `JetBlue Airways`.
    pub(crate) carrier: String,
    /// Where it leaves from: one of New York's three.
    pub(crate) origin: Airport,
    /// Where it is bound for.
    pub(crate) destination: Airport,
    /// Gate to gate, as sold.
    pub(crate) scheduled_departure: UnixMs,
    /// Gate to gate, as sold.
    pub(crate) scheduled_arrival: UnixMs,
    /// What became of it.
    pub(crate) course: Course,
}

/// What became of a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// It left and arrived.
    Flown { departure: UnixMs, arrival: UnixMs },
    /// It left, and never arrived where it was bound for.
    Diverted { departure: UnixMs },
    /// It never left.
    Cancelled,
}

/// An airport and its clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Airport {
    /// Its FAA code: `JFK`.
    pub(crate) code: String,
    /// Its name: `John F Kennedy Intl`.
    pub(crate) name: String,
    /// What its clocks are ahead of UTC on this day.
    offset: Offset,
}

impl Flight {
    /// How late it arrived; none if it never did; negative if it was early.
    pub(crate) fn arrival_delay_minutes(&self) -> Option<i64> {
        match self.course {
            Course::Flown { arrival, .. } => Some(minutes_between(self.scheduled_arrival, arrival)),
            Course::Diverted { .. } | Course::Cancelled => None,
        }
    }

    /// How late it left; none if it never did; negative if it was early.
    pub(crate) fn departure_delay_minutes(&self) -> Option<i64> {
        match self.course {
            Course::Flown { departure, .. } | Course::Diverted { departure } => {
                Some(minutes_between(self.scheduled_departure, departure))
            }
            Course::Cancelled => None,
        }
    }
}

impl Airport {
    /// What the clock on its wall shows: `21:45`.
    pub(crate) fn wall_clock(&self, at: UnixMs) -> String {
        self.offset.to_datetime(timestamp(at)).strftime("%H:%M").to_string()
    }
}

/// All flights of the day.
#[derive(Clone, Debug)]
pub(crate) struct FlightDay {
    /// By scheduled departure, then by number.
    flights: Vec<Flight>,
}

impl FlightDay {
    /// Reads the tables that are linked into the program.
    pub(crate) fn load() -> Result<Self, DataError> {
        let mut flights = table::read()?;
        flights.sort_by(|a, b| (a.scheduled_departure, &a.number).cmp(&(b.scheduled_departure, &b.number)));
        Ok(Self { flights })
    }

    /// By scheduled departure, then by number.
    pub(crate) fn flights(&self) -> &[Flight] {
        &self.flights
    }

    /// The flight with this number: `B6 35`.
    pub(crate) fn find(&self, number: &str) -> Option<&Flight> {
        self.flights.iter().find(|flight| flight.number == number)
    }

    /// An airport that one of the flights is bound for, by its code.
    pub(crate) fn airport(&self, code: &str) -> Option<&Airport> {
        self.flights.iter().map(|flight| &flight.destination).find(|airport| airport.code == code)
    }

    /// Flights that arrived at least so late, by scheduled departure, then by number. Cancelled and diverted
    /// flights are not among them.
    pub(crate) fn delayed_flights(&self, min_delay_minutes: i64) -> Vec<&Flight> {
        let late = |flight: &&Flight| flight.arrival_delay_minutes() >= Some(min_delay_minutes);
        self.flights.iter().filter(late).collect()
    }
}

/// A moment in RFC 3339, as the catalogue's instants are written.
pub(crate) fn text_of(at: UnixMs) -> String {
    timestamp(at).to_string()
}

/// Reads what [`text_of`] writes.
pub(crate) fn moment(text: &str) -> Option<UnixMs> {
    let at: Timestamp = text.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok()
}

fn minutes_between(from: UnixMs, to: UnixMs) -> i64 {
    // Moments of one day of 2013 stand far below i64::MAX.
    (to as i64 - from as i64) / MINUTE as i64
}

fn timestamp(at: UnixMs) -> Timestamp {
    i64::try_from(at).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_whole() {
        let day = FlightDay::load().unwrap();
        assert_eq!(day.flights().len(), 979);
        assert_eq!(day.flights().iter().filter(|flight| flight.course == Course::Cancelled).count(), 180);
        assert_eq!(day.delayed_flights(41).len(), 506);
        let mut numbers: Vec<_> = day.flights().iter().map(|flight| &flight.number).collect();
        numbers.sort();
        numbers.dedup();
        assert_eq!(numbers.len(), 979, "numbers are unique within the day");
    }

    #[test]
    fn moments_read_back_as_written() {
        assert_eq!(text_of(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment("2013-03-09T07:40:00Z").map(text_of).as_deref(), Some("2013-03-09T07:40:00Z"));
        assert_eq!(moment("cancelled"), None);
    }

    #[test]
    fn airports_are_found_by_their_code() {
        let day = FlightDay::load().unwrap();
        assert_eq!(day.airport("PBI").map(|airport| airport.code.as_str()), Some("PBI"));
        assert_eq!(day.airport("XXX"), None);
    }

    #[test]
    fn delayed_flights_come_in_the_order_of_the_day() {
        let day = FlightDay::load().unwrap();
        let delayed = day.delayed_flights(60);
        assert!(delayed.is_sorted_by_key(|flight| (flight.scheduled_departure, &flight.number)));
        assert!(delayed.iter().all(|flight| flight.arrival_delay_minutes() >= Some(60)));
    }

    #[test]
    fn a_late_evening_flight() {
        let day = FlightDay::load().unwrap();
        let flight = day.find("B6 35").unwrap();
        assert_eq!(flight.carrier, "JetBlue Airways");
        assert_eq!((flight.origin.code.as_str(), flight.destination.code.as_str()), ("JFK", "PBI"));
        assert_eq!(flight.origin.name, "John F Kennedy Intl");
        assert_eq!(flight.departure_delay_minutes(), Some(143));
        assert_eq!(flight.arrival_delay_minutes(), Some(126));
        let Course::Flown { departure, arrival } = flight.course else { panic!("it flew") };
        assert_eq!(flight.origin.wall_clock(departure), "00:08");
        assert_eq!(flight.destination.wall_clock(arrival), "02:40");
        assert_eq!(flight.believed_at(arrival).arrival, Some(arrival));
        assert_eq!(flight.believed_at(0).arrival, Some(flight.scheduled_arrival));
    }
}
