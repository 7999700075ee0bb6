//! People who see to their own: each adds and removes authenticators, sets how she is asked, gives grants, and stops all
//! of them at once while data comes under them.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use countersign_client::{
    Error, System,
    customer::{All, AuthenticatorSecret, Customer, fetch_wallet},
};
use countersign_grants::id::SubjectHandle;
use countersign_proto::{
    log::v1::Kind,
    v1::{Asking, QuietHours},
};
use tokio::time::sleep;

use super::{
    PAUSE, ask, changes::TRIES_AFTER_STOP, insist, leavers::proven, people, refused, rest, said_no, transfers,
};
use crate::{
    brand::leaves_open,
    notes::{Named, Notes, Sending},
    random::Random,
    world::{Granted, World},
};

/// The zones in which people set their quiet hours; the first is the one of whoever names none.
const ZONES: [&str; 3] = ["", "Asia/Singapore", "America/New_York"];

const MINUTES_A_DAY: u64 = 24 * 60;

/// One person after the other.
pub(crate) async fn run(world: Arc<World>, mut random: Random) {
    loop {
        rest(&mut random, 20, 200).await;
        world.may_begin().await;
        if let Err(error) = Box::pin(one(&world, &mut random)).await {
            said_no(&world.notes, "who sees to her own", &error);
        }
    }
}

async fn one(world: &World, random: &mut Random) -> Result<(), Error> {
    let customer = people::enter(world).await?;
    devices(world, &customer, random).await?;
    for _ in 0..=random.below(3) {
        set(&world.notes, &customer, random).await?;
    }
    let given = give(world, &customer, random).await?;
    set(&world.notes, &customer, random).await?;
    let stopping = stop_all(world, &customer, &given, random.chance(1, 3));
    let fetching = async {
        for granted in given.iter().cycle().take(2 * given.len()) {
            transfers::by_hand(world, granted, false).await;
        }
    };
    tokio::join!(stopping, fetching);
    for granted in &given {
        for _ in 0..TRIES_AFTER_STOP {
            transfers::by_hand(world, granted, false).await;
        }
    }
    Ok(())
}

/// Two authenticators, of which the first may go again. By the one that stays alone she is found.
async fn devices(world: &World, customer: &Customer, random: &mut Random) -> Result<(), Error> {
    let (notes, system) = (&world.notes, System::real());
    let (first, second) = (AuthenticatorSecret::draw(&system), AuthenticatorSecret::draw(&system));
    let mut left = Vec::new();
    for (secret, label) in [(&first, "telephone"), (&second, "key")] {
        proven(notes, Kind::AuthenticatorAdded, || customer.add_authenticator(secret, label)).await?;
        notes.named(Named::Device(secret.id()));
        left.push(secret.id());
    }
    if random.chance(1, 2) {
        notes.gone(Named::Device(first.id()));
        proven(notes, Kind::AuthenticatorRemoved, || customer.remove_authenticator(first.id())).await?;
        notes.named(Named::RemovedDevice(first.id()));
        left.remove(0);
    }
    let devices = ask(|| customer.devices()).await?;
    let mut found: Vec<_> = devices.into_iter().map(|device| device.authenticator).collect();
    found.sort_unstable();
    left.sort_unstable();
    let wallet = ask(|| fetch_wallet(&world.trust, &second, &system)).await?;
    if found != left || wallet.customer() != customer.name() {
        let (name, opened) = (customer.name(), wallet.customer());
        notes.fault(format!("{name} has the authenticators {left:?}, and is told {found:?} of {opened}"));
    }
    Ok(())
}

/// Sets how she is asked to something else, which is a record, and is told so.
async fn set(notes: &Notes, customer: &Customer, random: &mut Random) -> Result<(), Error> {
    let before = ask(|| customer.profile()).await?.asking.unwrap_or_default();
    let asking = another(&before, random);
    notes.sets_asking(customer.name(), asking.clone());
    let mut sending = notes.sending(Kind::AskingChanged);
    match insist(&mut sending, || customer.set_asking(asking.clone())).await {
        Ok(_) => sending.done(None),
        Err(error) => {
            refused(notes, "a setting", sending, &error);
            return Err(error);
        }
    }
    notes.has_set_asking(customer.name());
    let found = ask(|| customer.profile()).await?.asking.unwrap_or_default();
    if found != asking {
        notes.fault(format!("{} set {asking:?}, and is asked as {found:?}", customer.name()));
    }
    Ok(())
}

