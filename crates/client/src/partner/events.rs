//! Events: a loop from the book's cursor on. What changes a grant is verified and entered before the application hears
//! of it.

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use countersign_grants::{
    envelope,
    id::{GrantName, LinkName, NotAName, RequestName, SubjectHandle},
    key::KeyId,
    statement::{LocationTap, PartnerKey, PartnerVerb, Verb},
    time::Timestamp,
};
use countersign_proto::{
    log::v1::{Kind, Record},
    v1::{Event, ListPartnerKeysRequest, WatchEventsRequest, WatchEventsResponse},
};
use prost::Message as _;
use tonic::{Request, Streaming};

use super::{
    Partner, Shared,
    erase::erase_due,
    event::{KINDS, Noted, PartnerEvent},
};
use crate::{
    book::{Entry, GrantRow, Standing},
    channel::call,
    error::{Error, Party},
};

/// The pause before the first new try, doubled with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);

/// The longest pause: a broker that is back is noticed within it.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// How often an event is heard whose change of a grant does not verify, before the loop moves on: with the pauses the
/// better part of a second, in which a broker that was between two states has settled.
const MAX_HEARINGS: u32 = 3;

/// A resumable watch over a partner's events.
pub struct EventWatch {
    shared: Arc<Shared>,
    /// Orders to delete that the book has from before, which the application hears of first.
    due: VecDeque<GrantName>,
    stream: Option<Streaming<WatchEventsResponse>>,
    /// The event that the application has in hand.
    handed: Option<u64>,
    failures: u32,
    /// The event that failed last, and how often.
    failed: (u64, u32),
}

impl Partner {
    /// Watches the events from the book's cursor on.
    pub fn watch_events(&self) -> EventWatch {
        let shared = Arc::clone(&self.0);
        let due = shared.book.erasures_due().iter().map(|row| row.name().clone()).collect();
        EventWatch { shared, due, stream: None, handed: None, failures: 0, failed: (0, 0) }
    }

    /// Watches the events for good and hands each to `on_event`, at least once. Refusals are waited out; comes back only
    /// when the SDK has halted or the book fails, with the reason.
    pub async fn run<F, R>(&self, mut on_event: F) -> Error
    where
        F: FnMut(Noted) -> R + Send,
        R: Future<Output = ()> + Send,
    {
        let mut watch = self.watch_events();
        loop {
            match watch.next().await {
                Ok(noted) => on_event(noted).await,
                Err(error @ (Error::LogForked(_) | Error::Book(_))) => return error,
                Err(error) => {
                    tracing::warn!(partner = %self.name(), %error, "the events can't be watched");
                    tokio::time::sleep(MAX_BACKOFF).await;
                }
            }
        }
    }
}

