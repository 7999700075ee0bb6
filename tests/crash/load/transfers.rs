//! Fetches: through the SDK, and by hand, so that the very bytes can be sent again after the broker has died over them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use countersign_client::{Error, Misuse, System, channel::call, receipt::ProvenLeaf};
use countersign_grants::{digest::Digest, envelope, statement::Fetch};
use countersign_proto::{
    log::v1::Result as Went,
    statement::v1::{self as wire, Envelope},
    v1::FetchDataRequest,
};
use tokio::time::sleep;

use super::{PAUSE, ask, rest, said_no};
use crate::{
    brand::{Brand, FIELDS, OPTIONAL, PLACE, PURPOSE, leaves_open},
    notes::{Notes, Sending},
    random::Random,
    rounds::ORIGIN,
    world::{Granted, World},
};

/// No try of the same bytes after this long: the broker would call the id used up at 120 s.
const GIVE_UP_AFTER: Duration = Duration::from_secs(90);

/// How one is made by hand.
#[derive(Clone, Copy, Default)]
struct How {
    /// Once answered, the same bytes are sent once more.
    again: bool,
    /// The tap by which it asks for the place too.
    tap: Option<Digest>,
    /// It asks for the field that can be left out.
    optional: bool,
    /// Why nothing may come of it.
    barred: Option<&'static str>,
}

