//! `ListLogEntries`, `GetLogEntry`: for auditors; each read is a record before its answer leaves.

use std::ops::Range;

use bytes::Bytes;
use countersign_ledger::MAX_STREAM_PAGE;
use countersign_proto::{
    log::v1::{Kind, Record},
    row::v1::PrivatePart,
    v1::{
        GetLogEntryRequest, ListLogEntriesRequest, ListLogEntriesResponse, LogEntry, Receipt,
        log_entry::PrivatePartState,
    },
};
use prost::Message as _;

use super::filter::Filter;
use crate::{
    Broker, Caller, Fault,
    broker::damaged,
    record::{Happening, Kept, bare, stream},
    service::page::{MAX_PAGE_BYTES, Page},
    work::Work,
};

/// This broker's only log.
const LOG: &str = "logs/-";

/// The most entries on a page: records are under 1 KiB.
const MAX_SIZE: usize = 500;

/// How many records one call looks at. Where few meet the filter, a page is short, or empty, and its token goes on.
const MAX_LOOKED_AT: u64 = 20_000;

/// How many records are read at once.
const CHUNK: u64 = 256;

pub(super) async fn list(
    broker: &Broker,
    caller: &Caller,
    request: ListLogEntriesRequest,
) -> Result<ListLogEntriesResponse, Fault> {
    caller.auditor()?;
    if request.parent != LOG {
        return Err(Fault::field("parent", "must be `logs/-`"));
    }
    let filter = Filter::parse(&request.filter).map_err(|problem| Fault::field("filter", problem))?;
    let arguments = [b"entries".as_slice(), request.filter.as_bytes()];
    let page = Page::parse(request.page_size, &request.page_token, MAX_SIZE, &arguments)?;
    let range = match page.numbers()? {
        Some([from, to]) => from..to.min(broker.ledger().latest().size()),
        // The pages of one list end where the log ended at its beginning: each page adds a record itself, and the list
        // would never end.
        None => bounds(broker, &filter).await?,
    };
    let end = range.end;
    let (log_entries, next) = match &filter.partner {
        Some(partner) => of_partner(broker, partner.as_str(), &filter, range, page.size).await?,
        None => of_all(broker, &filter, range, page.size).await?,
    };
    enter_read(broker, caller, &request.filter).await?;
    let next_page_token = next.filter(|next| *next < end).map(|next| page.token_of(&[next, end]));
    Ok(ListLogEntriesResponse { log_entries, next_page_token: next_page_token.unwrap_or_default() })
}

pub(super) async fn get(
    broker: &Broker,
    caller: &Caller,
    request: GetLogEntryRequest,
) -> Result<LogEntry, Fault> {
    caller.auditor()?;
    let index =
        log_entry(&request.name).ok_or_else(|| Fault::field("name", "must be `logs/-/entries/{index}`"))?;
    if index >= broker.ledger().latest().size() {
        return Err(Fault::ResourceUnknown { name: name(index) });
    }
    let receipt = broker.ledger().proof(index).await?;
    let (private_part, erasure) = match broker.kept(index, &receipt.record).await {
        Ok(Kept::Opened(_)) => (PrivatePartState::Kept, String::new()),
        Ok(Kept::Erased { index }) => (PrivatePartState::Erased, name(index)),
        Ok(Kept::Missing) => (PrivatePartState::Missing, String::new()),
        // What is there and doesn't open is as good as missing, to whoever audits.
        Err(Fault::Damaged { what }) => {
            tracing::error!(index, what, "a private part doesn't open");
            (PrivatePartState::Missing, String::new())
        }
        Err(fault) => return Err(fault),
    };
    enter_read(broker, caller, &name(index)).await?;
    let (name, receipt) = (name(index), Some(bare(&receipt)));
    Ok(LogEntry { name, receipt, private_part: private_part.into(), erasure })
}

