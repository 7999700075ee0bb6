//! Stops, pauses, resumptions and narrowings by customers, and change notices by sources.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use countersign_client::{
    Error,
    customer::{Narrowing, Recorded},
};
use countersign_grants::{catalogue::FieldPath, id::GrantName};
use countersign_proto::log::v1::Kind;

use super::{insist, refused, rest, said_no, transfers};
use crate::{
    brand::{OPTIONAL, leaves_open},
    notes::{Named, Notes, Tag},
    random::Random,
    world::{Granted, World},
};

/// Fetches after an acknowledged stop, each of which must be refused.
pub(super) const TRIES_AFTER_STOP: usize = 2;

/// One change after the other.
pub(crate) async fn run(world: Arc<World>, mut random: Random) {
    loop {
        rest(&mut random, 40, 300).await;
        world.may_begin().await;
        let Some(granted) = world.any(&mut random) else { continue };
        if granted.steady {
            notice(&world, &granted).await;
        } else if granted.revisable && random.chance(1, 2) {
            Box::pin(narrow(&world, &granted, &mut random)).await;
        } else if random.chance(1, 2) {
            let erase = random.chance(1, 3);
            stop(&world, &granted, erase).await;
        } else if pause(&world.notes, &granted).await {
            rest(&mut random, 5, 40).await;
            resume(&world.notes, &granted).await;
        }
    }
}

/// Stops a grant; from the acknowledgement on nothing comes under it. One that has ended meanwhile, by its last use or by
/// another stop, can still be ordered to be deleted: then that is what the record says.
async fn stop(world: &World, granted: &Granted, erase: bool) {
    let notes = &world.notes;
    let mut stopped = notes.sending(Kind::GrantWithdrawn);
    let mut ordered = erase.then(|| notes.sending(Kind::ErasureOrdered));
    let came = insist(&mut stopped, || granted.customer.stop(&granted.name, erase)).await;
    if let Some(ordered) = ordered.as_mut().filter(|_| stopped.is_in_doubt()) {
        ordered.doubt();
    }
    match came {
        Ok(recorded) => {
            granted.stopped.store(true, Ordering::SeqCst);
            notes.proven(recorded.receipt());
            let index = Some(recorded.receipt().index());
            if recorded.receipt().record().kind() == Kind::GrantWithdrawn {
                stopped.done(index);
                // Somebody may have narrowed it meanwhile: then the revision in its place is what was stopped.
                notes.named(Named::StoppedGrant(recorded.grant().clone()));
            } else {
                stopped.undone();
            }
            if let Some(ordered) = ordered {
                ordered.done(index);
            }
        }
        Err(error) => {
            if let Some(ordered) = ordered {
                refused(notes, "a stop", ordered, &error);
            }
            refused(notes, "a stop", stopped, &error);
        }
    }
    world.retire(&granted.name);
    for _ in 0..TRIES_AFTER_STOP {
        transfers::by_hand(world, granted, false).await;
    }
}

/// Takes a second off what is left of a grant, or the field that could have been left out: from the proof on nothing comes under the old terms, and the new ones
/// stand in their place.
async fn narrow(world: &World, granted: &Granted, random: &mut Random) {
    let notes = &world.notes;
    let Some(row) = granted.customer.book().grant(&granted.name) else { return };
    let optional = FieldPath::parse(OPTIONAL).ok().filter(|_| granted.chosen && random.chance(1, 2));
    let narrowing = match optional {
        Some(field) => Narrowing::default().without_field(field),
        None => Narrowing::default().until(row.terms.expire_time.minus(Duration::from_secs(1))),
    };
    let mut ended = notes.sending(Kind::GrantSuperseded);
    let mut began = notes.sending(Kind::GrantApproved);
    let came = insist(&mut ended, || granted.customer.narrow(&granted.name, &narrowing)).await;
    if ended.is_in_doubt() {
        began.doubt();
    }
    let narrowed = match came {
        Ok(narrowed) => narrowed,
        Err(error) => {
            refused(notes, "a narrowing", ended, &error);
            return refused(notes, "a narrowing", began, &error);
        }
    };
    taken(notes, ended, &narrowed.recorded);
    began.done(Some(narrowed.record));
    notes.named(Named::SupersededGrant(narrowed.recorded.grant().clone()));
    notes.named(Named::Grant(narrowed.grant.clone()));
    let fields = &narrowed.terms.fields;
    let successor = Successor {
        name: narrowed.grant,
        tag: narrowed.terms.log_tag,
        located: fields.iter().any(FieldPath::needs_tap),
        chosen: fields.iter().any(|field| field.as_str() == OPTIONAL),
    };
    give_way(world, granted, successor, random).await;
}

/// What stands in the place of a grant.
pub(super) struct Successor {
    pub(super) name: GrantName,
    pub(super) tag: Tag,
    pub(super) located: bool,
    pub(super) chosen: bool,
}

/// From the proof of what stands now on, nothing comes under what it stands in the place of.
pub(super) async fn give_way(
    world: &World,
    old: &Granted,
    Successor { name, tag, located, chosen }: Successor,
    random: &mut Random,
) {
    old.stopped.store(true, Ordering::SeqCst);
    world.retire(&old.name);
    for _ in 0..TRIES_AFTER_STOP {
        transfers::by_hand(world, old, false).await;
    }
    let successor = Granted {
        name,
        tag,
        source: old.source,
        recipient: old.recipient,
        customer: old.customer.clone(),
        source_subject: old.source_subject.clone(),
        steady: false,
        revisable: true,
        located,
        chosen,
        stopped: AtomicBool::new(false),
    };
    world.add(successor, random);
}

async fn pause(notes: &Notes, granted: &Granted) -> bool {
    let mut sending = notes.sending(Kind::GrantPaused);
    match insist(&mut sending, || granted.customer.pause(&granted.name)).await {
        Ok(recorded) => {
            taken(notes, sending, &recorded);
            true
        }
        Err(error) => {
            refused(notes, "a pause", sending, &error);
            false
        }
    }
}

async fn resume(notes: &Notes, granted: &Granted) {
    let mut sending = notes.sending(Kind::GrantResumed);
    match insist(&mut sending, || granted.customer.resume(&granted.name)).await {
        Ok(recorded) => taken(notes, sending, &recorded),
        Err(error) => refused(notes, "a resumption", sending, &error),
    }
}

fn taken(notes: &Notes, sending: crate::notes::Sending, recorded: &Recorded) {
    notes.proven(recorded.receipt());
    sending.done(Some(recorded.receipt().index()));
}

/// A notice of a subject with one standing grant, which is one record. A second try would be a second notice, so one
/// without an answer is given up.
async fn notice(world: &World, granted: &Granted) {
    let notes = &world.notes;
    let source = &world.brands[granted.source].partner;
    let mut sending = notes.sending(Kind::ChangeNotice);
    match source.notify_change(&granted.source_subject, "trip").await {
        Ok(()) => sending.done(None),
        Err(error) if leaves_open(&error) => sending.doubt(),
        Err(error @ Error::Refused(_)) => refused(notes, "a notice", sending, &error),
        Err(error) => said_no(notes, "a notice", &error),
    }
}
