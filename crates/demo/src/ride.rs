//! A ride from the airport. Hopp drives it, and the director knows the same rules, so that it can check what Chirp was
//! told.

use crate::flights::{MINUTE, UnixMs, text_of};

/// From the landing to the kerb.
const WALK: UnixMs = 15 * MINUTE;
/// How long before the pick-up a driver is found.
const ASSIGNED_BEFORE: UnixMs = 30 * MINUTE;
/// How long the driver stands at the kerb.
const BOARDING: UnixMs = 10 * MINUTE;
/// The drive.
const DRIVE: UnixMs = 35 * MINUTE;

/// One ride.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ride {
    pickup: UnixMs,
    status: Status,
    plate: String,
}

/// Where it stands, as the catalogue words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Requested,
    DriverAssigned,
    DriverWaiting,
    OnTrip,
    Completed,
}

/// When the car comes for somebody who lands then.
pub(crate) fn pickup_for(lands: UnixMs) -> UnixMs {
    lands + WALK
}

/// The last three of the number plate of somebody's car: the same on every run for the same handle.
pub(crate) fn plate_of(subject: &str) -> String {
    // Handles are random; letters that look like digits are left out.
    const SIGNS: &[u8] = b"ABCDEFGHJKLMNPRSTUVWXYZ23456789";
    let bytes = subject.as_bytes();
    let hash =
        bytes.iter().fold(7_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    (0..3).map(|place| char::from(SIGNS[(hash >> (place * 8)) % SIGNS.len()])).collect()
}

impl Ride {
    /// A ride that is asked for, and not yet planned.
    pub(crate) fn new(plate: String) -> Self {
        Self { pickup: 0, status: Status::Requested, plate }
    }

    /// When the car comes.
    pub(crate) fn pickup(&self) -> UnixMs {
        self.pickup
    }

    /// Whether it was planned and has not ended.
    pub(crate) fn drives(&self) -> bool {
        self.pickup > 0 && self.status < Status::Completed
    }

    /// Plans by the landing; whether that moved the pick-up.
    pub(crate) fn plan(&mut self, lands: UnixMs) -> bool {
        let pickup = pickup_for(lands);
        let moved = pickup != self.pickup && self.status < Status::OnTrip;
        if moved {
            self.pickup = pickup;
        }
        moved
    }

    /// Goes on to where the ride stands at `clock`; whether that is further than before. One that is not planned stays.
    pub(crate) fn advance(&mut self, clock: UnixMs) -> bool {
        if self.pickup == 0 {
            return false;
        }
        let reached = if clock >= self.pickup + BOARDING + DRIVE {
            Status::Completed
        } else if clock >= self.pickup + BOARDING {
            Status::OnTrip
        } else if clock >= self.pickup {
            Status::DriverWaiting
        } else if clock + ASSIGNED_BEFORE >= self.pickup {
            Status::DriverAssigned
        } else {
            Status::Requested
        };
        // A driver who waits already goes on waiting when the flight slips again.
        let further = reached > self.status;
        if further {
            self.status = reached;
        }
        further
    }

    /// The value of a field by its name in the catalogue, less the `ride.`.
    pub(crate) fn value(&self, field: &str) -> Option<String> {
        Some(match field {
            "status" => match self.status {
                Status::Requested => "REQUESTED",
                Status::DriverAssigned => "DRIVER_ASSIGNED",
                Status::DriverWaiting => "DRIVER_WAITING",
                Status::OnTrip => "ON_TRIP",
                Status::Completed => "COMPLETED",
            }
            .to_owned(),
            "eta" => text_of(self.pickup),
            "plate_last3" => self.plate.clone(),
            "dropoff_eta" => text_of(self.pickup + BOARDING + DRIVE),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ride_follows_the_landing_and_then_the_clock() {
        let mut ride = Ride::new("A2B".into());
        let lands = 600 * MINUTE;
        assert!(!ride.advance(lands), "nobody planned it");
        assert!(ride.plan(lands));
        assert!(!ride.plan(lands), "the same landing moves nothing");
        let mut check = |clock, moved, status: &str| {
            assert_eq!((ride.advance(clock), ride.value("status").as_deref()), (moved, Some(status)));
        };
        check(lands - 60 * MINUTE, false, "REQUESTED");
        check(lands, true, "DRIVER_ASSIGNED");
        check(lands + 15 * MINUTE, true, "DRIVER_WAITING");
        check(lands, false, "DRIVER_WAITING");
        check(lands + 60 * MINUTE, true, "COMPLETED");
        assert!(!ride.plan(lands + MINUTE), "a ride that was driven can't be planned");
        assert_eq!(ride.value("plate_last3").as_deref(), Some("A2B"));
        assert_eq!(ride.value("eta"), Some(text_of(pickup_for(lands))));
        assert_eq!(ride.value("driver"), None);
    }

    #[test]
    fn a_plate_is_three_signs() {
        let plate = plate_of("partners/hopp/subjects/00112233445566778899aabbccddeeff");
        assert_eq!(plate.chars().count(), 3);
        assert_eq!(plate, plate_of("partners/hopp/subjects/00112233445566778899aabbccddeeff"));
    }
}