/// One fetch after the other.
pub(crate) async fn run(world: Arc<World>, mut random: Random) {
    loop {
        world.may_begin().await;
        let Some(granted) = world.any(&mut random) else {
            rest(&mut random, 10, 50).await;
            continue;
        };
        if !granted.chosen && random.chance(1, 10) {
            left_out(&world, &granted).await;
        } else if !granted.revisable && random.chance(1, 2) {
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
    let barred = barred(granted);
    let fields: Vec<_> = FIELDS.into_iter().chain(granted.chosen.then_some(OPTIONAL)).collect();
    match world.brands[granted.recipient].partner.fetch(&granted.name, PURPOSE, &fields).await {
        Ok(fetched) => {
            released(notes, granted, barred, &fetched.receipt);
            sending.released(fetched.receipt.record().result());
        }
        Err(error) if leaves_open(&error) => sending.doubt(),
        // It was never sent: the grant's terms have not reached this side's book yet.
        Err(Error::Misuse(Misuse::Unknown { .. })) => sending.undone(),
        // The book says no by now, before it was sent, or after an answer came that is not opened any more.
        Err(Error::Misuse(_)) => sending.doubt(),
        Err(error) => turned_down(world, granted, sending, &error, true),
    }
}

/// A fetch whose bytes are kept until they are answered; then sometimes sent once more.
pub(crate) async fn by_hand(world: &World, granted: &Granted, again: bool) {
    one(world, granted, How { again, optional: granted.chosen, ..How::default() }).await;
}

/// One of the field too that the customer left out: nothing may come of it.
async fn left_out(world: &World, granted: &Granted) {
    let barred = Some("its customer left a field out");
    one(world, granted, How { optional: true, barred, ..How::default() }).await;
}

/// One that must be refused, for what was acknowledged and holds until it is answered.
pub(crate) async fn in_vain(world: &World, granted: &Granted, why: &'static str) {
    one(world, granted, How { barred: Some(why), ..How::default() }).await;
}

/// One of the place too, by a tap; whether it was released. By a tap that was used before nothing may come.
pub(crate) async fn tapped(world: &World, granted: &Granted, tap: Digest, used: bool) -> bool {
    let barred = used.then_some("its tap was used");
    one(world, granted, How { tap: Some(tap), barred, again: !used, optional: granted.chosen }).await
}

/// Whether it was released.
async fn one(world: &World, granted: &Granted, how: How) -> bool {
    let notes = &world.notes;
    let recipient = &world.brands[granted.recipient];
    let signed = match sign(recipient, granted, how).await {
        Ok(signed) => signed,
        Err(error) => {
            said_no(notes, "a fetch", &error);
            return false;
        }
    };
    let begun = System::real().now();
    let mut sending = notes.fetching(granted.tag);
    let (leaf, sealed) = loop {
        let barred = how.barred.or(barred(granted));
        match send(recipient, &signed).await {
            Ok((leaf, sealed)) => {
                released(notes, granted, barred, &leaf);
                break (leaf, sealed);
            }
            Err(error) if leaves_open(&error) => sending.doubt(),
            Err(error) => {
                turned_down(world, granted, sending, &error, false);
                return false;
            }
        }
        if System::real().now().since(begun) > GIVE_UP_AFTER {
            return false;
        }
        sleep(PAUSE).await;
    };
    sending.released(leaf.record().result());
    if how.again {
        repeat(notes, (recipient, granted), &signed, &leaf, &sealed).await;
    }
    true
}

/// Why nothing may come of a fetch under this grant that is begun now.
fn barred(granted: &Granted) -> Option<&'static str> {
    granted.stopped.load(Ordering::SeqCst).then_some("its stop was acknowledged")
}

/// The same bytes bring the same bytes, under the same use number, or nothing.
async fn repeat(
    notes: &Notes,
    (recipient, granted): (&Brand, &Granted),
    signed: &Envelope,
    first: &ProvenLeaf,
    sealed: &Bytes,
) {
    let barred = barred(granted);
    match send(recipient, signed).await {
        Ok((leaf, same)) => {
            released(notes, granted, barred, &leaf);
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

async fn sign(
    recipient: &Brand,
    granted: &Granted,
    How { tap, optional, .. }: How,
) -> Result<Envelope, Error> {
    let system = System::real();
    let fields = FIELDS.into_iter().chain(optional.then_some(OPTIONAL)).chain(tap.map(|_| PLACE));
    let message = wire::Fetch {
        broker: ORIGIN.to_owned(),
        recipient: recipient.name().to_string(),
        terms: granted.name.digest().into(),
        purpose: PURPOSE.to_owned(),
        fields: fields.map(str::to_owned).collect(),
        request_id: system.draw_uuid(),
        time_ms: system.now().as_millis(),
        // Nobody opens what comes: any point of the curve will do.
        sealing_key: Bytes::from_static(&[9; 32]),
        checkpoint: ask(|| recipient.partner.monitor().for_signing()).await?,
        tap: tap.map(Into::into).unwrap_or_default(),
    };
    Ok(envelope::sign::<Fetch>(&message, &[&recipient.working]))
}

async fn send(recipient: &Brand, signed: &Envelope) -> Result<(ProvenLeaf, Bytes), Error> {
    let asked = FetchDataRequest { statement: Some(signed.clone()) };
    let answer = recipient.partner.connection().transfers().fetch_data(call(asked)).await?.into_inner();
    let leaf = ProvenLeaf::prove(answer.receipt.as_ref(), recipient.partner.monitor())?;
    Ok((leaf, answer.sealed_fields))
}

/// Notes a release, which must not come where it was barred before it was asked for, as after an acknowledged stop.
fn released(notes: &Notes, granted: &Granted, barred: Option<&str>, leaf: &ProvenLeaf) {
    notes.proven(leaf);
    if let Some(why) = barred {
        let (index, name) = (leaf.index(), &granted.name);
        notes.fault(format!("record {index}: data came under {name} after {why}"));
    }
    if leaf.record().grant_tag.as_ref() != granted.tag {
        notes.fault(format!("record {} is of another grant than {}", leaf.index(), granted.name));
    }
}

/// A refusal. The SDK may have tried before, and so may we: what became of that try is known only where the reason says
/// that there was no release, since a repeat is never refused for it.
fn turned_down(world: &World, granted: &Granted, sending: Sending, error: &Error, tried: bool) {
    said_no(&world.notes, "a fetch", error);
    let never_released =
        matches!(error.reason(), Some("FREQUENCY_EXCEEDED" | "REQUEST_ID_REUSED" | "FIELD_NOT_GRANTED"));
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
