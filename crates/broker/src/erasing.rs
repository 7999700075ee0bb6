//! Removing the rows of a customer whose erasure stands in the log, in as many units as it takes.
//!
//! Grants go before requests, requests before links, and the customer's own stream and row last: whatever is left leads
//! back to this, and each unit can be done again. What leads to a row goes in the unit in which that row goes, so whoever
//! lists meanwhile, or after a stop, meets nothing that is not there. What stays says nothing of the person: the log; where a grant's records
//! stand in it; how often it was used; which log tags were taken; and what recipients still have to delete.

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{CustomerName, GrantName, LinkName, PartnerName, RequestName, SubjectHandle},
    lifecycle,
    statement::{CustomerChange, CustomerChanged, GrantRequest},
};
use countersign_ledger::{Erasure, StreamKey};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{CustomerRow, PrivatePart},
    v1::grant_request::State,
};
use countersign_store::Key;

use crate::{
    agenda,
    broker::{Broker, damaged},
    caller::Party,
    error::Fault,
    private::DataKeyId,
    record::{Happening, stream},
    rows::{self, Index, Loaded},
    work::Work,
};

/// Statements of one grant that one unit removes. One that has more is met again.
const STATEMENTS: usize = 240;

/// Grants of one unit: with all of their statements and eight rows more each, within what a unit removes.
const GRANTS: usize = 4;

/// Changes of one unit, of two rows each.
const CHANGES: usize = 128;

/// Links of one unit, of four rows each.
const LINKS: usize = 128;

/// Requests that are looked at together, of five rows each. One that waits takes a unit of its own, with its record.
const REQUESTS: usize = 128;

/// The unit that erases an account: it destroys the data key, says so, and leaves the marks by which the rows are found and
/// leave the disk. With the digest of the customer's own closure, or without one if the account was abandoned. It expects
/// the row as it was read: what makes a link or a grant stand writes that row anew.
pub(crate) fn begin(
    broker: &Broker,
    name: &CustomerName,
    read: &Loaded<CustomerRow>,
    closure: Option<Digest>,
) -> Result<Work, Fault> {
    let now = broker.now();
    let id = DataKeyId::of(&read.row.wrapped_data_key);
    let row = CustomerRow {
        wrapped_data_key: Bytes::new(),
        close_time_ms: now.as_millis(),
        erased_data_key: Bytes::copy_from_slice(&id.0),
        ..read.row.clone()
    };
    let mut work = Work::default();
    work.update(read, &row)?;
    work.delete(&rows::data_key(id));
    let digest = Digest::of(name.as_str().as_bytes());
    let left = rows::closed_customers().entry(now.as_millis(), digest);
    work.index(&left, name.as_str())?;
    work.look_at(agenda::REMOVED.entry(now, digest, ""));
    work.record(broker.draft_erased(name, id, closure));
    Ok(work)
}

/// Removes the rows of a closed account, in at most so many units. Says whether nothing is left.
pub(crate) async fn erase(broker: &Broker, name: &CustomerName, units: usize) -> Result<bool, Fault> {
    let Some(read) = broker.load(rows::customer(name)).await? else { return Ok(true) };
    if read.row.close_time_ms == 0 {
        return Err(Fault::Bug { what: "an account is open that is to be erased" });
    }
    let id = read.row.erased_data_key.as_ref().try_into().map(DataKeyId);
    let id = id.map_err(|_| damaged("customer", &"it is closed, and names no data key"))?;
    let record = broker.erasure_of(id).await?;
    let record = record.ok_or_else(|| damaged("customer", &"it is closed, and no record says so"))?;
    let party = Party::Customer(name.clone());
    let eraser = Eraser { broker, record };
    let mut left = units;
    while left > 0 {
        left -= 1;
        // In this order: calls that began before the closing can still show a request or end it, which takes it from the
        // queue to one of the two lists, and write of it who asked.
        if eraser.grants(&rows::grants_of(&party)).await?
            || eraser.waiting(name).await?
            || eraser.requests(&rows::grant_requests_of(&party)).await?
            || eraser.requests(&rows::unseen_requests_of(name)).await?
            || eraser.asking(name).await?
            || eraser.changes(name).await?
            || eraser.links(&rows::links_of(&party)).await?
            || eraser.stream(stream(party.as_str())).await?
        {
            continue;
        }
        let digest = Digest::of(name.as_str().as_bytes());
        let mark = rows::closed_customers().entry(read.row.close_time_ms, digest);
        let asking = rows::asking(name);
        let last = [asking.as_bytes(), read.key.as_bytes(), mark.as_bytes()].map(<[u8]>::to_vec);
        eraser.remove(last.to_vec()).await?;
        return Ok(true);
    }
    Ok(false)
}

