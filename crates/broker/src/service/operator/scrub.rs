//! `ScrubStore`: what was removed leaves the disk at once.
//!
//! The order is kept in the commit of its record, so that a stop of the machine does not lose it. Whoever has the disk, which is
//! not the broker, looks for orders; this call waits for what comes of it.

use std::time::Duration;

use countersign_grants::time::Timestamp;
use countersign_proto::{
    log::v1::Kind,
    row::v1::PrivatePart,
    v1::{ScrubStoreRequest, ScrubStoreResponse, scrub_store_response::State},
};

use crate::{
    Broker, Caller, Fault,
    record::Happening,
    removed,
    service::{fields, timestamp},
    work::{Work, settle},
};

/// How long a call waits for a scrub: a third of what a call may take, and longer than the scrub of a small store.
const WAIT: Duration = Duration::from_secs(10);

/// How often it looks meanwhile: one read of one row.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) async fn scrub(
    broker: &Broker,
    caller: &Caller,
    request: ScrubStoreRequest,
) -> Result<ScrubStoreResponse, Fault> {
    caller.operator()?;
    let now = broker.now();
    let until = match &request.until_time {
        Some(time) => fields::moment("until_time", time)?,
        None => now,
    };
    if until > now {
        return Err(Fault::field("until_time", "is in the future: give what an earlier call answered"));
    }
    if request.until_time.is_none() && removed::waits(broker, until).await? {
        settle("scrub", || order(broker, caller, until)).await?;
    }
    let mut waited = Duration::ZERO;
    while removed::waits(broker, until).await? {
        if waited >= WAIT {
            return Ok(answer(until, State::Running));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        waited += LOOK_EVERY;
    }
    Ok(answer(until, State::Done))
}

async fn order(broker: &Broker, caller: &Caller, until: Timestamp) -> Result<Option<()>, Fault> {
    let mut work = Work::default();
    removed::order(broker, &mut work, until);
    work.record(broker.draft(Happening {
        kind: Kind::ScrubOrdered,
        private: PrivatePart { actor: caller.principal.to_string(), ..PrivatePart::default() },
        ..Happening::default()
    }));
    Ok(broker.enter(work).await?.map(drop))
}

fn answer(until: Timestamp, state: State) -> ScrubStoreResponse {
    ScrubStoreResponse { until_time: timestamp(until.as_millis()), state: state.into() }
}
