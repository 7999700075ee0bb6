//! Fetches: through the SDK, and by hand, so that the very bytes can be sent again after the broker has died over them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use countersign_client::{Error, System, channel::call, receipt::ProvenLeaf};
use countersign_grants::{envelope, statement::Fetch};
use countersign_proto::{
    log::v1::Result as Went,
    statement::v1::{self as wire, Envelope},
    v1::FetchDataRequest,
};
use tokio::time::sleep;

use super::{PAUSE, ask, rest, said_no};
use crate::{
    brand::{Brand, FIELDS, PURPOSE, leaves_open},
    notes::{Notes, Sending},
    random::Random,
    rounds::ORIGIN,
    world::{Granted, World},
};

/// No try of the same bytes after this long: the broker would call the id used up at 120 s.
const GIVE_UP_AFTER: Duration = Duration::from_secs(90);

/// One fetch after the other.
pub(crate) async fn run(world: Arc<World>, mut random: Random) {
    loop {
        world.may_begin().await;
        let Some(granted) = world.any(&mut random) else {
            rest(&mut random, 10, 50).await;
            continue;
        };
        if !granted.narrowable && random.chance(1, 2) {
            through_the_sdk(&world, &granted).await;
        } else {
            let again = random.chance(1, 6);
            by_hand(&world, &granted, again).await;
        }
        rest(&mut random, 1, 15).await;
    }
}

async fn through_the_sdk(world: &World, granted: &Granted) {
    let notes = &world.notes;
    let mut sending = notes.fetching(granted.tag);
    let stopped = granted.stopped.load(Ordering::SeqCst);
    match world.brands[granted.recipient].partner.fetch(&granted.name, PURPOSE, &FIELDS).await {
        Ok(fetched) => {
            released(notes, granted, stopped, &fetched.receipt);
            sending.released(fetched.receipt.record().result());
        }
        Err(error) if leaves_open(&error) => sending.doubt(),
        // It was never sent: the grant's terms have not reached this side's book yet.
        Err(Error::Misuse(_)) => sending.undone(),
        Err(error) => turned_down(world, granted, sending, &error, true),
    }
}

/// A fetch whose bytes are kept until they are answered; then sometimes sent once more.
pub(crate) async fn by_hand(world: &World, granted: &Granted, again: bool) {
    let notes = &world.notes;
    let recipient = &world.brands[granted.recipient];
    let signed = match sign(recipient, granted).await {
        Ok(signed) => signed,
        Err(error) => return said_no(notes, "a fetch", &error),
    };
    let begun = System::real().now();
    let mut sending = notes.fetching(granted.tag);
    let (leaf, sealed) = loop {
        let stopped = granted.stopped.load(Ordering::SeqCst);
        match send(recipient, &signed).await {
            Ok((leaf, sealed)) => {
                released(notes, granted, stopped, &leaf);
                break (leaf, sealed);
            }
            Err(error) if leaves_open(&error) => sending.doubt(),
            Err(error) => return turned_down(world, granted, sending, &error, false),
        }
        if System::real().now().since(begun) > GIVE_UP_AFTER {
            return;
        }
        sleep(PAUSE).await;
    };
    sending.released(leaf.record().result());
    if again {
        repeat(notes, (recipient, granted), &signed, &leaf, &sealed).await;
    }
}

/// The same bytes bring the same bytes, under the same use number, or nothing.
async fn repeat(
    notes: &Notes,
    (recipient, granted): (&Brand, &Granted),
    signed: &Envelope,
    first: &ProvenLeaf,
    sealed: &Bytes,
) {
    let stopped = granted.stopped.load(Ordering::SeqCst);
    match send(recipient, signed).await {
        Ok((leaf, same)) => {
            released(notes, granted, stopped, &leaf);
            let record = leaf.record();
            if record.result() != Went::Repeated || record.use_number != first.record().use_number {
                let (went, number) = (record.result(), record.use_number);
                notes.fault(format!(
                    "record {} says {went:?} of use {number}, and repeats use {} of record {}",
                    leaf.index(),
                    first.record().use_number,
                    first.index()
                ));
            }
            if same != *sealed {
                notes.fault(format!("record {} came with other bytes than its first", leaf.index()));
            }
        }
        Err(error) => said_no(notes, "a repeat", &error),
    }
}

async fn sign(recipient: &Brand, granted: &Granted) -> Result<Envelope, Error> {
    let system = System::real();
    let message = wire::Fetch {
        broker: ORIGIN.to_owned(),
        recipient: recipient.name().to_string(),
        terms: granted.name.digest().into(),
        purpose: PURPOSE.to_owned(),
        fields: FIELDS.map(str::to_owned).to_vec(),
        request_id: system.draw_uuid(),
        time_ms: system.now().as_millis(),
        // Nobody opens what comes: any point of the curve will do.
        sealing_key: Bytes::from_static(&[9; 32]),
        checkpoint: ask(|| recipient.partner.monitor().for_signing()).await?,
        ..wire::Fetch::default()
    };
    Ok(envelope::sign::<Fetch>(&message, &[&recipient.working]))
}

async fn send(recipient: &Brand, signed: &Envelope) -> Result<(ProvenLeaf, Bytes), Error> {
    let asked = FetchDataRequest { statement: Some(signed.clone()) };
    let answer = recipient.partner.connection().transfers().fetch_data(call(asked)).await?.into_inner();
    let leaf = ProvenLeaf::prove(answer.receipt.as_ref(), recipient.partner.monitor())?;
    Ok((leaf, answer.sealed_fields))
}

/// Notes a release, which must not come after a stop that was acknowledged before it was asked for.
fn released(notes: &Notes, granted: &Granted, stopped: bool, leaf: &ProvenLeaf) {
    notes.proven(leaf);
    if stopped {
        let (index, name) = (leaf.index(), &granted.name);
        notes.fault(format!("record {index}: data came under {name} after its stop was acknowledged"));
    }
    if leaf.record().grant_tag.as_ref() != granted.tag {
        notes.fault(format!("record {} is of another grant than {}", leaf.index(), granted.name));
    }
}

/// A refusal. The SDK may have tried before, and so may we: what became of that try is known only where the reason says
/// that there was no release, since a repeat is never refused for it.
fn turned_down(world: &World, granted: &Granted, sending: Sending, error: &Error, tried: bool) {
    said_no(&world.notes, "a fetch", error);
    let never_released = matches!(error.reason(), Some("FREQUENCY_EXCEEDED" | "REQUEST_ID_REUSED"));
    if never_released || !(tried || sending.is_in_doubt()) {
        sending.undone();
    }
    let over = |error: &Error| match error {
        Error::Refused(refused) => refused.reason == "GRANT_ENDED" || refused.retry_after.is_none(),
        _ => false,
    };
    if matches!(error.reason(), Some("FREQUENCY_EXCEEDED" | "GRANT_ENDED")) && over(error) {
        world.retire(&granted.name);
    }
}
