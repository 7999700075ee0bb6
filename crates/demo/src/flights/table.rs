//! Reading the day's tables.
//!
//! Scheduled times are local clock times without a date; the outcome is counted from the schedule by the delays,
//! which are exact, rather than read from a second clock time that might lie a day or two later.

use std::{collections::HashMap, str::FromStr};

use jiff::{
    civil::{Date, DateTime, Time},
    tz::Offset,
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Airport, Course, Flight, MINUTE, UnixMs};

const FLIGHTS: &str = include_str!("../../data/flights-2013-03-08.csv");
const AIRPORTS: &str = include_str!("../../data/airports.csv");
const AIRLINES: &str = include_str!("../../data/airlines.csv");

/// Destinations that the origin's table of airports lacks. All four keep Atlantic time the year round.
const MISSING_AIRPORTS: [(&str, &str, i8); 4] = [
    ("BQN", "Rafael Hernandez", -4),
    ("PSE", "Mercedita", -4),
    ("SJU", "Luis Munoz Marin Intl", -4),
    ("STT", "Cyril E King", -4),
];

/// No flight of the day is shorter from gate to gate; an arrival closer to the departure is the next day's.
const SHORTEST_MINUTES: UnixMs = 30;

/// Why the tables could not be read. They are linked into the program, so any of these is a bug in them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    /// A line doesn't have the columns it should.
    #[error("{table}: {source}")]
    Table { table: &'static str, source: csv::Error },
    /// A number is none, or lies outside of what it counts.
    #[error("flight {flight}: {column} is `{value}`")]
    Value { flight: String, column: &'static str, value: String },
    /// A code stands in the flights and in no other table.
    #[error("flight {flight}: there is no {kind} `{code}`")]
    Unknown { flight: String, kind: &'static str, code: String },
}

#[derive(Deserialize)]
struct FlightRow {
    year: i16,
    month: i8,
    day: i8,
    sched_dep_time: String,
    dep_delay: String,
    sched_arr_time: String,
    arr_delay: String,
    carrier: String,
    flight: u32,
    origin: String,
    dest: String,
}

#[derive(Deserialize)]
struct AirportRow {
    faa: String,
    name: String,
    /// Hours ahead of UTC in winter. The United States changed their clocks two days later, on 10 March 2013:
    /// so this day needs no time zone rules.
    tz: i8,
}

#[derive(Deserialize)]
struct AirlineRow {
    carrier: String,
    name: String,
}

/// The flights in the order of the table.
pub(super) fn read() -> Result<Vec<Flight>, DataError> {
    let tables = Tables::read()?;
    rows::<FlightRow>("flights-2013-03-08.csv", FLIGHTS)?.iter().map(|row| tables.flight(row)).collect()
}

struct Tables {
    airports: HashMap<String, Airport>,
    airlines: HashMap<String, String>,
}

impl Tables {
    fn read() -> Result<Self, DataError> {
        let listed = rows::<AirportRow>("airports.csv", AIRPORTS)?;
        let added = MISSING_AIRPORTS.map(|(code, name, tz)| AirportRow {
            faa: code.to_owned(),
            name: name.to_owned(),
            tz,
        });
        let airports = listed.into_iter().chain(added).map(|row| {
            (row.faa.clone(), Airport { code: row.faa, name: row.name, offset: Offset::constant(row.tz) })
        });
        let airlines = rows::<AirlineRow>("airlines.csv", AIRLINES)?;
        Ok(Self {
            airports: airports.collect(),
            airlines: airlines.into_iter().map(|row| (row.carrier, row.name)).collect(),
        })
    }

    fn flight(&self, row: &FlightRow) -> Result<Flight, DataError> {
        let number = format!("{} {}", row.carrier, row.flight);
        let origin = self.airport(&number, &row.origin)?;
        let destination = self.airport(&number, &row.dest)?;
        let carrier = self.airlines.get(&row.carrier).ok_or_else(|| DataError::Unknown {
            flight: number.clone(),
            kind: "carrier",
            code: row.carrier.clone(),
        })?;

        let bad = |column, value: &str| DataError::Value {
            flight: number.clone(),
            column,
            value: value.to_owned(),
        };
        let date = Date::new(row.year, row.month, row.day)
            .map_err(|_| bad("day", &format!("{}-{}-{}", row.year, row.month, row.day)))?;
        let departure = hmm(date, &row.sched_dep_time)
            .and_then(|local| moment(&origin, local))
            .ok_or_else(|| bad("sched_dep_time", &row.sched_dep_time))?;
        let arrival = arrival_after(departure, date, &row.sched_arr_time, &destination)
            .ok_or_else(|| bad("sched_arr_time", &row.sched_arr_time))?;
        let left = delay(&row.dep_delay).map_err(|()| bad("dep_delay", &row.dep_delay))?;
        let arrived = delay(&row.arr_delay).map_err(|()| bad("arr_delay", &row.arr_delay))?;
        let course = match (left, arrived) {
            (Some(left), Some(arrived)) => {
                Course::Flown { departure: shifted(departure, left), arrival: shifted(arrival, arrived) }
            }
            (Some(left), None) => Course::Diverted { departure: shifted(departure, left) },
            (None, _) => Course::Cancelled,
        };
        Ok(Flight {
            carrier: carrier.clone(),
            number,
            origin,
            destination,
            scheduled_departure: departure,
            scheduled_arrival: arrival,
            course,
        })
    }

    fn airport(&self, flight: &str, code: &str) -> Result<Airport, DataError> {
        let unknown =
            || DataError::Unknown { flight: flight.to_owned(), kind: "airport", code: code.to_owned() };
        self.airports.get(code).cloned().ok_or_else(unknown)
    }
}

fn rows<T: DeserializeOwned>(table: &'static str, text: &str) -> Result<Vec<T>, DataError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().collect::<Result<_, _>>().map_err(|source| DataError::Table { table, source })
}

/// The first time after the departure at which the destination's clock shows `text`: tonight, or tomorrow.
fn arrival_after(departure: UnixMs, date: Date, text: &str, destination: &Airport) -> Option<UnixMs> {
    let today = hmm(date, text)?;
    let earliest = departure + SHORTEST_MINUTES * MINUTE;
    let tomorrow = today.date().tomorrow().ok()?.to_datetime(today.time());
    [today, tomorrow]
        .into_iter()
        .filter_map(|local| moment(destination, local))
        .find(|arrival| *arrival >= earliest)
}

/// `hmm` as in the tables: 5 is 00:05, 2145 is 21:45, 2400 is the end of the day.
fn hmm(date: Date, text: &str) -> Option<DateTime> {
    let number = i8::from_str(text.get(..text.len().saturating_sub(2))?).or_else(|error| {
        // One or two digits are minutes after midnight.
        if text.len() <= 2 { Ok(0) } else { Err(error) }
    });
    let hour = number.ok()?;
    let minute = i8::from_str(text.get(text.len().saturating_sub(2)..)?).ok()?;
    if (hour, minute) == (24, 0) {
        return Some(date.tomorrow().ok()?.to_datetime(Time::midnight()));
    }
    Some(date.to_datetime(Time::new(hour, minute, 0, 0).ok()?))
}

fn moment(airport: &Airport, local: DateTime) -> Option<UnixMs> {
    let timestamp = airport.offset.to_timestamp(local).ok()?;
    u64::try_from(timestamp.as_millisecond()).ok()
}

/// Minutes; none where the flight never left or never arrived.
fn delay(text: &str) -> Result<Option<i64>, ()> {
    match text {
        "NA" | "" => Ok(None),
        minutes => minutes.parse().map(Some).map_err(|_| ()),
    }
}

fn shifted(at: UnixMs, minutes: i64) -> UnixMs {
    at.saturating_add_signed(minutes * MINUTE as i64)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// The columns that `read` doesn't need agree with what it made of the others.
    #[derive(Deserialize)]
    struct Witness {
        dep_time: String,
        arr_time: String,
        air_time: String,
        minute: i64,
        time_hour: String,
    }

    #[test]
    fn clock_times_without_a_colon() {
        let check = |text, expected: Option<(i8, i8, i8)>| {
            let expected = expected.map(|(day, hour, minute)| date(2013, 3, day).at(hour, minute, 0, 0));
            assert_eq!(hmm(date(2013, 3, 8), text), expected, "{text}");
        };
        check("5", Some((8, 0, 5)));
        check("34", Some((8, 0, 34)));
        check("655", Some((8, 6, 55)));
        check("2145", Some((8, 21, 45)));
        check("2400", Some((9, 0, 0)));
        check("2460", None);
        check("NA", None);
        check("", None);
    }

    #[test]
    fn every_row_agrees_with_its_other_columns() {
        let flights = read().unwrap();
        let witnesses: Vec<Witness> = rows("flights", FLIGHTS).unwrap();
        for (flight, witness) in flights.iter().zip(&witnesses) {
            let hour: jiff::Timestamp = witness.time_hour.parse().unwrap();
            let hour = u64::try_from(hour.as_millisecond()).unwrap();
            assert_eq!(flight.scheduled_departure, shifted(hour, witness.minute), "{flight:?}");
            let shown = |airport: &Airport, at| airport.wall_clock(at);
            let told = |text: &str| hmm(date(2013, 3, 8), text).unwrap().strftime("%H:%M").to_string();
            match flight.course {
                Course::Flown { departure, arrival } => {
                    assert_eq!(shown(&flight.origin, departure), told(&witness.dep_time), "{flight:?}");
                    assert_eq!(shown(&flight.destination, arrival), told(&witness.arr_time), "{flight:?}");
                    // Taxiing takes some of the time from gate to gate, and no more than three hours.
                    let taxi = (arrival - departure) / MINUTE - witness.air_time.parse::<u64>().unwrap();
                    assert!((5..180).contains(&taxi), "{taxi} {flight:?}");
                }
                Course::Diverted { departure } => {
                    assert_eq!(shown(&flight.origin, departure), told(&witness.dep_time), "{flight:?}");
                }
                Course::Cancelled => assert_eq!(witness.dep_time, "NA", "{flight:?}"),
            }
        }
    }

    #[test]
    fn an_arrival_past_midnight_is_tomorrow() {
        let flights = read().unwrap();
        let flight = flights.iter().find(|flight| flight.number == "B6 739").unwrap();
        assert_eq!(flight.destination.code, "PSE");
        // 23:55 in New York to 04:40 in Ponce, an hour ahead.
        assert_eq!((flight.scheduled_arrival - flight.scheduled_departure) / MINUTE, 3 * 60 + 45);
        let Course::Flown { departure, .. } = flight.course else { panic!("it flew") };
        assert_eq!(flight.origin.wall_clock(departure), "00:01");
    }
}