impl EventWatch {
    /// The next event. Calling it again says that the one before was handled: only then the cursor moves on, so an event
    /// that was handed out just before a crash comes again. Waits for the broker to come back; fails when it refuses, or
    /// when the SDK has halted.
    pub async fn next(&mut self) -> Result<Noted, Error> {
        if let Some(index) = self.handed.take() {
            self.shared.book.note(Entry::Cursor(index.saturating_add(1)))?;
        }
        if let Some(noted) = self.reminder() {
            return Ok(noted);
        }
        loop {
            self.shared.monitor.check()?;
            let heard = match self.receive().await {
                Ok(event) => self.hear(event).await,
                Err(error) => Err(error),
            };
            match heard {
                Ok(Some(noted)) => {
                    self.failures = 0;
                    self.handed = Some(noted.index);
                    return Ok(noted);
                }
                Ok(None) => self.failures = 0,
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "the event stream broke");
                    self.stream = None;
                    tokio::time::sleep(backoff(self.failures)).await;
                    self.failures = self.failures.saturating_add(1);
                }
                Err(error) => {
                    self.stream = None;
                    return Err(error);
                }
            }
        }
    }

    /// The next order to delete that was not met before this watch began.
    fn reminder(&mut self) -> Option<Noted> {
        while let Some(grant) = self.due.pop_front() {
            let row = self.shared.book.grant(&grant);
            let event = row.as_ref().and_then(erase_due);
            if let Some(event) = event {
                let index = self.shared.book.cursor().saturating_sub(1);
                return Some(Noted { index, time: self.shared.system.now(), event });
            }
        }
        None
    }

    async fn receive(&mut self) -> Result<Event, Error> {
        if self.stream.is_none() {
            let asked = WatchEventsRequest {
                parent: self.shared.name.to_string(),
                cursor: self.shared.book.cursor(),
                kinds: KINDS.iter().map(|kind| (*kind).into()).collect(),
            };
            // Without a deadline: the stream is meant to stay.
            let opened = self.shared.connection.events().watch_events(Request::new(asked)).await?;
            self.stream = Some(opened.into_inner());
        }
        let stream = self.stream.as_mut().expect("it was just opened, if it was not open");
        let ended = || Error::Unreachable { detail: "the event stream ended".into() };
        stream.message().await?.and_then(|message| message.event).ok_or_else(ended)
    }

    async fn hear(&mut self, event: Event) -> Result<Option<Noted>, Error> {
        if event.index < self.shared.book.cursor() {
            return Ok(None);
        }
        let (index, kind) = (event.index, event.kind());
        // The cursor is kept: an index from beyond the log would deafen this side for good.
        self.shared.monitor.can_hold(index).await?;
        let time = event.event_time.map_or(0, |time| {
            let millis = u64::try_from(time.nanos).unwrap_or(0) / 1_000_000;
            u64::try_from(time.seconds).unwrap_or(0).saturating_mul(1000).saturating_add(millis)
        });
        let grant = GrantName::parse(&event.grant).ok();
        let heard = match self.shared.interpret(event).await {
            Ok(heard) => heard,
            Err(error) if error.is_transient() || error.is_for_now() => return Err(error),
            Err(error @ (Error::LogForked(_) | Error::Book(_))) => return Err(error),
            Err(error) if changes_a_grant(kind) && self.hears_again(index) => {
                tracing::warn!(index, %error, "an event does not lead to what it says; hearing it again");
                return Err(Error::Unreachable { detail: error.to_string() });
            }
            Err(error) => {
                if let Some(grant) = &grant {
                    self.shared.hold(kind, grant).await?;
                }
                Some(PartnerEvent::Failed { kind, grant, error })
            }
        };
        let Some(event) = heard else {
            self.shared.book.note(Entry::Cursor(index.saturating_add(1)))?;
            return Ok(None);
        };
        Ok(Some(Noted { index, time: Timestamp::from_millis(time), event }))
    }

    /// Counts the failures of one event, up to the last hearing.
    fn hears_again(&mut self, index: u64) -> bool {
        let failures = if self.failed.0 == index { self.failed.1.saturating_add(1) } else { 1 };
        self.failed = (index, failures);
        failures < MAX_HEARINGS
    }
}

/// Whether passing an event over would leave the book behind what the customer, or the other side, signed.
fn changes_a_grant(kind: Kind) -> bool {
    use Kind::{
        ErasureOrdered, GrantApproved, GrantPaused, GrantResumed, GrantRevoked, GrantSuperseded,
        GrantSuspended, GrantUnsuspended, GrantWithdrawn,
    };
    matches!(
        kind,
        GrantApproved
            | GrantPaused
            | GrantResumed
            | GrantWithdrawn
            | GrantSuperseded
            | GrantSuspended
            | GrantUnsuspended
            | GrantRevoked
            | ErasureOrdered
    )
}

impl Shared {
    /// The broker says that the customer stopped, paused or replaced a grant, and hands over nothing that the customer signed; or that
    /// an operator ended it, who signs nothing. No end of a grant rests on the broker's word; but to refuse is always safe.
    async fn hold(&self, kind: Kind, grant: &GrantName) -> Result<(), Error> {
        let standing = self.book.grant(grant).map(|row| row.standing());
        let refuses = match kind {
            Kind::GrantWithdrawn | Kind::GrantRevokedByOperator => {
                matches!(standing, Some(Standing::Stopped { .. }))
            }
            Kind::GrantPaused => matches!(standing, Some(Standing::Stopped { .. } | Standing::Paused)),
            Kind::GrantSuperseded => {
                matches!(standing, Some(Standing::Stopped { .. } | Standing::Superseded { .. }))
            }
            _ => true,
        };
        if refuses {
            return Ok(());
        }
        let entry = Entry::Held { grant: *grant.digest().as_bytes() };
        if let Err(error) = self.book.enter_durably(entry).await? {
            tracing::error!(%grant, %error, "a stop or a pause that did not verify is passed over");
        }
        Ok(())
    }

