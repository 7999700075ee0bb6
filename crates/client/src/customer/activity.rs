//! What happened: the records that concern the customer, refusals too.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use countersign_grants::{id::GrantName, time::Timestamp};
use countersign_proto::{
    log::v1::{Kind, Record},
    v1::{Event, ListEventsRequest, WatchEventsRequest, WatchEventsResponse},
};
use prost::Message as _;
use tonic::Streaming;

use super::{Compared, Customer, PAGE_SIZE, all_pages};
use crate::{
    channel::call,
    error::{Error, Party},
};

/// The pause before a broken stream is taken up again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// How often in a row a stream may break without an event before the caller is told: a minute and a half with the pauses.
const MAX_BREAKS: u32 = 180;

/// One record that concerns the customer.
#[derive(Clone, Debug)]
pub struct Activity {
    /// What the broker says of it; what the record says in clear agrees.
    pub event: Event,
    /// The leaf, read.
    pub record: Record,
    /// Of a transfer that can be compared with a preview: what is as previewed, and what changed since.
    pub compared: Option<Compared>,
}

/// A stream of activities, from a cursor on. Each comes at least once.
pub struct Watch {
    customer: Customer,
    cursor: u64,
    kinds: Vec<Kind>,
    stream: Option<Streaming<WatchEventsResponse>>,
}

impl Activity {
    /// The record's index in the log.
    pub fn index(&self) -> u64 {
        self.event.index
    }

    /// What happened.
    pub fn kind(&self) -> Kind {
        self.record.kind()
    }

    /// When, by the log.
    pub fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.record.time_ms)
    }
}

impl Customer {
    /// All records from a log index on that concern the customer, oldest first. No kinds means all; then a record of a
    /// grant that was left out between two others is the broker's misbehaviour.
    pub async fn activity(&self, cursor: u64, kinds: &[Kind]) -> Result<Vec<Activity>, Error> {
        self.0.monitor.check()?;
        let events = all_pages(|page_token| async {
            let asked = ListEventsRequest {
                parent: self.name().to_string(),
                cursor,
                kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
                page_size: PAGE_SIZE,
                page_token,
            };
            let page = self.0.connection.events().list_events(call(asked)).await?.into_inner();
            Ok((page.events, page.next_page_token))
        })
        .await?;
        let activities: Vec<_> =
            events.into_iter().map(|event| self.check(event)).collect::<Result<_, _>>()?;
        if kinds.is_empty() {
            let mut numbering = Numbering::new(cursor == 0);
            activities.iter().try_for_each(|one| numbering.take(one))?;
        }
        Ok(activities)
    }

    /// Watches from a log index on. No kinds means all.
    pub fn watch(&self, cursor: u64, kinds: &[Kind]) -> Watch {
        Watch { customer: self.clone(), cursor, kinds: kinds.to_vec(), stream: None }
    }

    /// Whether an event says what its record says, and of the customer's own grant.
    pub(super) fn check(&self, event: Event) -> Result<Activity, Error> {
        let wrong = |check, detail: String| Error::misbehaved(Party::Broker, "event", check, detail);
        let record =
            Record::decode(event.record.clone()).map_err(|error| wrong("record", error.to_string()))?;
        let same = event.kind == record.kind
            && event.source == record.source
            && event.recipient == record.recipient
            && event.purpose == record.purpose
            && event.reason == record.reason
            && event.use_number == record.use_number;
        if !same {
            return Err(wrong("record", format!("event {} says other than its record", event.index)));
        }
        if let Ok(grant) = GrantName::parse(&event.grant)
            && let Some(row) = self.0.book.grant(&grant)
            && record.grant_tag.as_ref() != row.terms.log_tag
        {
            return Err(wrong("grant", format!("event {} is of another grant than `{grant}`", event.index)));
        }
        let compared = self.compare(&event, &record)?;
        Ok(Activity { event, record, compared })
    }
}

/// Whether each grant's records are numbered without a gap: from 1, if the list begins with the log.
#[derive(Default)]
pub(super) struct Numbering {
    next: HashMap<Bytes, u64>,
    from_start: bool,
}

impl Numbering {
    pub(super) fn new(from_start: bool) -> Self {
        Self { next: HashMap::new(), from_start }
    }

    /// Takes the next record of the list.
    pub(super) fn take(&mut self, one: &Activity) -> Result<(), Error> {
        let record = &one.record;
        if record.grant_tag.is_empty() {
            return Ok(());
        }
        let first = if self.from_start { 1 } else { record.grant_sequence };
        let expected = self.next.entry(record.grant_tag.clone()).or_insert(first);
        if record.grant_sequence != *expected {
            let detail = format!(
                "event {} is number {} of its grant, and {expected} is next: records of it are kept back",
                one.index(),
                record.grant_sequence
            );
            return Err(Error::misbehaved(Party::Broker, "activity", "grant_sequence", detail));
        }
        *expected = expected.saturating_add(1);
        Ok(())
    }
}

impl Watch {
    /// The next activity. Takes a stream that broke up again where it left off; fails after a minute and a half without
    /// one, or at once where the broker says no.
    pub async fn next(&mut self) -> Result<Activity, Error> {
        let mut breaks = 0;
        loop {
            self.customer.0.monitor.check()?;
            match self.poll().await {
                Ok(Some(event)) => {
                    self.customer.0.monitor.can_hold(event.index).await?;
                    let activity = self.customer.check(event)?;
                    self.cursor = activity.index().saturating_add(1);
                    return Ok(activity);
                }
                Ok(None) => {}
                Err(error) if error.is_transient() && breaks < MAX_BREAKS => {}
                Err(error) => return Err(error),
            }
            self.stream = None;
            breaks += 1;
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    /// The first log index that was not handed out yet: where a later watch goes on.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    async fn poll(&mut self) -> Result<Option<Event>, Error> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let asked = WatchEventsRequest {
                    parent: self.customer.name().to_string(),
                    cursor: self.cursor,
                    kinds: self.kinds.iter().map(|kind| (*kind).into()).collect(),
                };
                let opened = self.customer.0.connection.events().watch_events(asked).await?;
                none.insert(opened.into_inner())
            }
        };
        Ok(stream.message().await?.and_then(|message| message.event))
    }
}