/// The indexes that the filter's times and indexes leave.
async fn bounds(broker: &Broker, filter: &Filter) -> Result<Range<u64>, Fault> {
    let size = broker.ledger().latest().size();
    let (mut start, mut end) = (filter.index.start, filter.index.end.min(size));
    if filter.time_ms.start > 0 {
        start = start.max(broker.ledger().index_at(filter.time_ms.start).await?);
    }
    if filter.time_ms.end < u64::MAX {
        end = end.min(broker.ledger().index_at(filter.time_ms.end).await?);
    }
    Ok(start..end)
}

/// A page, and where the next one begins.
type Found = (Vec<LogEntry>, Option<u64>);

async fn of_all(broker: &Broker, filter: &Filter, range: Range<u64>, size: usize) -> Result<Found, Fault> {
    let mut taken = Taken::new(size);
    let (mut next, last) = (range.start, range.end.min(range.start.saturating_add(MAX_LOOKED_AT)));
    while next < last {
        let leaves = broker.ledger().leaves(next..last.min(next + CHUNK)).await?;
        if leaves.is_empty() {
            return Ok((taken.entries, None));
        }
        for leaf in leaves {
            if !taken.take(filter, next, leaf)? {
                return Ok((taken.entries, Some(next)));
            }
            next += 1;
        }
    }
    Ok((taken.entries, Some(next)))
}

async fn of_partner(
    broker: &Broker,
    partner: &str,
    filter: &Filter,
    range: Range<u64>,
    size: usize,
) -> Result<Found, Fault> {
    let mut taken = Taken::new(size);
    // One page of the stream a call: the next call goes on where it ends.
    let items = broker.ledger().stream(&stream(partner), range.start, MAX_STREAM_PAGE).await?;
    let all_looked_at = items.len() < MAX_STREAM_PAGE;
    let last = items.last().map(|item| item.index);
    for item in items {
        if item.index >= range.end {
            return Ok((taken.entries, None));
        }
        if filter.kind.is_some_and(|kind| kind != item.kind) {
            continue;
        }
        let leaf = broker.ledger().leaves(item.index..item.index + 1).await?.pop();
        let leaf = leaf.ok_or_else(|| damaged("stream", &"a record of it is missing"))?;
        if !taken.take(filter, item.index, leaf)? {
            return Ok((taken.entries, Some(item.index)));
        }
    }
    let next = if all_looked_at { None } else { last.map(|last| last + 1) };
    Ok((taken.entries, next))
}

/// A page in the making.
struct Taken {
    entries: Vec<LogEntry>,
    size: usize,
    bytes: usize,
}

impl Taken {
    fn new(size: usize) -> Self {
        Self { entries: Vec::new(), size, bytes: 0 }
    }

    /// Takes the record if the filter does; says `false` if it would and the page is full.
    fn take(&mut self, filter: &Filter, index: u64, leaf: Bytes) -> Result<bool, Fault> {
        let record = Record::decode(leaf.clone()).map_err(|error| damaged("record", &error))?;
        if !filter.takes(&record) {
            return Ok(true);
        }
        if self.entries.len() == self.size || self.bytes >= MAX_PAGE_BYTES {
            return Ok(false);
        }
        self.bytes += leaf.len();
        let receipt = Receipt { record: leaf, index, ..Receipt::default() };
        self.entries.push(LogEntry { name: name(index), receipt: Some(receipt), ..LogEntry::default() });
        Ok(true)
    }
}

fn name(index: u64) -> String {
    format!("{LOG}/entries/{index}")
}

/// The index in an entry's name, which has one way of writing it: neither `+1` nor `01`.
pub(crate) fn log_entry(name_of_entry: &str) -> Option<u64> {
    let index = name_of_entry.rsplit_once('/')?.1.parse().ok()?;
    (name(index) == name_of_entry).then_some(index)
}

/// Who read what. It is durable before the answer leaves: nobody reads unseen.
pub(crate) async fn enter_read(broker: &Broker, caller: &Caller, what: &str) -> Result<(), Fault> {
    let mut work = Work::default();
    work.record(broker.draft(Happening {
        kind: Kind::AuditorRead,
        private: PrivatePart {
            actor: caller.principal.to_string(),
            resource: what.to_owned(),
            ..PrivatePart::default()
        },
        ..Happening::default()
    }));
    broker.enter(work).await.map(drop)
}
