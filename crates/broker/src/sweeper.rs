//! Looks at what is due: requests that lapse, those whose turn it is to be put before their customers, grants that end
//! before long, deletions that are late, accounts that are abandoned, and those whose rows are still to go.
//!
//! A lapse and a lateness get their records here, so that each is an event like any other. Their states follow from the
//! clock alone; a sweep that comes late, or twice, changes nothing about them.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use countersign_grants::{
    envelope,
    id::{CustomerName, GrantName, RequestName},
    lifecycle,
    statement::GrantRequest,
};
use countersign_proto::{log::v1::Kind, row::v1::PrivatePart, v1::grant_request::State};

use crate::{
    abandoned, agenda, asking,
    broker::{Broker, damaged},
    erasing,
    error::Fault,
    expiring,
    record::Happening,
    rows,
    service::grant::erasure::announce_overdue,
    work::Work,
};

/// The most of one sort that is looked at together; the next ones follow at once if there are more.
const SWEEP: usize = 256;

/// The most units in which a sweep removes the rows of one closed account before it looks at what else is due.
const ERASING_UNITS: usize = 256;

/// Starts the sweeper of this broker. It ends with the broker, or when its log takes nothing any more.
pub(crate) fn start(broker: &Arc<Broker>) {
    let (weak, every) = (Arc::downgrade(broker), broker.settings().sweep_interval);
    tokio::spawn(run(weak, every));
}

async fn run(broker: Weak<Broker>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(broker) = broker.upgrade() else { return };
        if !broker.ledger().is_available() {
            return;
        }
        // What has lapsed is not shown any more, so it goes first.
        if let Err(fault) = sweep(&broker).await {
            tracing::warn!(%fault, "a sweep of lapsed requests failed; the next one follows");
        }
        if let Err(fault) = show(&broker).await {
            tracing::warn!(%fault, "a sweep of waiting requests failed; the next one follows");
        }
        if let Err(fault) = announce(&broker).await {
            tracing::warn!(%fault, "a sweep of grants that end failed; the next one follows");
        }
        if let Err(fault) = announce_erasures(&broker).await {
            tracing::warn!(%fault, "a sweep of overdue erasures failed; the next one follows");
        }
        if let Err(fault) = abandon(&broker).await {
            tracing::warn!(%fault, "a sweep of abandoned accounts failed; the next one follows");
        }
        if let Err(fault) = erase(&broker).await {
            tracing::warn!(%fault, "closed accounts are not erased yet; the next sweep goes on");
        }
    }
}

/// Announces all erasures that are overdue; says how many.
pub async fn announce_erasures(broker: &Broker) -> Result<usize, Fault> {
    let mut announced = 0;
    loop {
        let before = announced;
        let due = rows::erasures_due().until(broker.store(), broker.now(), SWEEP).await?;
        for name in &due {
            let told = match GrantName::parse(name) {
                Ok(name) => announce_overdue(broker, &name).await,
                Err(error) => Err(damaged("due erasure", &error)),
            };
            match told {
                Ok(done) => announced += usize::from(done),
                Err(fault) => tracing::warn!(%fault, grant = %name, "an overdue erasure can't be announced"),
            }
        }
        if due.len() < SWEEP || announced == before {
            return Ok(announced);
        }
    }
}

/// Erases the accounts that have been abandoned for so long; says how many. Their rows go with [`erase`].
pub async fn abandon(broker: &Broker) -> Result<usize, Fault> {
    let mut erased = 0;
    loop {
        let due = agenda::ABANDONED.due(broker, broker.now(), SWEEP).await?;
        let mut done = 0;
        for entry in &due {
            match abandoned::look(broker, entry).await {
                Ok(gone) => (done, erased) = (done + 1, erased + usize::from(gone)),
                Err(fault) => tracing::warn!(%fault, "it can't be told whether an account is abandoned"),
            }
        }
        if due.len() < SWEEP || done == 0 {
            return Ok(erased);
        }
    }
}

/// Goes on with the erasure of closed accounts; says how many are gone. One that can't go on stays, and keeps no other.
pub async fn erase(broker: &Broker) -> Result<usize, Fault> {
    let mut gone = 0;
    for name in rows::closed_customers().until(broker.store(), broker.now(), SWEEP).await? {
        let erased = match CustomerName::parse(&name) {
            Ok(name) => erasing::erase(broker, &name, ERASING_UNITS).await,
            Err(error) => Err(damaged("closed customer", &error)),
        };
        match erased {
            Ok(done) => gone += usize::from(done),
            Err(fault) => tracing::warn!(%fault, "a closed account is not erased yet"),
        }
    }
    Ok(gone)
}

