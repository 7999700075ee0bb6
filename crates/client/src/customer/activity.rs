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

use super::{Compared, Customer, MAX_LISTED, PAGE_SIZE};
use crate::{
    channel::call,
    error::{Error, Misuse, Party},
};

/// The pause before a broken stream is taken up again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// How often in a row a stream may break without an event before the caller is told: a minute and a half with the pauses.
const MAX_BREAKS: u32 = 180;

/// The most pages in a row that may be empty. The broker looks at a thousand records for each, so these are a million of
/// other kinds, which is far more than a person has.
const MAX_EMPTY: usize = 1_000;

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

/// A list of activities that is read page by page.
pub struct Timeline {
    customer: Customer,
    asked: ListEventsRequest,
    /// The first index that the next one can have.
    from: u64,
    numbering: Option<Numbering>,
    ended: bool,
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
    /// grant that was left out between two others is the broker's misbehaviour. More than fit into memory are a misuse:
    /// read them by [`timeline`](Self::timeline).
    pub async fn activity(&self, cursor: u64, kinds: &[Kind]) -> Result<Vec<Activity>, Error> {
        let (mut timeline, mut all) = (self.timeline(cursor, kinds), Vec::new());
        loop {
            let next = timeline.next().await?;
            if next.is_empty() {
                return Ok(all);
            }
            all.extend(next);
            if all.len() > MAX_LISTED {
                let problem = format!("more than {MAX_LISTED} records: read them by the timeline");
                return Err(Error::Misuse(Misuse::Malformed { what: "activity", problem }));
            }
        }
    }

    /// The same, however many there are, in pages.
    pub fn timeline(&self, cursor: u64, kinds: &[Kind]) -> Timeline {
        let asked = ListEventsRequest {
            parent: self.name().to_string(),
            cursor,
            kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
            page_size: PAGE_SIZE,
            page_token: String::new(),
        };
        let numbering = kinds.is_empty().then(|| Numbering::new(cursor == 0));
        Timeline { customer: self.clone(), asked, from: cursor, numbering, ended: false }
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

impl Timeline {
    /// The next activities, oldest first; none when all have been read.
    pub async fn next(&mut self) -> Result<Vec<Activity>, Error> {
        let wrong = |check, detail| Error::misbehaved(Party::Broker, "activity", check, detail);
        for _ in 0..MAX_EMPTY {
            if self.ended {
                return Ok(Vec::new());
            }
            self.customer.0.monitor.check()?;
            let asked = call(self.asked.clone());
            let page = self.customer.0.connection.events().list_events(asked).await?.into_inner();
            self.ended = page.next_page_token.is_empty();
            self.asked.page_token = page.next_page_token;
            let mut activities = Vec::with_capacity(page.events.len());
            for event in page.events {
                let one = self.customer.check(event)?;
                // So the list has an end, whatever the broker answers.
                if one.index() < self.from {
                    return Err(wrong("order", format!("event {} follows a later one", one.index())));
                }
                self.from = one.index().saturating_add(1);
                self.numbering.as_mut().map_or(Ok(()), |numbering| numbering.take(&one))?;
                activities.push(one);
            }
            if !activities.is_empty() {
                return Ok(activities);
            }
        }
        Err(wrong("length", format!("{MAX_EMPTY} pages in a row are empty, and none is the last")))
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
