//! Hopp Rides: plans a pick-up by when somebody really lands, and tells how the ride is going.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use async_trait::async_trait;
use countersign_client::{
    ProvideError, Value,
    grants::{catalogue::FieldPath, id::SubjectHandle},
};
use parking_lot::Mutex;

use super::{Desk, FollowUp, Receiving, Role};
use crate::{
    control::Moved,
    flights::{FlightDay, moment},
    journey::Row,
    ride::{Ride, plate_of},
};

pub(super) struct Hopp {
    day: FlightDay,
    rides: Mutex<BTreeMap<String, (SubjectHandle, Ride)>>,
}

impl Hopp {
    pub(super) fn open() -> Result<Self> {
        Ok(Self { day: FlightDay::load()?, rides: Mutex::default() })
    }

    /// Fetches the trip, and plans the pick-up anew if the landing moved.
    async fn plan(&self, desk: &Desk, row: &Row, grant: &Receiving) -> Result<FollowUp> {
        let moved = desk.fetch_row(row, grant).await?;
        let (changed, says) = self.replan(&grant.subject, &moved)?;
        if changed {
            desk.notify(std::slice::from_ref(&grant.subject), "ride").await?;
        }
        Ok(FollowUp { moved: Some(moved), told: changed, says: Some(says) })
    }

    fn replan(&self, subject: &SubjectHandle, moved: &Moved) -> Result<(bool, String)> {
        let field = |name: &str| moved.get(name).with_context(|| format!("`{name}` is missing"));
        let (airport, terminal) = (field("trip.airport")?, field("trip.terminal")?);
        let lands = moment(field("trip.eta")?).context("`trip.eta` is no moment")?;
        let mut rides = self.rides.lock();
        let (_, ride) = rides
            .entry(subject.as_str().to_owned())
            .or_insert_with(|| (subject.clone(), Ride::new(plate_of(subject.as_str()))));
        let changed = ride.plan(lands);
        let at =
            self.day.airport(airport).map_or_else(String::new, |airport| airport.wall_clock(ride.pickup()));
        let says = if changed {
            format!("pick-up at {airport} terminal {terminal}: {at}")
        } else {
            format!("pick-up stays at {at}")
        };
        Ok((changed, says))
    }
}

#[async_trait]
impl Role for Hopp {
    fn forget(&self, subject: &SubjectHandle) {
        self.rides.lock().remove(subject.as_str());
    }

    async fn granted(&self, desk: &Desk, row: &'static Row, grant: &Receiving) -> Result<FollowUp> {
        if row.number == 1 {
            return self.plan(desk, row, grant).await;
        }
        // Once a ride: the driver's app keeps the alias until the ride ends.
        let moved = desk.fetch_row(row, grant).await?;
        let says = moved.get("contact.reply_alias").map(|alias| format!("driver writes to {alias}"));
        Ok(FollowUp { moved: Some(moved), told: false, says })
    }

    async fn noticed(&self, desk: &Desk, row: &'static Row, grant: &Receiving) -> Result<FollowUp> {
        if row.number == 1 { self.plan(desk, row, grant).await } else { Ok(FollowUp::default()) }
    }

    /// Drivers set out, arrive, drive and drop off by the clock.
    async fn act(&self, desk: &Desk) -> Result<Vec<SubjectHandle>> {
        let clock = desk.clock();
        let mut moved = Vec::new();
        for (subject, ride) in self.rides.lock().values_mut() {
            if ride.advance(clock) {
                moved.push(subject.clone());
            }
        }
        desk.notify(&moved, "ride").await?;
        Ok(moved)
    }

    async fn provide(
        &self,
        _desk: &Desk,
        subject: &SubjectHandle,
        fields: &[FieldPath],
    ) -> Result<Vec<Value>, ProvideError> {
        let rides = self.rides.lock();
        let (_, ride) = rides.get(subject.as_str()).ok_or(ProvideError::NotFound)?;
        let value = |field: &FieldPath| ride.value(field.as_str().strip_prefix("ride.")?).map(Value::from);
        fields.iter().map(|field| value(field).ok_or(ProvideError::NotFound)).collect()
    }
}
