//! What an airline's announcement means, in plain words.

use crate::flights::{Belief, Flight, Status};

/// What a change of belief means to somebody who waits.
pub(super) fn news(flight: &Flight, before: &Belief, after: &Belief) -> (String, String) {
    let number = &flight.number;
    let leaves = after.departure.map_or_else(String::new, |at| flight.origin.wall_clock(at));
    let lands = after.arrival.map_or_else(String::new, |at| flight.destination.wall_clock(at));
    let gate =
        if before.gate == after.gate { String::new() } else { format!(", from gate {}", after.gate.gate) };
    let what = match after.status {
        Status::Scheduled => format!("{number} is on time"),
        Status::Delayed => format!("{number} now leaves {leaves}{gate}, lands {lands}"),
        Status::Departed if before.status == Status::Departed => {
            format!("{number} is halfway, lands {lands}")
        }
        Status::Departed => format!("{number} has left at {leaves}, lands {lands}"),
        Status::Landed => format!("{number} has landed at {lands}"),
        Status::Cancelled => format!("{number} is cancelled"),
        Status::Diverted => format!("{number} is diverted"),
    };
    (what, format!("{} to {}", flight.origin.code, flight.destination.code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flights::FlightDay;

    #[test]
    fn news_are_told_in_plain_words() {
        let day = FlightDay::load().unwrap();
        let flight = day.find("B6 35").unwrap();
        let told: Vec<String> =
            flight.beliefs().windows(2).map(|pair| news(flight, &pair[0], &pair[1]).0).collect();
        assert_eq!(
            told,
            [
                "B6 35 now leaves 22:55, lands 01:44",
                "B6 35 now leaves 00:08, from gate B9, lands 02:57",
                "B6 35 has left at 00:08, lands 02:57",
                "B6 35 is halfway, lands 02:40",
                "B6 35 has landed at 02:40",
            ]
        );
    }
}