/// Something that the settings are not yet.
fn another(before: &Asking, random: &mut Random) -> Asking {
    let small = |number: u64| u32::try_from(number).unwrap_or_default();
    let per_day = (before.per_day + 1 + small(random.below(9))) % 10 + 1;
    let from = random.below(MINUTES_A_DAY);
    let until = (from + 1 + random.below(MINUTES_A_DAY - 1)) % MINUTES_A_DAY;
    let quiet = QuietHours { from_minute: small(from), until_minute: small(until) };
    Asking {
        time_zone: random.pick(&ZONES).map(|zone| (*zone).to_owned()).unwrap_or_default(),
        quiet_hours: random.chance(1, 2).then_some(quiet),
        per_day,
        per_week: 1 + small(random.below(30)),
        paused: random.chance(1, 4),
    }
}

/// Two or three grants, under which she is linked with each side once.
async fn give(world: &World, customer: &Customer, random: &mut Random) -> Result<Vec<Granted>, Error> {
    let notes = &world.notes;
    let mut links = BTreeMap::<usize, SubjectHandle>::new();
    let mut given = Vec::new();
    let offers: Vec<_> = world.offers.iter().filter(|offered| offered.endless).collect();
    for _ in 0..2 + random.below(2) {
        let Some(offered) = random.pick(&offers).copied() else { continue };
        for side in [offered.source, offered.recipient] {
            if !links.contains_key(&side) {
                let subject = people::link(notes, customer, &world.brands[side].partner, None).await?;
                links.insert(side, subject);
            }
        }
        let recipient = (&world.brands[offered.recipient], &links[&offered.recipient]);
        let request = people::request(notes, recipient, offered, None).await?;
        let approved = people::approve(notes, customer, &request, (None, random.chance(1, 2))).await?;
        let source_subject = links[&offered.source].clone();
        given.push(Granted::new(customer.clone(), offered, approved, source_subject));
    }
    Ok(given)
}

/// One grant's stop, until it is acknowledged.
struct Stop<'a> {
    granted: &'a Granted,
    calls: Vec<Sending>,
}

/// Stops all until every stop is acknowledged; from its own on nothing comes under a grant. Nobody else changes these.
async fn stop_all(world: &World, customer: &Customer, given: &[Granted], erase: bool) {
    let notes = &world.notes;
    let kinds = [Some(Kind::GrantWithdrawn), erase.then_some(Kind::ErasureOrdered)];
    let calls = || kinds.iter().flatten().map(|kind| notes.sending(*kind)).collect();
    let mut left: Vec<_> = given.iter().map(|granted| Stop { granted, calls: calls() }).collect();
    loop {
        let All { each, list } = customer.stop_all(erase).await;
        if let Some(error) = list.filter(|error| !leaves_open(error)) {
            return notes.fault(format!("all are stopped, and their list is wrong: {error}"));
        }
        for (name, came) in each {
            let Some(at) = left.iter().position(|stop| stop.granted.name == name) else {
                // What was signed and never came to stand, by a daemon that died over it, is stopped too, and refused.
                match came {
                    Ok(_) => return notes.fault(format!("{name} is stopped, and was never given")),
                    Err(error) => said_no(notes, "a stop of what never stood", &error),
                }
                continue;
            };
            match came {
                Ok(recorded) => {
                    let Stop { granted, calls } = left.swap_remove(at);
                    granted.stopped.store(true, Ordering::SeqCst);
                    notes.proven(recorded.receipt());
                    let index = Some(recorded.receipt().index());
                    calls.into_iter().for_each(|sending| sending.done(index));
                    notes.named(Named::StoppedGrant(name));
                }
                Err(error) if leaves_open(&error) => left[at].calls.iter_mut().for_each(Sending::doubt),
                Err(error) => return notes.fault(format!("{name} is not stopped with all others: {error}")),
            }
        }
        if left.is_empty() {
            return;
        }
        sleep(PAUSE).await;
    }
}