/// Lapses all that is due; says how many. What can't be lapsed is told in the log lines, and keeps nothing else waiting.
pub async fn sweep(broker: &Broker) -> Result<usize, Fault> {
    let mut lapsed = 0;
    loop {
        let before = lapsed;
        let due = rows::due().until(broker.store(), broker.now(), SWEEP).await?;
        for name in &due {
            match lapse(broker, name).await {
                Ok(done) => lapsed += usize::from(done),
                Err(fault) => {
                    tracing::warn!(%fault, request = %name, "a request that is due can't be lapsed");
                }
            }
        }
        let progressed = lapsed > before;
        if due.len() < SWEEP || !progressed {
            return Ok(lapsed);
        }
    }
}

/// Looks at all queues in which a turn may be due; says how many it looked at. One that can't be looked at stays, and
/// keeps no other waiting.
pub async fn show(broker: &Broker) -> Result<usize, Fault> {
    let mut looked = 0;
    loop {
        let before = looked;
        let due = agenda::ASKED.due(broker, broker.now(), SWEEP).await?;
        for entry in &due {
            match look(broker, entry).await {
                Ok(()) => looked += 1,
                Err(fault) => tracing::warn!(%fault, "a queue of requests can't be looked at"),
            }
        }
        if due.len() < SWEEP || looked == before {
            return Ok(looked);
        }
    }
}

/// Tells of all grants that end before long; says of how many.
pub async fn announce(broker: &Broker) -> Result<usize, Fault> {
    let mut told = 0;
    loop {
        let due = agenda::EXPIRING.due(broker, broker.now(), SWEEP).await?;
        let mut done = 0;
        for entry in &due {
            match expiring::announce(broker, entry).await {
                Ok(announced) => (done, told) = (done + 1, told + usize::from(announced)),
                Err(fault) => tracing::warn!(%fault, "it can't be told that a grant ends"),
            }
        }
        if due.len() < SWEEP || done == 0 {
            return Ok(told);
        }
    }
}

/// If the machine stops between the look and the note of it, the next one looks again, and finds what it left.
async fn look(broker: &Broker, entry: &agenda::Entry) -> Result<(), Fault> {
    let customer = CustomerName::parse(&entry.name).map_err(|error| damaged("agenda", &error))?;
    let next = asking::look(broker, &customer).await?;
    agenda::ASKED.done_of(broker, (&customer, entry), next).await
}

/// Lapses one request. A conflict means that it was answered, or swept by another, at this very moment.
async fn lapse(broker: &Broker, name: &str) -> Result<bool, Fault> {
    let name = &RequestName::parse(name).map_err(|error| damaged("due request", &error))?;
    let Some(read) = broker.load(rows::grant_request(name)).await? else {
        return Err(Fault::Damaged { what: format!("`{name}` is due and is not there") });
    };
    let request = envelope::peek::<GrantRequest>(read.row.statement.as_ref())
        .map_err(|error| damaged("grant request", &error))?;
    let state = lifecycle::GrantRequest::from_row(&read.row, request.expire_time)?.at(broker.now());
    if state.state() != State::Lapsed {
        return Ok(false);
    }
    let customer =
        CustomerName::parse(&read.row.customer).map_err(|error| damaged("grant request", &error))?;
    let mut row = read.row.clone();
    state.write_to(&mut row);
    let mut work = Work::default();
    work.update(&read, &row)?;
    work.delete(&rows::due().entry(request.expire_time.as_millis(), name.digest()));
    asking::end(&mut work, &customer, (name, &request.requester, &row))?;
    let customer = broker.customer_key(&customer).await?;
    broker.expect_open(&mut work, &customer).await?;
    work.record(broker.draft(Happening {
        kind: Kind::RequestLapsed,
        source: Some(&request.requester),
        customer: Some(&customer),
        unseen: row.shown_time_ms == 0,
        evidence: &[name.digest()],
        private: PrivatePart {
            grant_request: name.to_string(),
            source_subject: request.subject.to_string(),
            ..PrivatePart::default()
        },
        ..Happening::default()
    }));
    Ok(broker.enter(work).await?.is_some())
}