    /// Does what an event asks of this side, and says what it means to the application.
    async fn interpret(&self, event: Event) -> Result<Option<PartnerEvent>, Error> {
        let kind = event.kind();
        if event.erased {
            return self.erased(&event).await;
        }
        let request = || name("grant_request", &event.grant_request, RequestName::parse);
        let grant = || name("grant", &event.grant, GrantName::parse);
        let heard = match kind {
            Kind::LinkAccepted => {
                PartnerEvent::LinkAccepted { link: name("link", &event.link, LinkName::parse)? }
            }
            Kind::LinkStolen => self.link_stolen(name("link", &event.link, LinkName::parse)?).await?,
            Kind::RequestRefused => PartnerEvent::Refused { request: request()? },
            Kind::RequestCancelled => PartnerEvent::Cancelled { request: request()? },
            Kind::RequestLapsed => PartnerEvent::Lapsed { request: request()? },
            Kind::GrantApproved if event.grant.is_empty() => {
                PartnerEvent::ApprovedBetweenOthers { request: request()? }
            }
            Kind::GrantApproved => {
                let row = self.take_grant(&grant()?).await?;
                self.hand_on(&row).await?;
                // The name is the broker's word; the terms say of which request the customer approved a row.
                let request = request().ok().filter(|named| named.digest() == row.terms().request);
                PartnerEvent::Approved { grant: Box::new(row), request }
            }
            Kind::GrantPaused => {
                PartnerEvent::Paused { grant: Box::new(self.changed(&grant()?, Verb::Pause).await?) }
            }
            Kind::GrantResumed => {
                PartnerEvent::Resumed { grant: Box::new(self.changed(&grant()?, Verb::Resume).await?) }
            }
            Kind::GrantWithdrawn => {
                let row = self.take_grant(&grant()?).await?;
                let Standing::Stopped { erase } = row.standing() else {
                    let detail = "the event says stopped, and no signed stop came with the grant";
                    return Err(Error::misbehaved(Party::Broker, "change", "present", detail));
                };
                PartnerEvent::Stopped { grant: Box::new(row), erase }
            }
            Kind::GrantSuperseded => {
                let (old, new, why) = self.take_successor(&grant()?).await?;
                self.hand_on(&new).await?;
                PartnerEvent::Superseded { grant: Box::new(old), successor: Box::new(new), why }
            }
            Kind::GrantSuspended => {
                let row = self.changed_by_source(&grant()?, PartnerVerb::Suspend).await?;
                PartnerEvent::GrantSuspended { grant: Box::new(row) }
            }
            Kind::GrantUnsuspended => {
                let row = self.changed_by_source(&grant()?, PartnerVerb::Unsuspend).await?;
                PartnerEvent::GrantUnsuspended { grant: Box::new(row) }
            }
            Kind::GrantRevoked => {
                let row = self.take_grant(&grant()?).await?;
                let (by, reason) = row.revoked().ok_or_else(unsigned)?;
                PartnerEvent::GrantRevoked { grant: Box::new(row), by, reason }
            }
            Kind::GrantSuspendedByOperator => {
                PartnerEvent::GrantSuspendedByOperator { grant: grant()?, reason: event.reason }
            }
            Kind::GrantUnsuspendedByOperator => PartnerEvent::GrantUnsuspendedByOperator { grant: grant()? },
            Kind::GrantRevokedByOperator => {
                let grant = grant()?;
                self.hold(kind, &grant).await?;
                PartnerEvent::GrantRevokedByOperator { grant, reason: event.reason }
            }
            Kind::GrantExpiring => {
                PartnerEvent::Expiring { grant: Box::new(self.take_grant(&grant()?).await?) }
            }
            Kind::ErasureOrdered => match self.ordered(&grant()?).await? {
                Some(event) => event,
                None => return Ok(None),
            },
            Kind::ErasureAttested => match self.attested_by_recipient(&grant()?).await? {
                Some(event) => event,
                None => return Ok(None),
            },
            Kind::ErasureOverdue => match self.overdue(&grant()?) {
                Some(event) => event,
                None => return Ok(None),
            },
            Kind::Acknowledged => PartnerEvent::Acknowledged { grant: grant()? },
            // A source's own notices are news to others, and a tap is handed to it with the fetch.
            Kind::ChangeNotice | Kind::LocationTapped if event.source == self.name.as_str() => {
                return Ok(None);
            }
            Kind::ChangeNotice => self.change_notice(&grant()?, &event)?,
            Kind::LocationTapped => self.location_tapped(&grant()?, &event)?,
            Kind::PartnerKeyPublished => match self.unknown_keys().await? {
                keys if keys.is_empty() => return Ok(None),
                keys => PartnerEvent::UnknownKeys { keys },
            },
            Kind::PartnerApproved => PartnerEvent::Live,
            Kind::PartnerSuspended | Kind::PartnerSuspendedAutomatically => PartnerEvent::Suspended,
            Kind::PartnerResumed => PartnerEvent::Unsuspended,
            _ => return Ok(None),
        };
        Ok(Some(heard))
    }

