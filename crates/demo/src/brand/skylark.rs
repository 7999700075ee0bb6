//! Skylark Air: knows what flight somebody booked, and what it held to be true of that flight at each moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::Result;
use async_trait::async_trait;
use countersign_client::{
    ProvideError, Value,
    grants::{catalogue::FieldPath, id::SubjectHandle},
};
use parking_lot::Mutex;

use super::{Desk, Role};
use crate::flights::{FlightDay, Timeline};

/// Where whoever landed stands, as its app knows once they tap: the kerb of terminal 5.
const AT_THE_KERB: &str = "40.6459,-73.7769";

pub(super) struct Skylark {
    day: FlightDay,
    /// The flight that each person booked.
    bookings: Mutex<BTreeMap<String, (SubjectHandle, String)>>,
    /// Up to when changes were announced.
    announced: AtomicU64,
}

impl Skylark {
    pub(super) fn open() -> Result<Self> {
        Ok(Self { day: FlightDay::load()?, bookings: Mutex::default(), announced: AtomicU64::new(0) })
    }
}

#[async_trait]
impl Role for Skylark {
    fn know(&self, subject: &SubjectHandle, flight: Option<&str>) {
        if let Some(flight) = flight {
            let booking = (subject.clone(), flight.to_owned());
            self.bookings.lock().insert(subject.as_str().to_owned(), booking);
        }
    }

    /// Announces what changed since the last time, to whoever booked it.
    async fn act(&self, desk: &Desk) -> Result<Vec<SubjectHandle>> {
        let until = desk.clock();
        let after = self.announced.swap(until, Ordering::SeqCst);
        let bookings: Vec<(SubjectHandle, String)> = self.bookings.lock().values().cloned().collect();
        let booked: BTreeSet<&str> = bookings.iter().map(|(_, flight)| flight.as_str()).collect();
        let timeline = Timeline::of(booked.into_iter().filter_map(|number| self.day.find(number)));
        let changes = timeline.between(after, until);
        let moved = changes.iter().filter(|change| change.moves_arrival() || change.moves_departure());
        let moved: BTreeSet<&str> = moved.map(|change| change.flight.as_str()).collect();
        let touched = bookings.iter().filter(|(_, flight)| moved.contains(flight.as_str()));
        let subjects: Vec<SubjectHandle> = touched.map(|(subject, _)| subject.clone()).collect();
        desk.notify(&subjects, "trip").await?;
        Ok(subjects)
    }

    async fn provide(
        &self,
        desk: &Desk,
        subject: &SubjectHandle,
        fields: &[FieldPath],
    ) -> Result<Vec<Value>, ProvideError> {
        let bookings = self.bookings.lock();
        let (_, number) = bookings.get(subject.as_str()).ok_or(ProvideError::NotFound)?;
        let flight = self.day.find(number).ok_or(ProvideError::NotFound)?;
        let trip = flight.trip_at(desk.clock());
        let value = |field: &FieldPath| {
            if field.as_str() == "pickup.location" {
                return Some(Value::from(AT_THE_KERB));
            }
            let name = field.as_str().strip_prefix("trip.")?;
            trip.value(name).map(Value::from)
        };
        fields.iter().map(|field| value(field).ok_or(ProvideError::NotFound)).collect()
    }
}
