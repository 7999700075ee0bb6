//! Who travels, and on which of the day's flights.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result, ensure};
use countersign_client::grants::id::GrantName;

use crate::{
    flights::{Flight, FlightDay, MINUTE, UnixMs},
    journey::Brand,
    ride::{Ride, plate_of},
};

/// Mei's flight: JetBlue from New York to Palm Beach, which left 143 minutes late.
pub(crate) const MEIS_FLIGHT: &str = "B6 35";

/// Others leave at most so long before Mei: an afternoon and an evening.
const WINDOW: UnixMs = 5 * 60 * MINUTE;

/// By how much the others' flights arrived late, at least.
const LATE_MINUTES: i64 = 60;

/// Mei first.
const NAMES: [&str; 25] = [
    "Mei", "Amara", "Ben", "Chiara", "Dev", "Elif", "Farid", "Grace", "Hiro", "Ines", "Jonas", "Kemi",
    "Luca", "Maria", "Nils", "Olga", "Pablo", "Quinn", "Rosa", "Samir", "Tove", "Uma", "Viktor", "Wen",
    "Yara",
];

/// Which traveller: a place in [`Cast::travellers`].
pub(crate) type Who = usize;

/// The first traveller: the one whose story is told.
pub(crate) const MEI: Who = 0;

/// One traveller.
pub(crate) struct Traveller {
    pub(crate) name: String,
    pub(crate) flight: Flight,
    /// The handle by which each brand knows them.
    pub(crate) subjects: BTreeMap<Brand, String>,
    /// What they approved, by the number of the row.
    pub(crate) grants: BTreeMap<u8, GrantName>,
    /// The rows that are over.
    pub(crate) ended: BTreeSet<u8>,
    /// How often data moved under each row.
    pub(crate) uses: BTreeMap<u8, u64>,
    /// What Hopp must be doing, by what it was told.
    pub(crate) ride: Ride,
}

impl Traveller {
    /// Whether data may flow under a row.
    pub(crate) fn stands(&self, row: u8) -> bool {
        self.grants.contains_key(&row) && !self.ended.contains(&row)
    }

    /// The grant of a row.
    pub(crate) fn grant(&self, row: u8) -> Result<&GrantName> {
        self.grants.get(&row).with_context(|| format!("{} has not approved row {row}", self.name))
    }
}

/// All travellers.
pub(crate) struct Cast {
    pub(crate) travellers: Vec<Traveller>,
    by_subject: HashMap<String, Who>,
}

impl Cast {
    /// So many travellers on delayed flights of the afternoon and evening; with more travellers than flights some
    /// travel together.
    pub(crate) fn of(day: &FlightDay, travellers: usize) -> Result<Self> {
        let mei = day.find(MEIS_FLIGHT).context("Mei's flight is not among the day's")?;
        let near = |flight: &&&Flight| {
            let leaves = flight.scheduled_departure;
            leaves <= mei.scheduled_departure
                && leaves + WINDOW >= mei.scheduled_departure
                && flight.number != mei.number
        };
        let others: Vec<&Flight> = day.delayed_flights(LATE_MINUTES).iter().filter(near).copied().collect();
        ensure!(!others.is_empty(), "the day has no other late flights");
        let spread = |nth: usize| others[nth * others.len() / travellers.max(1) % others.len()];
        let flights = std::iter::once(mei).chain((0..travellers.saturating_sub(1)).map(spread));
        let travellers = flights.enumerate().map(|(who, flight)| Traveller {
            name: NAMES.get(who).map_or_else(|| format!("Traveller {}", who + 1), |name| (*name).to_owned()),
            flight: flight.clone(),
            subjects: BTreeMap::new(),
            grants: BTreeMap::new(),
            ended: BTreeSet::new(),
            uses: BTreeMap::new(),
            ride: Ride::new(String::new()),
        });
        Ok(Self { travellers: travellers.collect(), by_subject: HashMap::new() })
    }

    /// A traveller linked with all brands, and approved these rows of the request.
    pub(crate) fn entered(
        &mut self,
        who: Who,
        subjects: BTreeMap<Brand, String>,
        grants: BTreeMap<u8, GrantName>,
    ) {
        for subject in subjects.values() {
            self.by_subject.insert(subject.clone(), who);
        }
        let traveller = &mut self.travellers[who];
        traveller.ride =
            Ride::new(subjects.get(&Brand::Hopp).map(|subject| plate_of(subject)).unwrap_or_default());
        traveller.subjects = subjects;
        traveller.grants = grants;
    }

    /// Whose handle this is.
    pub(crate) fn who(&self, subject: &str) -> Result<Who> {
        self.by_subject.get(subject).copied().with_context(|| format!("`{subject}` is nobody's handle"))
    }

    /// How many grants they gave.
    pub(crate) fn grants(&self) -> u64 {
        self.travellers.iter().map(|one| one.grants.len() as u64).sum()
    }

    pub(crate) fn mei(&self) -> &Traveller {
        &self.travellers[MEI]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mei_travels_first_and_everybody_is_late() {
        let day = FlightDay::load().unwrap();
        let cast = Cast::of(&day, 25).unwrap();
        assert_eq!(cast.travellers.len(), 25);
        assert_eq!((cast.mei().name.as_str(), cast.mei().flight.number.as_str()), ("Mei", MEIS_FLIGHT));
        assert!(cast.travellers.iter().all(|one| one.flight.arrival_delay_minutes() >= Some(LATE_MINUTES)));
        let flights: BTreeSet<&str> = cast.travellers.iter().map(|one| one.flight.number.as_str()).collect();
        assert_eq!(flights.len(), 25, "with as few travellers as these, each has a flight of their own");
    }

    #[test]
    fn any_number_can_travel() {
        let day = FlightDay::load().unwrap();
        for travellers in [1, 2, 1000] {
            assert_eq!(Cast::of(&day, travellers).unwrap().travellers.len(), travellers);
        }
        assert_eq!(Cast::of(&day, 30).unwrap().travellers[29].name, "Traveller 30");
    }

    #[test]
    fn handles_lead_to_their_traveller() {
        let mut cast = Cast::of(&FlightDay::load().unwrap(), 2).unwrap();
        cast.entered(1, BTreeMap::from([(Brand::Hopp, "handle".to_owned())]), BTreeMap::new());
        assert_eq!(cast.who("handle").unwrap(), 1);
        assert!(cast.who("other").is_err());
        assert!(!cast.travellers[1].stands(1));
    }
}
