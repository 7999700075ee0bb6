//! What the data doesn't hold: gates and terminals.
//!
//! Derived from the flight by a fixed hash, so that every run and every process shows the same ones. They are
//! plausible and not true.

use super::{Airport, Flight};

/// A gate at an airport, as on a board: terminal `4`, gate `B22`. Derived, not from the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) terminal: String,
    pub(crate) gate: String,
}

/// Terminals by airport; where none are listed there are [`OTHER_TERMINALS`].
const TERMINALS: [(&str, &[&str]); 3] =
    [("EWR", &["A", "B", "C"]), ("JFK", &["2", "4", "5", "7", "8"]), ("LGA", &["A", "B", "C", "D"])];
const OTHER_TERMINALS: &[&str] = &["1", "2"];
const PIERS: [char; 3] = ['A', 'B', 'C'];
const GATES_PER_PIER: u64 = 30;

impl Flight {
    /// Where it leaves from. `moves` counts the gate changes so far: the terminal stays.
    pub(super) fn departure_gate(&self, moves: u64) -> Gate {
        let pier = PIERS[(self.hash("pier", 0) % PIERS.len() as u64) as usize];
        // A change always leads to another gate: the step is never a multiple of the pier's length.
        let first = self.hash("gate", 0) % GATES_PER_PIER;
        let step = 1 + self.hash("step", 0) % (GATES_PER_PIER - 1);
        let gate = 1 + (first + moves * step) % GATES_PER_PIER;
        Gate { terminal: self.terminal(&self.origin), gate: format!("{pier}{gate}") }
    }

    /// The terminal at which it arrives, where a driver would wait.
    pub(super) fn arrival_terminal(&self) -> String {
        self.terminal(&self.destination)
    }

    /// A carrier stays in one terminal of an airport.
    fn terminal(&self, airport: &Airport) -> String {
        let listed = TERMINALS.iter().find(|(code, _)| *code == airport.code);
        let terminals = listed.map_or(OTHER_TERMINALS, |(_, terminals)| terminals);
        let hash = fnv1a(&[&self.carrier, &airport.code, "terminal"]);
        terminals[(hash % terminals.len() as u64) as usize].to_owned()
    }

    fn hash(&self, what: &str, nth: u64) -> u64 {
        fnv1a(&[&self.number, what, &nth.to_string()])
    }
}

/// FNV-1a: the standard library's hasher may change between versions, and these gates must not.
fn fnv1a(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The low bits of FNV follow the last byte; the high ones mix all of them.
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::super::FlightDay;

    #[test]
    fn gates_are_the_same_on_every_run() {
        let day = FlightDay::load().unwrap();
        let flight = day.find("B6 35").unwrap();
        assert_eq!(flight.departure_gate(0), flight.clone().departure_gate(0));
        let shown = |moves| {
            let gate = flight.departure_gate(moves);
            format!("{} {}", gate.terminal, gate.gate)
        };
        assert_eq!([shown(0), shown(1)], ["8 B24", "8 B9"]);
        assert_eq!(flight.arrival_terminal(), "2");
    }

    #[test]
    fn a_change_of_gate_changes_the_gate_and_not_the_terminal() {
        for flight in FlightDay::load().unwrap().flights() {
            let (before, after) = (flight.departure_gate(0), flight.departure_gate(1));
            assert_eq!(before.terminal, after.terminal);
            assert_ne!(before.gate, after.gate, "{}", flight.number);
        }
    }
}
