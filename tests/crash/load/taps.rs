//! Taps of customers, each of which gives leave for one fetch of the place.

use std::{sync::Arc, time::Duration};

use countersign_grants::digest::Digest;
use countersign_proto::log::v1::Kind;
use tokio::time::{sleep, timeout};

use super::{PAUSE, people, refused, rest, said_no, transfers};
use crate::{
    brand::leaves_open,
    random::Random,
    world::{Granted, World},
};

/// How long a tap gives leave: longer than any broker here is away.
const LEAVE: Duration = Duration::from_secs(120);

/// How long its recipient may take to hear of it before it is left unused.
const HEARD_WITHIN: Duration = Duration::from_secs(20);

/// One tap after the other. Most of them are used by a fetch; the others give way to the next.
pub(crate) async fn run(world: Arc<World>, mut random: Random) {
    loop {
        rest(&mut random, 20, 150).await;
        world.may_begin().await;
        let Some(granted) = world.one(&mut random, |granted| granted.located) else {
            let Some(offered) = world.offers.iter().find(|offered| offered.located) else { continue };
            if let Err(error) = Box::pin(people::give(&world, offered, &mut random)).await {
                said_no(&world.notes, "a person", &error);
            }
            continue;
        };
        let Some(index) = tap(&world, &granted).await else { continue };
        if random.chance(1, 4) {
            continue;
        }
        let Ok(tap) = timeout(HEARD_WITHIN, heard(&world, &granted, index)).await else { continue };
        if transfers::tapped(&world, &granted, tap, false).await {
            transfers::tapped(&world, &granted, tap, true).await;
        }
    }
}

/// The index of its record. Each call is a tap of its own, so one without an answer is given up.
async fn tap(world: &World, granted: &Granted) -> Option<u64> {
    let notes = &world.notes;
    let mut sending = notes.sending(Kind::LocationTapped);
    match granted.customer.tap(&granted.name, LEAVE).await {
        Ok(tapped) => {
            notes.proven(&tapped.receipt);
            let index = tapped.receipt.index();
            sending.done(Some(index));
            return Some(index);
        }
        Err(error) if leaves_open(&error) => sending.doubt(),
        Err(error) => refused(notes, "a tap", sending, &error),
    }
    None
}

/// What the recipient heard, and verified, of the tap of this record.
async fn heard(world: &World, granted: &Granted, index: u64) -> Digest {
    let taps = &world.brands[granted.recipient].taps;
    loop {
        if let Some(tap) = taps.lock().remove(&index) {
            return tap;
        }
        sleep(PAUSE).await;
    }
}