struct Eraser<'a> {
    broker: &'a Broker,
    /// The index of the record that says so.
    record: u64,
}

impl Eraser<'_> {
    /// Removes some of the grants; says whether there were any.
    async fn grants(&self, index: &Index) -> Result<bool, Fault> {
        let page = index.load(self.broker.store(), None, GRANTS).await?;
        let mut keys = Vec::new();
        for (place, name) in &page {
            let name = GrantName::parse(name).map_err(|error| damaged("grant index", &error))?;
            let statements = rows::grant_statements(&name).keys(self.broker.store(), STATEMENTS).await?;
            let all = statements.len() < STATEMENTS;
            keys.extend(statements);
            if all {
                keys.extend(self.grant(&name).await?);
                // The last of its rows: it is what leads to the others.
                keys.push(index.at(place));
            }
            self.broker.forget(&name);
        }
        self.remove(keys).await?;
        Ok(!page.is_empty())
    }

    async fn grant(&self, name: &GrantName) -> Result<Vec<Key>, Fault> {
        let Some(grant) = self.broker.grant(name).await? else { return Ok(Vec::new()) };
        let (row, terms, digest) = (&grant.read.row, &grant.terms, name.digest());
        let from = SubjectHandle::parse(&row.source_subject).map_err(|error| damaged("grant", &error))?;
        let of = |partner: &PartnerName| rows::grants_of(&Party::Partner(partner.clone()));
        let entries = [of(&terms.source), of(&terms.recipient), rows::grants_from(&from)];
        let entry = |index: &Index| index.entry(row.create_time_ms, digest).as_bytes().to_vec();
        let mut keys: Vec<Key> = entries.iter().map(entry).collect();
        let told = lifecycle::announced_at(terms.time, terms.expire_time);
        keys.push(agenda::EXPIRING.key(told, digest).as_bytes().to_vec());
        keys.push(grant.read.key.as_bytes().to_vec());
        Ok(keys)
    }

    /// Removes some of the requests of a list; says whether there were any.
    async fn requests(&self, index: &Index) -> Result<bool, Fault> {
        let page = index.load(self.broker.store(), None, REQUESTS).await?;
        let mut keys = Vec::new();
        for (place, name) in &page {
            keys.extend(self.request(name, index.at(place)).await?);
        }
        self.remove(keys).await?;
        Ok(!page.is_empty())
    }

    /// Removes some of the requests that were never shown; says whether there were any.
    async fn waiting(&self, name: &CustomerName) -> Result<bool, Fault> {
        let range = rows::all_waiting(name);
        let page = range.load(self.broker.store(), None, REQUESTS).await?;
        let mut keys = Vec::new();
        for (place, waiting) in &page {
            keys.extend(self.request(&waiting.request, [range.name(), place].concat()).await?);
        }
        self.remove(keys).await?;
        Ok(!page.is_empty())
    }

    /// Removes some of what is known of who asked, and when to look again, at the queue or at the account; says whether there was anything.
    async fn asking(&self, name: &CustomerName) -> Result<bool, Fault> {
        let mut keys = rows::askers(name).keys(self.broker.store(), REQUESTS).await?;
        keys.extend(rows::askers_by_subject(name).keys(self.broker.store(), REQUESTS).await?);
        keys.extend(agenda::ASKED.of(self.broker, name.as_str(), REQUESTS).await?);
        keys.extend(agenda::ABANDONED.of(self.broker, name.as_str(), REQUESTS).await?);
        let any = !keys.is_empty();
        self.remove(keys).await?;
        Ok(any)
    }

    /// The rows of a request, with the one that led to it. One that waits for an answer is refused by this, and its
    /// requester is told so: of that one nothing is left to remove.
    async fn request(&self, name: &str, led: Key) -> Result<Vec<Key>, Fault> {
        let name = RequestName::parse(name).map_err(|error| damaged("request index", &error))?;
        let Some(read) = self.broker.load(rows::grant_request(&name)).await? else { return Ok(vec![led]) };
        let says = envelope::peek::<GrantRequest>(read.row.statement.as_ref())
            .map_err(|error| damaged("grant request", &error))?;
        let state = lifecycle::GrantRequest::from_row(&read.row, says.expire_time)?;
        let of_requester = rows::grant_requests_of(&Party::Partner(says.requester.clone()));
        let of_requester = of_requester.entry(read.row.create_time_ms, name.digest());
        let due = rows::due().entry(says.expire_time.as_millis(), name.digest());
        let mut keys: Vec<Key> =
            [read.key.as_bytes(), due.as_bytes(), of_requester.as_bytes()].map(<[u8]>::to_vec).into();
        keys.push(led);
        if !matches!(state.state(), State::Requested | State::Deferred) {
            return Ok(keys);
        }
        let lapsed = state.at(self.broker.now()).state() == State::Lapsed;
        let mut work = Work::default();
        work.expect(&read);
        work.remove(keys);
        work.record(self.broker.draft(Happening {
            kind: if lapsed { Kind::RequestLapsed } else { Kind::RequestRefused },
            source: Some(&says.requester),
            evidence: &[name.digest()],
            private: PrivatePart { grant_request: name.to_string(), ..PrivatePart::default() },
            ..Happening::default()
        }));
        // On a conflict it was shown, was taken back or lapsed at this very moment: it is met again where it went.
        self.broker.enter(work).await?;
        Ok(Vec::new())
    }

    /// Removes some of the customer's own changes, and the copies of the root secret that they entered; says whether there
    /// were any.
    async fn changes(&self, name: &CustomerName) -> Result<bool, Fault> {
        let range = rows::customer_changes(name);
        let page = range.load(self.broker.store(), None, CHANGES).await?;
        let mut keys = Vec::new();
        for (place, change) in &page {
            let says = envelope::peek::<CustomerChange>(change.statement.as_ref())
                .map_err(|error| damaged("customer change", &error))?;
            if let CustomerChanged::Added(one) = says.what {
                let copy = self.broker.load(rows::wrapped_copy(one.id)).await?;
                // What was removed since can be another's by now.
                let copy = copy.filter(|copy| copy.row.customer == name.as_str());
                keys.extend(copy.map(|copy| copy.key.as_bytes().to_vec()));
            }
            keys.push([range.name(), place.as_slice()].concat());
        }
        self.remove(keys).await?;
        Ok(!page.is_empty())
    }

    /// Removes some of the links, and the handles with them; says whether there were any.
    async fn links(&self, index: &Index) -> Result<bool, Fault> {
        let page = index.load(self.broker.store(), None, LINKS).await?;
        let mut keys = Vec::new();
        for (place, name) in &page {
            let name = LinkName::parse(name).map_err(|error| damaged("link index", &error))?;
            if let Some(read) = self.broker.load(rows::link(&name)).await? {
                let row = &read.row;
                let subject = SubjectHandle::parse(&row.subject).map_err(|error| damaged("link", &error))?;
                let of_partner = rows::links_of(&Party::Partner(subject.partner().clone()));
                let of_partner = of_partner.entry(row.create_time_ms, name.digest());
                keys.push(rows::subject(&subject).as_bytes().to_vec());
                keys.push(of_partner.as_bytes().to_vec());
                keys.push(read.key.as_bytes().to_vec());
            }
            keys.push(index.at(place));
        }
        self.remove(keys).await?;
        Ok(!page.is_empty())
    }

    /// Removes the first rows of the customer's stream; says whether more are left.
    async fn stream(&self, stream: StreamKey) -> Result<bool, Fault> {
        let erasure = Erasure { record: self.record, deletes: Vec::new(), stream: Some(stream) };
        Ok(!self.broker.ledger().erase(erasure).await?)
    }

    async fn remove(&self, deletes: Vec<Key>) -> Result<(), Fault> {
        if deletes.is_empty() {
            return Ok(());
        }
        self.broker.ledger().erase(Erasure { record: self.record, deletes, stream: None }).await?;
        Ok(())
    }
}
