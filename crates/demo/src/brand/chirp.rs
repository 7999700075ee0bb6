//! Chirp: writes to people about their ride and their gate, and gives a driver an address to answer to.

use std::collections::BTreeMap;

use anyhow::Result;
use async_trait::async_trait;
use countersign_client::{
    ProvideError, System, Value,
    grants::{catalogue::FieldPath, id::SubjectHandle},
};
use data_encoding::HEXLOWER;
use parking_lot::Mutex;

use super::{Desk, FollowUp, Receiving, Role};
use crate::{
    control::Moved,
    flights::{MINUTE, UnixMs, boarding_ends, moment},
    journey::Row,
};

#[derive(Default)]
pub(super) struct Chirp {
    people: Mutex<BTreeMap<String, Person>>,
}

/// What Chirp knows of one person.
#[derive(Default)]
struct Person {
    /// The one-time address for replies.
    alias: Option<String>,
    gate: Option<String>,
    boards: Option<UnixMs>,
    /// When the car comes.
    comes: Option<UnixMs>,
}

impl Chirp {
    async fn gate(&self, desk: &Desk, row: &Row, grant: &Receiving) -> Result<FollowUp> {
        let boards = self.people.lock().get(grant.subject.as_str()).and_then(|person| person.boards);
        // The offer ends with the departure: after it Chirp doesn't ask, although the grant would still let it.
        if boards.is_some_and(|boards| desk.clock() >= boarding_ends(boards)) {
            return Ok(FollowUp::default());
        }
        let moved = desk.fetch_row(row, grant).await?;
        let says = self.tell_gate(&grant.subject, &moved);
        Ok(FollowUp { moved: Some(moved), told: false, says })
    }

    /// Writes only of what changed.
    fn tell_gate(&self, subject: &SubjectHandle, moved: &Moved) -> Option<String> {
        let gate = moved.get("trip.gate")?.to_owned();
        let boards = moved.get("trip.boarding_time").and_then(moment);
        let mut people = self.people.lock();
        let person = people.entry(subject.as_str().to_owned()).or_default();
        let new_gate = person.gate.as_ref() != Some(&gate);
        let later = person.boards != boards;
        person.boards = boards;
        person.gate = Some(gate.clone());
        match (new_gate, later) {
            (true, _) => Some(format!("\u{201c}Your gate: {gate}\u{201d}")),
            (false, true) => Some("\u{201c}Boarding moved. Same gate.\u{201d}".to_owned()),
            (false, false) => None,
        }
    }

    fn tell_ride(&self, subject: &SubjectHandle, moved: &Moved) -> String {
        let plate = moved.get("ride.plate_last3").unwrap_or_default();
        let comes = moved.get("ride.eta").and_then(moment);
        let before = {
            let mut people = self.people.lock();
            std::mem::replace(&mut people.entry(subject.as_str().to_owned()).or_default().comes, comes)
        };
        let by = |from: UnixMs, to: UnixMs| (to - from) / MINUTE;
        let says = match (moved.get("ride.status").unwrap_or_default(), before, comes) {
            ("DRIVER_WAITING", ..) => format!("Your car is at the kerb, \u{2026}{plate}"),
            ("ON_TRIP", ..) => "Enjoy the ride.".to_owned(),
            ("COMPLETED", ..) => "You have arrived.".to_owned(),
            (_, Some(before), Some(now)) if now > before => {
                format!("Your car comes {} minutes later, \u{2026}{plate}", by(before, now))
            }
            (_, Some(before), Some(now)) if now < before => {
                format!("Your car comes {} minutes earlier, \u{2026}{plate}", by(now, before))
            }
            ("DRIVER_ASSIGNED", ..) => format!("Your driver is on the way, \u{2026}{plate}"),
            _ => format!("A car will be there, \u{2026}{plate}"),
        };
        format!("\u{201c}{says}\u{201d}")
    }
}

#[async_trait]
impl Role for Chirp {
    fn forget(&self, subject: &SubjectHandle) {
        if let Some(person) = self.people.lock().get_mut(subject.as_str()) {
            person.boards = None;
        }
    }

    async fn granted(&self, desk: &Desk, row: &'static Row, grant: &Receiving) -> Result<FollowUp> {
        match row.number {
            4 => self.gate(desk, row, grant).await,
            // Hopp gives notice as soon as there is a ride to speak of.
            _ => Ok(FollowUp::default()),
        }
    }

    async fn noticed(&self, desk: &Desk, row: &'static Row, grant: &Receiving) -> Result<FollowUp> {
        if row.number == 4 {
            return self.gate(desk, row, grant).await;
        }
        let moved = desk.fetch_row(row, grant).await?;
        let says = self.tell_ride(&grant.subject, &moved);
        Ok(FollowUp { moved: Some(moved), told: false, says: Some(says) })
    }

    async fn provide(
        &self,
        _desk: &Desk,
        subject: &SubjectHandle,
        fields: &[FieldPath],
    ) -> Result<Vec<Value>, ProvideError> {
        let mut people = self.people.lock();
        let person = people.entry(subject.as_str().to_owned()).or_default();
        let alias = person.alias.get_or_insert_with(|| {
            let random: [u8; 4] = System::real().draw();
            format!("r-{}@reply.chirp.example", HEXLOWER.encode(&random))
        });
        let value = |field: &FieldPath| match field.as_str() {
            "contact.reply_alias" => Ok(Value::from(alias.as_str())),
            _ => Err(ProvideError::NotFound),
        };
        fields.iter().map(value).collect()
    }
}
