//! Puts requests before customers, as the shared budget allows.
//!
//! A request is *shown* in one unit: its row says when, it leaves the queue and enters the customer's list, the budget
//! is spent, and a record tells the customer's stream, which all of the person's devices follow. Two that look at once
//! expect the same rows, so one of them goes through. The record names no partner and is in no partner's stream.

use std::time::Duration;

use countersign_grants::{
    budget::{Asker, Asking, Candidate, Next, still_counts},
    id::{CustomerName, PartnerName, RequestName, SubjectHandle},
    time::Timestamp,
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{AskerRow, AskingRow, GrantRequestRow, PrivatePart, WaitingRow},
};

use crate::{
    agenda,
    broker::{Broker, damaged},
    caller::Party,
    error::Fault,
    record::{CustomerKey, Happening},
    rows::{self, Loaded, RowKey},
    work::{Work, settle},
};

/// The reason in the record of a request that its customer opened.
const OPENED: &str = "OPENED";

/// The most partners whose requests are weighed against each other: far more than a person has accounts. With more the
/// first by name are.
const MAX_ASKERS: usize = 1_024;

/// The most requests of one partner that have lapsed, and that the sweeper has not taken yet, which are passed over.
const MAX_LAPSED: usize = 64;

/// When a queue is looked at again in which a suspended partner waits: its turns go on within the hour that it is resumed.
const RECHECK: Duration = Duration::from_secs(3600);

/// A request that waits, with all that its turn depends on.
struct Queued {
    candidate: Candidate,
    name: RequestName,
    asker: Option<Loaded<AskerRow>>,
}

/// What one look came to.
enum Looked {
    Shown,
    Until(Option<Timestamp>),
}

/// Shows what may be shown now; says when to look again.
pub async fn look(broker: &Broker, customer: &CustomerName) -> Result<Option<Timestamp>, Fault> {
    // Each turn spends of a budget that has a bound.
    loop {
        if let Looked::Until(next) = settle("asking", || turn(broker, customer)).await? {
            return Ok(next);
        }
    }
}

/// How a partner stands with a customer as an asker.
pub async fn asker(
    broker: &Broker,
    customer: &CustomerName,
    partner: &PartnerName,
) -> Result<(Asker, Option<Loaded<AskerRow>>), Fault> {
    let read = broker.load(rows::asker(customer, partner)).await?;
    Ok((read.as_ref().map(|read| Asker::from_row(&read.row)).unwrap_or_default(), read))
}

/// How a partner stands by one of its handles: what was answered to that one alone, and so what the partner can know. What
/// it did not learn by a handle it is not told by it, since that would say which of its handles are one person's.
pub async fn asker_by(
    broker: &Broker,
    customer: &CustomerName,
    subject: &SubjectHandle,
) -> Result<(Asker, Option<Loaded<AskerRow>>), Fault> {
    let read = broker.load(rows::asker_by(customer, subject)).await?;
    Ok((read.as_ref().map(|read| Asker::from_row(&read.row)).unwrap_or_default(), read))
}

/// Adds to a unit how a request was answered to its handle.
pub async fn answered(
    broker: &Broker,
    work: &mut Work,
    (customer, subject): (&CustomerName, &SubjectHandle),
    answer: impl FnOnce(Asker) -> Asker,
) -> Result<(), Fault> {
    let (before, read) = asker_by(broker, customer, subject).await?;
    let after = answer(before);
    if before == after {
        return Ok(());
    }
    work.write(&rows::asker_by(customer, subject), read.as_ref(), &after.to_row())
}

/// Adds to a unit how the partner stands from now on. One that was silent, and is not any more, is looked at.
pub fn stands(
    broker: &Broker,
    work: &mut Work,
    (customer, partner): (&CustomerName, &PartnerName),
    (before, read): (Asker, Option<&Loaded<AskerRow>>),
    after: Asker,
) -> Result<(), Fault> {
    let now = broker.now();
    if before != after {
        work.write(&rows::asker(customer, partner), read, &after.to_row())?;
    }
    if before.silent_for(now).is_some() && after.silent_for(now).is_none() {
        look_soon(broker, work, customer);
    }
    Ok(())
}

/// Has the queue of a customer looked at, once this unit stands.
pub fn look_soon(broker: &Broker, work: &mut Work, customer: &CustomerName) {
    let own = countersign_grants::time::draw::<32>(broker.entropy());
    work.look_at(agenda::ASKED.entry(broker.now(), own.into(), customer.as_str()));
}

/// Adds to a unit that a request is shown: by its turn, or, if `opened`, since its customer opened it.
pub fn show(
    broker: &Broker,
    work: &mut Work,
    customer: &CustomerKey,
    (name, partner, read): (&RequestName, &PartnerName, &Loaded<GrantRequestRow>),
    opened: bool,
) -> Result<GrantRequestRow, Fault> {
    let now = broker.now().as_millis();
    let row = GrantRequestRow { shown_time_ms: now, ..read.row.clone() };
    work.update(read, &row)?;
    work.delete(&place(&customer.name, partner, name, &row));
    let list = rows::grant_requests_of(&Party::Customer(customer.name.clone()));
    work.index(&list.entry(now, name.digest()), name.as_str())?;
    work.record(broker.draft(Happening {
        kind: Kind::RequestShown,
        customer: Some(customer),
        reason: if opened { OPENED } else { "" },
        evidence: &[name.digest()],
        private: PrivatePart { grant_request: name.to_string(), ..PrivatePart::default() },
        ..Happening::default()
    }));
    Ok(row)
}