    /// What a recipient has to delete, by the customer's signed order.
    async fn ordered(&self, grant: &GrantName) -> Result<Option<PartnerEvent>, Error> {
        let row = self.take_grant(grant).await?;
        if row.erase_order().is_none() {
            let detail = "the event says ordered, and no signed order came with the grant";
            return Err(Error::misbehaved(Party::Broker, "change", "present", detail));
        }
        Ok(erase_due(&row))
    }

    /// Nobody signs to a partner that a customer's keys were stolen: the log's kind is the broker's word. But to refuse is
    /// always safe, so what hangs on the link is held.
    async fn link_stolen(&self, link: LinkName) -> Result<PartnerEvent, Error> {
        let Some(row) = self.book.link(&link) else {
            let detail = "the event is of a link that is not in the book";
            return Err(Error::misbehaved(Party::Broker, "event", "link", detail));
        };
        for grant in self.book.grants_of(row.subject()) {
            if !matches!(grant.standing(), Standing::Active | Standing::Paused) || grant.held() {
                continue;
            }
            let entry = Entry::Held { grant: *grant.digest().as_bytes() };
            if let Err(error) = self.book.enter_durably(entry).await? {
                tracing::error!(%error, "a grant on a stolen link can't be held");
            }
        }
        Ok(PartnerEvent::LinkStolen { link, subject: row.subject().clone() })
    }

    /// A record whose customer closed the account since: only the leaf is left. Its tag still tells which grant of this side's
    /// it is about; of a stop that this side has not seen, or of a revision that took its place, the broker's word is all that
    /// there is, and of an order to delete a record that is proven.
    async fn erased(&self, event: &Event) -> Result<Option<PartnerEvent>, Error> {
        let kind = event.kind();
        if !matches!(kind, Kind::GrantWithdrawn | Kind::GrantSuperseded | Kind::ErasureOrdered) {
            return Ok(None);
        }
        let leaf = Record::decode(event.record.clone())
            .map_err(|error| Error::misbehaved(Party::Broker, "event", "record", error.to_string()))?;
        let Some(row) = self.book.grant_tagged(&leaf.grant_tag) else { return Ok(None) };
        let known = match row.standing() {
            Standing::Stopped { erase } => erase || kind != Kind::ErasureOrdered,
            Standing::Superseded { .. } => kind == Kind::GrantSuperseded,
            Standing::Active | Standing::Paused => false,
        };
        let order = event.erasure_order.as_ref().filter(|_| row.erase_order().is_none());
        if known || (row.held() && order.is_none()) {
            return Ok(None);
        }
        self.hold(Kind::GrantWithdrawn, row.name()).await?;
        if let Some(order) = order {
            return self.ordered_by_record(&row, order).await;
        }
        let (grant, subject) = (row.name().clone(), row.subject().clone());
        Ok(Some(PartnerEvent::AccountClosed { grant, subject }))
    }

