//! Accounts that nobody comes back to: no link stands on one any more, and no grant under it.
//!
//! Their people reported the keys stolen, or lost all that opens them, and link with other keys, if at all. So nobody is
//! left who could close such an account, and [`ABANDONED_FOR`](lifecycle::ABANDONED_FOR) later it is erased like one that
//! was closed. Since when it is abandoned stands in the log and nowhere else: an entry of the agenda says no more than
//! when somebody looks. A look that comes too early moves the entry, and the unit that erases drops it. So a stop of the
//! machine leaves either the entry or the erasure.

use std::time::Duration;

use countersign_grants::{
    digest::Digest,
    id::{CustomerName, GrantName, LinkName},
    lifecycle::{self, End},
    time::Timestamp,
};
use countersign_ledger::MAX_STREAM_PAGE;
use countersign_proto::log::v1::{Kind, Record};
use prost::Message as _;

use crate::{
    agenda::{self, Entry},
    broker::{Broker, damaged},
    caller::Party,
    erasing,
    error::Fault,
    record::stream,
    rows,
    work::Work,
};

/// Links or grants that are read together.
const PAGE: usize = 256;

/// How soon the next look follows at an account under which a grant stands, which can end before its time.
const LOOK_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// What the time is counted from: that a link or a grant began or ended, or that the customer did something.
const SIGNS: [Kind; 14] = [
    Kind::LinkAccepted,
    Kind::LinkConfirmed,
    Kind::LinkReplaced,
    Kind::LinkStolen,
    Kind::GrantWithdrawn,
    Kind::GrantRevoked,
    Kind::GrantRevokedByOperator,
    Kind::GrantSuperseded,
    // The last one can be what ended its grant.
    Kind::Transfer,
    Kind::ErasureOrdered,
    Kind::AskingChanged,
    Kind::AuthenticatorAdded,
    Kind::AuthenticatorRemoved,
    Kind::CustomerStolen,
];

/// What is left of an account.
enum Left {
    /// A link stands: the end of that one has somebody look again.
    Link,
    /// No link, and a grant that ends at this moment, or before it.
    Grant { until: Timestamp },
    /// Neither, since this moment.
    Nothing { since: Timestamp },
}

/// Has somebody look, now that a link of the account ends, when it can be abandoned for long enough at the earliest.
pub(crate) fn look_later(broker: &Broker, work: &mut Work, customer: &CustomerName) {
    let digest = Digest::of(customer.as_str().as_bytes());
    work.look_at(agenda::ABANDONED.entry(lifecycle::erased_at(broker.now()), digest, customer.as_str()));
}

/// Has what a customer does be seen by a look that began before: it writes the account's row anew, which the unit that erases
/// expects as it was.
pub(crate) async fn keep(broker: &Broker, work: &mut Work, name: &CustomerName) -> Result<(), Fault> {
    match broker.load(rows::customer(name)).await? {
        Some(read) => work.update(&read, &read.row),
        // Of an account without a row there is nothing to keep; whether it may act is judged elsewhere.
        None => Ok(()),
    }
}

/// Looks at one account; whether it is erased now. A conflict leaves the entry to the next sweep.
pub(crate) async fn look(broker: &Broker, entry: &Entry) -> Result<bool, Fault> {
    let name = CustomerName::parse(&entry.name).map_err(|error| damaged("agenda", &error))?;
    // Read before links and grants are: what makes one stand writes this row anew, and so it is a conflict.
    let account = broker.load(rows::customer(&name)).await?.filter(|read| read.row.close_time_ms == 0);
    let Some(account) = account else { return later(broker, (&name, entry), None).await };
    let now = broker.now();
    let at = match left(broker, &name, now).await? {
        Left::Link => return later(broker, (&name, entry), None).await,
        Left::Grant { until } => {
            return later(broker, (&name, entry), Some(until.min(now.plus(LOOK_AGAIN)))).await;
        }
        Left::Nothing { since } => lifecycle::erased_at(since),
    };
    if now < at {
        return later(broker, (&name, entry), Some(at)).await;
    }
    let mut work = erasing::begin(broker, &name, &account, None)?;
    work.looked_at(agenda::ABANDONED.keys_of(entry));
    Ok(broker.enter(work).await?.is_some())
}

async fn later(broker: &Broker, of: (&CustomerName, &Entry), at: Option<Timestamp>) -> Result<bool, Fault> {
    agenda::ABANDONED.done_of(broker, of, at).await.map(|()| false)
}

async fn left(broker: &Broker, name: &CustomerName, now: Timestamp) -> Result<Left, Fault> {
    let party = Party::Customer(name.clone());
    if link_stands(broker, &party).await? {
        return Ok(Left::Link);
    }
    let (index, mut after, mut expired) = (rows::grants_of(&party), None::<Vec<u8>>, None::<Timestamp>);
    loop {
        let page = index.load(broker.store(), after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else {
            // Only now, since it reads the whole stream.
            let signed = last_sign(broker, name).await?;
            return Ok(Left::Nothing { since: expired.map_or(signed, |expired| signed.max(expired)) });
        };
        after = Some(last.clone());
        for (_, name) in &page {
            let name = GrantName::parse(name).map_err(|error| damaged("grant index", &error))?;
            let grant = broker.grant(&name).await?;
            let grant = grant.ok_or_else(|| damaged("grant index", &"a grant is missing"))?;
            let until = grant.terms.expire_time;
            match grant.state(now)? {
                // No record says so.
                lifecycle::Grant::Ended(End::Expired) => expired = expired.max(Some(until)),
                lifecycle::Grant::Ended(_) => {}
                _ => return Ok(Left::Grant { until }),
            }
        }
    }
}

async fn link_stands(broker: &Broker, party: &Party) -> Result<bool, Fault> {
    let (index, mut after) = (rows::links_of(party), None::<Vec<u8>>);
    loop {
        let page = index.load(broker.store(), after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(false) };
        after = Some(last.clone());
        for (_, name) in &page {
            let name = LinkName::parse(name).map_err(|error| damaged("link index", &error))?;
            let link = broker.load(rows::link(&name)).await?;
            let link = link.ok_or_else(|| damaged("link index", &"a link is missing"))?;
            if matches!(lifecycle::Link::from_row(&link.row)?, lifecycle::Link::Confirmed { .. }) {
                return Ok(true);
            }
        }
    }
}

/// When the last of the [`SIGNS`] was recorded, by the log's own time.
async fn last_sign(broker: &Broker, name: &CustomerName) -> Result<Timestamp, Fault> {
    let (stream, mut next, mut last) = (stream(name.as_str()), 0, None);
    loop {
        let items = broker.ledger().stream(&stream, next, MAX_STREAM_PAGE).await?;
        last = items.iter().rev().find(|item| SIGNS.contains(&item.kind)).map(|item| item.index).or(last);
        let Some(end) = items.last().filter(|_| items.len() == MAX_STREAM_PAGE) else { break };
        next = end.index + 1;
    }
    let last =
        last.ok_or_else(|| damaged("stream", &"a link of the account ended, and no record says so"))?;
    let leaf = broker.ledger().leaves(last..last + 1).await?.pop();
    let leaf = leaf.ok_or_else(|| damaged("stream", &"a record of it is missing"))?;
    let record = Record::decode(leaf).map_err(|error| damaged("record", &error))?;
    Ok(Timestamp::from_millis(record.time_ms))
}
