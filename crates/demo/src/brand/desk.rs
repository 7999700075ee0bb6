//! What every brand's staff works with: the SDK, the hour, and the line to the director.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result};
use countersign_client::{
    Error, Partner,
    grants::{
        catalogue::FieldPath,
        digest::Digest,
        id::{GrantName, SubjectHandle},
    },
};
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;

use super::Receiving;
use crate::{
    control::{Event, Line, Moved},
    flights::UnixMs,
    journey::Row,
};

/// One brand at work.
pub(super) struct Desk {
    pub(super) partner: Partner,
    clock: AtomicU64,
    lines: UnboundedSender<Line>,
    /// A tap that was not used yet, by the grant's name, and what may leave by it.
    taps: Mutex<BTreeMap<String, (Digest, Vec<FieldPath>)>>,
}

impl Desk {
    pub(super) fn new(partner: Partner, lines: UnboundedSender<Line>) -> Self {
        Self { partner, clock: AtomicU64::new(0), lines, taps: Mutex::default() }
    }

    /// How late it is in the story. The statements carry the real time.
    pub(super) fn clock(&self) -> UnixMs {
        self.clock.load(Ordering::SeqCst)
    }

    pub(super) fn set_clock(&self, at: UnixMs) {
        self.clock.store(at, Ordering::SeqCst);
    }

    /// Tells the director of something that happened by itself.
    pub(super) fn tell(&self, event: Event) {
        // With the director gone, the input ends too, and with it this process.
        let _ = self.lines.send(Line::Event(event));
    }

    /// Fetches all of a row's fields for its purpose.
    pub(super) async fn fetch_row(&self, row: &Row, grant: &Receiving) -> Result<Moved> {
        let moved = self.fetch(&grant.name, row.purpose, row.fields).await;
        moved.with_context(|| format!("row {}", row.number))
    }

    /// Fetches; what comes back has verified in every part.
    pub(super) async fn fetch(
        &self,
        grant: &GrantName,
        purpose: &str,
        fields: &[&str],
    ) -> Result<Moved, Error> {
        let fetched = match self.tap_for(grant, fields) {
            Some(tap) => self.partner.fetch_tapped(grant, purpose, fields, tap).await?,
            None => self.partner.fetch(grant, purpose, fields).await?,
        };
        let values = fetched.values.iter().map(|(field, value)| {
            (field.as_str().to_owned(), value.as_str().unwrap_or("(not a text)").to_owned())
        });
        Ok(Moved {
            grant: grant.to_string(),
            values: values.collect(),
            use_number: fetched.use_number(),
            index: fetched.receipt.index(),
            clock: self.clock(),
        })
    }

    /// Keeps a tap for the next fetch of what may leave by it.
    pub(super) fn tapped(&self, grant: &GrantName, tap: Digest, fields: Vec<FieldPath>) {
        self.taps.lock().insert(grant.to_string(), (tap, fields));
        self.tell(Event::Tapped { grant: grant.to_string() });
    }

    fn tap_for(&self, grant: &GrantName, fields: &[&str]) -> Option<Digest> {
        let mut taps = self.taps.lock();
        let (_, by_tap) = taps.get(grant.as_str())?;
        by_tap.iter().any(|field| fields.contains(&field.as_str())).then_some(())?;
        taps.remove(grant.as_str()).map(|(tap, _)| tap)
    }

    /// Says that a resource of each of these persons changed.
    pub(super) async fn notify(&self, subjects: &[SubjectHandle], resource: &str) -> Result<()> {
        for subject in subjects {
            let told = self.partner.notify_change(subject, resource).await;
            told.with_context(|| format!("the notice that `{resource}` of {subject} changed"))?;
        }
        Ok(())
    }
}
