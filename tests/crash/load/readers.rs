//! Those who read: whoever asks for the newest checkpoint, an auditor, a customer who watches.

use std::{sync::Arc, time::Duration};

use countersign_client::{Error, auditor::Filter, channel::call};
use countersign_proto::{log::v1::Kind, v1::GetCheckpointRequest};
use tokio::time::timeout;

use super::{refused, rest, said_no};
use crate::{brand::leaves_open, random::Random, world::World};

/// How long one customer is watched before the next.
const WATCHED_FOR: Duration = Duration::from_secs(2);

/// Collects published checkpoints.
pub(crate) async fn heads(world: Arc<World>, mut random: Random) {
    let connection = world.brands[0].partner.connection();
    loop {
        rest(&mut random, 50, 250).await;
        match connection.audit().get_checkpoint(call(GetCheckpointRequest {})).await {
            Ok(answer) => world.notes.head(&answer.into_inner().checkpoint),
            Err(status) => said_no(&world.notes, "a checkpoint", &Error::from(status)),
        }
    }
}

/// Reads entries with their proofs, and pages of them. Every read is a record.
pub(crate) async fn auditor(world: Arc<World>, mut random: Random) {
    let notes = &world.notes;
    loop {
        rest(&mut random, 80, 250).await;
        world.may_begin().await;
        let newest = notes.book_size();
        if newest == 0 {
            continue;
        }
        let mut sending = notes.sending(Kind::AuditorRead);
        let index = random.below(newest);
        let read = if random.chance(1, 4) {
            let filter = Filter { from: Some(index), ..Filter::default() };
            world.auditor.list(&filter, 50, None).await.map(|page| {
                for entry in page.entries {
                    notes.agrees(entry.index, &entry.leaf);
                }
            })
        } else {
            world.auditor.entry(index).await.map(|leaf| {
                notes.agrees(leaf.index(), leaf.leaf());
                notes.proven(&leaf);
            })
        };
        match read {
            Ok(()) => sending.done(None),
            Err(error) if leaves_open(&error) => sending.doubt(),
            Err(error) => refused(notes, "an auditor's read", sending, &error),
        }
        let _ = world.auditor.settle().await.map_err(|error| said_no(notes, "the auditor's heads", &error));
    }
}

/// Watches one customer after the other: what comes is of the log, and in its order.
pub(crate) async fn watcher(world: Arc<World>, mut random: Random) {
    loop {
        let Some(granted) = world.any(&mut random) else {
            rest(&mut random, 50, 100).await;
            continue;
        };
        let mut watch = granted.customer.watch(0, &[]);
        let watching = async {
            let mut last = None;
            loop {
                match watch.next().await {
                    Ok(activity) => {
                        if last.is_some_and(|last| activity.index() <= last) {
                            let index = activity.index();
                            world.notes.fault(format!("a watch handed out record {index} after {last:?}"));
                        }
                        last = Some(activity.index());
                        world.notes.agrees(activity.index(), &activity.event.record);
                    }
                    Err(error) => return said_no(&world.notes, "a watch", &error),
                }
            }
        };
        // The time is over, or the watch has failed and said so.
        let _ = timeout(WATCHED_FOR, watching).await;
        rest(&mut random, 20, 100).await;
    }
}