/// Adds to a unit that a request has ended. One that was never shown is in no list of its customer's, and leaves the queue
/// for where an erasure finds it.
pub fn end(
    work: &mut Work,
    customer: &CustomerName,
    (name, partner, row): (&RequestName, &PartnerName, &GrantRequestRow),
) -> Result<(), Fault> {
    if row.shown_time_ms > 0 {
        return Ok(());
    }
    work.delete(&place(customer, partner, name, row));
    let unseen = rows::unseen_requests_of(customer);
    work.index(&unseen.entry(row.create_time_ms, name.digest()), name.as_str())
}

/// Where a request waits, if it does.
pub fn place(
    customer: &CustomerName,
    partner: &PartnerName,
    name: &RequestName,
    row: &GrantRequestRow,
) -> RowKey<WaitingRow> {
    rows::waiting(customer, partner, row.create_time_ms, name)
}

async fn turn(broker: &Broker, customer: &CustomerName) -> Result<Option<Looked>, Fault> {
    let now = broker.now();
    let (mut queued, suspended) = queue(broker, customer, now).await?;
    if queued.is_empty() {
        return Ok(Some(Looked::Until(suspended.then(|| now.plus(RECHECK)))));
    }
    let read = broker.load(rows::asking(customer)).await?;
    let row = read.as_ref().map(|read| read.row.clone()).unwrap_or_default();
    let asking =
        Asking::from_row(&row, broker.settings().asking).map_err(|error| damaged("asking", &error))?;
    let spent: Vec<_> = row.spent_times_ms.iter().copied().map(Timestamp::from_millis).collect();
    let candidates: Vec<_> = queued.iter().map(|queued| queued.candidate.clone()).collect();
    match asking.next(&spent, &candidates, now) {
        // Whoever ends that she is asked by nobody has the queue looked at.
        Next::Rest => Ok(Some(Looked::Until(None))),
        Next::Wait(until) if suspended => Ok(Some(Looked::Until(Some(until.min(now.plus(RECHECK)))))),
        Next::Wait(until) => Ok(Some(Looked::Until(Some(until)))),
        Next::Show(place) => {
            let queued = queued.swap_remove(place);
            let kept = still_counts(&spent, now).chain([now]).map(Timestamp::as_millis);
            let row = AskingRow { spent_times_ms: kept.collect(), ..row };
            by_turn(broker, customer, queued, (read.as_ref(), &row)).await
        }
    }
}

async fn by_turn(
    broker: &Broker,
    customer: &CustomerName,
    Queued { candidate, name, asker }: Queued,
    (read, row): (Option<&Loaded<AskingRow>>, &AskingRow),
) -> Result<Option<Looked>, Fault> {
    let Some(request) = broker.load(rows::grant_request(&name)).await? else {
        return Err(damaged("waiting request", &"it is not there"));
    };
    let key = broker.customer_key(customer).await?;
    let Candidate { partner, asker: before, .. } = candidate;
    let mut work = Work::default();
    broker.expect_open(&mut work, &key).await?;
    work.write(&rows::asking(customer), read, row)?;
    let after = before.shown(broker.now());
    stands(broker, &mut work, (customer, &partner), (before, asker.as_ref()), after)?;
    show(broker, &mut work, &key, (&name, &partner, &request), false)?;
    Ok(broker.enter(work).await?.map(|_| Looked::Shown))
}

/// The oldest request of each partner that waits and has not lapsed; and whether there are any of partners that are
/// suspended, who ask nobody anything.
async fn queue(
    broker: &Broker,
    customer: &CustomerName,
    now: Timestamp,
) -> Result<(Vec<Queued>, bool), Fault> {
    let (range, mut after) = (rows::all_waiting(customer), None::<Vec<u8>>);
    let (mut queued, mut lapsed, mut suspended) = (Vec::new(), 0, false);
    while queued.len() < MAX_ASKERS {
        let found = range.load(broker.store(), after.as_deref(), 1).await?.pop();
        let Some((place, waiting)) = found else { break };
        let (partner, created) = read_place(&place)?;
        let has_lapsed = waiting.expire_time_ms <= now.as_millis();
        if has_lapsed && lapsed < MAX_LAPSED {
            lapsed += 1;
            after = Some(place);
            continue;
        }
        // Past all others of this partner: their places go on with a time, and no time begins like this.
        after = Some([partner.id().as_bytes(), b"/", &[0xff; 8]].concat());
        lapsed = 0;
        if !has_lapsed && !broker.standing(&partner).await?.is_live() {
            suspended = true;
        } else if !has_lapsed {
            let name = RequestName::parse(&waiting.request).map_err(|error| damaged("waiting", &error))?;
            let (stands, asker) = asker(broker, customer, &partner).await?;
            queued.push(Queued { candidate: Candidate { partner, asker: stands, created }, name, asker });
        }
    }
    Ok((queued, suspended))
}

/// The partner and the time that a place says.
fn read_place(place: &[u8]) -> Result<(PartnerName, Timestamp), Fault> {
    let broken = || damaged("waiting", &"its key is none");
    let slash = place.iter().position(|byte| *byte == b'/').ok_or_else(broken)?;
    let id = std::str::from_utf8(&place[..slash]).map_err(|_| broken())?;
    let partner = PartnerName::of_id(id).map_err(|_| broken())?;
    let time = place[slash + 1..].first_chunk::<8>().ok_or_else(broken)?;
    Ok((partner, Timestamp::from_millis(u64::from_be_bytes(*time))))
}
