//! What was removed and is still in files: from when on it is to leave the disk, and that it has.
//!
//! Nothing here says what was removed; nor of whom, but to somebody who knows the account's name and when it was closed.

use std::time::Duration;

use countersign_grants::time::Timestamp;

use crate::{
    agenda::{self, Entry},
    broker::Broker,
    error::Fault,
    rows,
};

/// Removals that one scrub takes off the disk and are marked as such; the next ones are in the next.
const AT_ONCE: usize = 16_384;

/// If one that is complete was begun so long ago or longer: all that are complete by now, since they leave the disk together.
pub async fn due(broker: &Broker, after: Duration) -> Result<Vec<Entry>, Fault> {
    let (now, millis) = (broker.now(), u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    let until = Timestamp::from_millis(now.as_millis().saturating_sub(millis));
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
    Ok(())
}
