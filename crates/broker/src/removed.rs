//! What was removed and is still in files: from when on it is to leave the disk, and that it has.
//!
//! Nothing here says what was removed; nor of whom, but to somebody who knows the account's name and when it was closed.

use std::time::Duration;

use countersign_grants::{
    digest::Digest,
    time::{Timestamp, draw},
};

use crate::{
    agenda::{self, Entry},
    broker::Broker,
    error::Fault,
    rows,
    work::Work,
};

/// Removals that one scrub takes off the disk and are marked as such; the next ones are in the next.
const AT_ONCE: usize = 16_384;

/// If one that is complete was begun so long ago or longer, or before an operator's order: all that are complete by now,
/// since they leave the disk together.
pub async fn due(broker: &Broker, after: Duration) -> Result<Vec<Entry>, Fault> {
    let (now, millis) = (broker.now(), u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    let mut until = Timestamp::from_millis(now.as_millis().saturating_sub(millis));
    if let Some(ordered) = ordered(broker).await? {
        until = until.max(ordered);
    }
    if complete(broker, until).await?.is_empty() {
        return Ok(Vec::new());
    }
    complete(broker, now).await
}

async fn complete(broker: &Broker, until: Timestamp) -> Result<Vec<Entry>, Fault> {
    let mut complete = Vec::new();
    for entry in agenda::REMOVED.due(broker, until, AT_ONCE).await? {
        // A closed account whose rows are not all gone: the sweeper is still at it.
        let going = rows::closed_customers().entry(entry.at, entry.digest.into());
        if broker.load(going).await?.is_none() {
            complete.push(entry);
        }
    }
    Ok(complete)
}

/// These have left the disk.
pub async fn gone(broker: &Broker, entries: &[Entry]) -> Result<(), Fault> {
    for entry in entries {
        agenda::REMOVED.done(broker, entry, None).await?;
    }
    for order in agenda::SCRUBS.due(broker, broker.now(), AT_ONCE).await? {
        if !waits(broker, Timestamp::from_millis(order.at)).await? {
            agenda::SCRUBS.done(broker, &order, None).await?;
        }
    }
    Ok(())
}

/// Whether something that was removed until this moment is still on the disk.
pub async fn waits(broker: &Broker, until: Timestamp) -> Result<bool, Fault> {
    Ok(!agenda::REMOVED.due(broker, until, 1).await?.is_empty())
}

/// Until when everything that was removed is to leave the disk at once, by the newest order of an operator.
pub async fn ordered(broker: &Broker) -> Result<Option<Timestamp>, Fault> {
    let orders = agenda::SCRUBS.due(broker, broker.now(), AT_ONCE).await?;
    Ok(orders.last().map(|order| Timestamp::from_millis(order.at)))
}

/// Keeps an operator's order until it is met.
pub(crate) fn order(broker: &Broker, work: &mut Work, until: Timestamp) {
    let own = Digest::from(draw::<32>(broker.entropy()));
    work.look_at(agenda::SCRUBS.entry(until, own, ""));
}