    /// A grant after a change of which an event speaks. When it was is the broker's word; that the customer ever signed
    /// such a change is not: a resume that nobody signed must not look like one.
    async fn changed(&self, name: &GrantName, verb: Verb) -> Result<GrantRow, Error> {
        let row = self.take_grant(name).await?;
        if row.ever(verb) {
            return Ok(row);
        }
        let detail =
            "the event says that the customer changed the grant, and no such signed change came with it";
        Err(Error::misbehaved(Party::Broker, "change", "present", detail))
    }

    /// A grant after a change by its source of which an event speaks: the source must have signed such a one.
    async fn changed_by_source(&self, name: &GrantName, verb: PartnerVerb) -> Result<GrantRow, Error> {
        let row = self.take_grant(name).await?;
        if row.source_ever(verb) { Ok(row) } else { Err(unsigned()) }
    }

    /// What an application fetches by a notice it files under the notice's subject: so that must be the grant's own, or
    /// the broker could put one person's data into another's account.
    fn change_notice(&self, grant: &GrantName, event: &Event) -> Result<PartnerEvent, Error> {
        let subject = name("subject", &event.subject, SubjectHandle::parse)?;
        let wrong = |check, detail: &str| Err(Error::misbehaved(Party::Broker, "notice", check, detail));
        match self.book.grant(grant) {
            None => wrong("grant", "the grant is not in the book"),
            Some(row) if row.subject() != &subject => wrong("subject", "the grant is of another subject"),
            Some(_) => Ok(PartnerEvent::ChangeNotice {
                grant: grant.clone(),
                subject,
                resource: event.resource.clone(),
            }),
        }
    }

    /// Leave for one fetch, by the customer's signature under the key of this side's link.
    fn location_tapped(&self, grant: &GrantName, event: &Event) -> Result<PartnerEvent, Error> {
        let wrong = |check, detail: &str| Error::misbehaved(Party::Broker, "tap", check, detail);
        let row = self.book.grant(grant).ok_or_else(|| wrong("grant", "the grant is not in the book"))?;
        let link = self.book.link_of(row.subject());
        let link = link.ok_or_else(|| wrong("link", "the grant's subject has no link in the book"))?;
        let tap =
            envelope::verify::<LocationTap>(event.statement.as_ref(), &[link.key()], &self.trust.origin)
                .map_err(|error| Error::bad_statement(Party::Customer, "tap", &error))?;
        let said = tap.statement();
        if said.terms != row.digest() {
            return Err(wrong("terms", "it is of another grant"));
        }
        let (tap, fields, expires) = (tap.digest(), said.fields.clone(), said.expire_time);
        Ok(PartnerEvent::LocationTapped { grant: Box::new(row), tap, fields, expires })
    }

    /// The keys that are published for this partner and that it does not know. The broker's list is not trusted to be
    /// signed: a key under another identity is as much of a surprise.
    async fn unknown_keys(&self) -> Result<Vec<KeyId>, Error> {
        /// Far more pages than a partner has keys; a list without an end must not hold the loop.
        const MAX_PAGES: usize = 100;
        let mut unknown = Vec::new();
        let mut page_token = String::new();
        for _ in 0..MAX_PAGES {
            let asked = ListPartnerKeysRequest { parent: self.name.to_string(), page_size: 0, page_token };
            let page = self.connection.partners().list_partner_keys(call(asked)).await?.into_inner();
            for key in &page.partner_keys {
                let said = envelope::peek::<PartnerKey>(key.statement.as_ref())
                    .map_err(|error| Error::bad_statement(Party::Broker, "partner_key", &error))?;
                if !self.book.knows_own_key(said.key.id()) {
                    unknown.push(said.key.id().clone());
                }
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(unknown)
    }
}

fn name<T>(what: &'static str, text: &str, parse: impl Fn(&str) -> Result<T, NotAName>) -> Result<T, Error> {
    parse(text).map_err(|error| Error::misbehaved(Party::Broker, "event", what, error.to_string()))
}

/// No word of a side counts that it did not sign.
fn unsigned() -> Error {
    let detail = "the event says that a side changed the grant, and no such signed change came with it";
    Error::misbehaved(Party::Broker, "partner_change", "present", detail)
}

fn backoff(failures: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << failures.min(8)).min(MAX_BACKOFF)
}
