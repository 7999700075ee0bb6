//! People: each enters, links with two partners, is asked, and approves, refuses or is let off.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use countersign_client::{
    Error, FileBook, Partner, System,
    channel::call,
    customer::{Choice, Customer, CustomerBook, Wallet},
};
use countersign_grants::{
    catalogue::FieldPath,
    envelope,
    id::{GrantName, RequestName, SubjectHandle},
    statement::{GrantRequest, GrantTerms},
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{CancelGrantRequestRequest, CreateGrantRequestRequest},
};
use tokio::{task::JoinSet, time::sleep};

use super::{PAUSE, ask, insist, refused, rest, said_no};
use crate::{
    brand::{Brand, OPTIONAL, leaves_open},
    notes::{Named, Notes, Tag},
    random::Random,
    rounds::ORIGIN,
    world::{Granted, Offered, World},
};

/// How long a request waits for its answer.
const LIFETIME: Duration = Duration::from_secs(600);

/// How many enter before the load begins: two full bundles and a part of the third.
const CROWD: u64 = 600;

/// How many of them do so at a time.
const AT_A_TIME: u64 = 16;

/// People who enter, and are heard of no more.
pub(crate) async fn crowd(world: &Arc<World>) -> Result<(), Error> {
    let mut entering = JoinSet::<Result<(), Error>>::new();
    for _ in 0..AT_A_TIME {
        let world = Arc::clone(world);
        entering.spawn(async move {
            for _ in 0..CROWD / AT_A_TIME {
                let system = System::real();
                let book = CustomerBook::in_memory();
                let customer = Customer::open(world.trust.clone(), Wallet::draw(&system), book, system)?;
                register(&world.notes, &customer).await?;
            }
            Ok(())
        });
    }
    while let Some(entered) = entering.join_next().await {
        entered.map_err(|stopped| Error::Unreachable { detail: stopped.to_string() })??;
    }
    Ok(())
}

/// One person after the other.
pub(crate) async fn run(world: Arc<World>, mut random: Random) {
    loop {
        world.may_begin().await;
        if let Err(error) = one(&world, &mut random).await {
            said_no(&world.notes, "a person", &error);
        }
        rest(&mut random, 5, 60).await;
    }
}

async fn one(world: &World, random: &mut Random) -> Result<(), Error> {
    let Some(offered) = random.pick(&world.offers).cloned() else { return Ok(()) };
    give(world, &offered, random).await
}

/// One person, who is asked with this offer.
pub(super) async fn give(world: &World, offered: &Offered, random: &mut Random) -> Result<(), Error> {
    let notes = &world.notes;
    let (source, recipient) = (&world.brands[offered.source], &world.brands[offered.recipient]);
    let customer = enter(world).await?;
    let source_subject = link(notes, &customer, &source.partner, None).await?;
    let recipient_subject = link(notes, &customer, &recipient.partner, None).await?;
    // Mostly the recipient asks, sometimes the source.
    let (requester, subject) =
        if random.chance(1, 4) { (source, &source_subject) } else { (recipient, &recipient_subject) };
    let request = request(notes, (requester, subject), offered, None).await?;
    match random.below(10) {
        0 => return refuse(notes, &customer, &request).await,
        1 => return cancel(notes, requester, &request).await,
        2 => defer(notes, &customer, &request).await?,
        _ => {}
    }
    let approved = approve(notes, &customer, &request, (None, random.chance(1, 2))).await?;
    let steady = offered.endless && !offered.located && random.chance(1, 2);
    let granted = Granted {
        steady,
        revisable: !steady && random.chance(1, 3),
        ..Granted::new(customer, offered, approved, source_subject)
    };
    world.add(granted, random);
    Ok(())
}

pub(super) async fn enter(world: &World) -> Result<Customer, Error> {
    let number = world.people.fetch_add(1, Ordering::Relaxed);
    let system = System::real();
    let path = world.folder.join(format!("person-{number}.book"));
    let book = FileBook::open(&path).and_then(CustomerBook::open).map_err(Error::Book)?;
    let customer = Customer::open(world.trust.clone(), Wallet::draw(&system), book, system)?;
    register(&world.notes, &customer).await?;
    Ok(customer)
}

pub(super) async fn register(notes: &Notes, customer: &Customer) -> Result<(), Error> {
    let mut sending = notes.sending(Kind::CustomerCreated);
    match insist(&mut sending, || customer.register()).await {
        Ok(_) => sending.done(None),
        Err(error) => {
            refused(notes, "a registration", sending, &error);
            return Err(error);
        }
    }
    notes.named(Named::Customer(customer.name().clone()));
    Ok(())
}

/// The whole ceremony, in the place of another link if there was one. An invitation that was not answered is given up;
/// all else is sent again with the same bytes.
pub(super) async fn link(
    notes: &Notes,
    customer: &Customer,
    partner: &Partner,
    replaced: Option<&SubjectHandle>,
) -> Result<SubjectHandle, Error> {
    let invited = loop {
        let mut sending = notes.sending(Kind::LinkInvited);
        let invited = match replaced {
            Some(replaced) => partner.invite_anew(replaced, "gold card").await,
            None => partner.invite("gold card").await,
        };
        match invited {
            Ok(invited) => {
                sending.done(None);
                break invited;
            }
            Err(error) if leaves_open(&error) => sending.doubt(),
            Err(error) => {
                refused(notes, "an invitation", sending, &error);
                return Err(error);
            }
        }
        sleep(PAUSE).await;
    };
    notes.named(Named::InvitedLink(invited.link.clone()));
    let mut sending = notes.sending(Kind::LinkAccepted);
    let accepted = match insist(&mut sending, || customer.accept(&invited.package)).await {
        Ok(accepted) => accepted,
        Err(error) => {
            refused(notes, "an acceptance", sending, &error);
            return Err(error);
        }
    };
    sending.done(None);
    notes.named(Named::AcceptedLink(invited.link.clone()));
    let mut sending = notes.sending(Kind::LinkConfirmed);
    let mut replacing = replaced.map(|_| notes.sending(Kind::LinkReplaced));
    let confirmed = insist(&mut sending, || partner.confirm(&invited.link, &accepted.code)).await;
    if let Some(replacing) = replacing.as_mut().filter(|_| sending.is_in_doubt()) {
        replacing.doubt();
    }
    match confirmed {
        Ok(_) => {
            for sending in [Some(sending), replacing].into_iter().flatten() {
                sending.done(None);
            }
        }
        Err(error) => {
            for sending in [Some(sending), replacing].into_iter().flatten() {
                refused(notes, "a confirmation", sending, &error);
            }
            return Err(error);
        }
    }
    notes.named(Named::ConfirmedLink(invited.link));
    Ok(invited.subject)
}

/// A request by hand, so that the same bytes can be sent again.
pub(super) async fn request(
    notes: &Notes,
    (requester, subject): (&Brand, &SubjectHandle),
    offered: &Offered,
    renews: Option<&GrantName>,
) -> Result<RequestName, Error> {
    let system = System::real();
    let checkpoint = ask(|| requester.partner.monitor().for_signing()).await?;
    let message = wire::GrantRequest {
        broker: ORIGIN.to_owned(),
        requester: requester.name().to_string(),
        subject: subject.as_str().to_owned(),
        rows: vec![wire::RequestedRow {
            offer: offered.name.digest().into(),
            optional: false,
            renews: renews.map(|renews| renews.digest().into()).unwrap_or_default(),
        }],
        expire_time_ms: system.now().plus(LIFETIME).as_millis(),
        time_ms: system.now().as_millis(),
        nonce: system.draw::<16>().to_vec().into(),
        checkpoint,
    };
    let signed = envelope::sign::<GrantRequest>(&message, &[&requester.working]);
    let name = RequestName::of(envelope::digest(&signed));
    let mut sending = notes.sending(Kind::RequestCreated);
    let connection = requester.partner.connection();
    let put = || async {
        let asked = CreateGrantRequestRequest { statement: Some(signed.clone()) };
        Ok(connection.grants().create_grant_request(call(asked)).await?)
    };
    match insist(&mut sending, put).await {
        Ok(_) => sending.done(None),
        Err(error) => {
            refused(notes, "a request", sending, &error);
            return Err(error);
        }
    }
    notes.named(Named::Request(name.clone()));
    Ok(name)
}

async fn refuse(notes: &Notes, customer: &Customer, request: &RequestName) -> Result<(), Error> {
    let mut sending = notes.sending(Kind::RequestRefused);
    match insist(&mut sending, || customer.refuse(request)).await {
        Ok(()) => sending.done(None),
        // A try before was not answered, and had been done.
        Err(error) if sending.is_in_doubt() && error.reason() == Some("WRONG_STATE") => sending.found(),
        Err(error) => {
            refused(notes, "a refusal", sending, &error);
            return Err(error);
        }
    }
    notes.named(Named::RefusedRequest(request.clone()));
    Ok(())
}

async fn cancel(notes: &Notes, requester: &Brand, request: &RequestName) -> Result<(), Error> {
    let mut sending = notes.sending(Kind::RequestCancelled);
    let connection = requester.partner.connection();
    let take_back = || async {
        let asked = CancelGrantRequestRequest { name: request.to_string() };
        Ok(connection.grants().cancel_grant_request(call(asked)).await?)
    };
    match insist(&mut sending, take_back).await {
        Ok(_) => sending.done(None),
        Err(error) if sending.is_in_doubt() && error.reason() == Some("WRONG_STATE") => sending.found(),
        Err(error) => {
            refused(notes, "a cancellation", sending, &error);
            return Err(error);
        }
    }
    notes.named(Named::CancelledRequest(request.clone()));
    Ok(())
}

async fn defer(notes: &Notes, customer: &Customer, request: &RequestName) -> Result<(), Error> {
    let mut sending = notes.sending(Kind::RequestDeferred);
    match insist(&mut sending, || customer.defer(request)).await {
        Ok(()) => sending.done(None),
        Err(error) if sending.is_in_doubt() && error.reason() == Some("WRONG_STATE") => sending.found(),
        Err(error) => {
            refused(notes, "a deferral", sending, &error);
            return Err(error);
        }
    }
    Ok(())
}

/// Approves the request's one row, which may renew a grant, with or without the field that can be left out. Each try signs terms of its own, so after one without an
/// answer the broker is asked which of them stand: that one, or none.
pub(super) async fn approve(
    notes: &Notes,
    customer: &Customer,
    request: &RequestName,
    (renews, chosen): (Option<(&GrantName, Tag)>, bool),
) -> Result<(GrantName, Tag, bool), Error> {
    let read = ask(|| customer.read_request(request)).await?;
    let optional = FieldPath::parse(OPTIONAL).ok().filter(|_| chosen);
    let choice =
        optional.into_iter().fold(Choice::required("en"), |choice, field| choice.with_field(1, field));
    let mut sending = notes.sending(Kind::GrantApproved);
    let mut ending = renews.map(|(old, tag)| (notes.sending(Kind::GrantSuperseded), old, tag));
    // What narrowings leave of it meanwhile stands in other places.
    let previous = renews.map(|(old, _)| old.digest());
    let of_it = |terms: &GrantTerms| terms.request == request.digest() && terms.previous == previous;
    loop {
        let before: HashSet<GrantName> = customer.book().grants().into_iter().map(|row| row.name).collect();
        let error = match customer.approve(&read, &choice).await {
            Ok(approved) => {
                let Some(one) = approved.first() else { continue };
                notes.proven(&one.receipt);
                let index = one.receipt.index();
                sending.done(Some(index));
                if let Some((ending, old, tag)) = ending {
                    // It is the record before.
                    notes.stopped(tag, index - 1);
                    notes.named(Named::SupersededGrant(old.clone()));
                    ending.done(Some(index - 1));
                }
                notes.named(Named::Grant(one.grant.clone()));
                return Ok((one.grant.clone(), one.terms.log_tag, chosen));
            }
            Err(error) => error,
        };
        if !leaves_open(&error) {
            for sending in [Some(sending), ending.map(|(ending, ..)| ending)].into_iter().flatten() {
                refused(notes, "an approval", sending, &error);
            }
            return Err(error);
        }
        sending.doubt();
        if let Some((ending, ..)) = &mut ending {
            ending.doubt();
        }
        let views = ask(|| customer.grants()).await?;
        let mut new =
            views.into_iter().filter(|view| !before.contains(&view.row.name) && view.state.is_some());
        if let Some(view) = new.find(|view| of_it(&view.row.terms)) {
            sending.found();
            if let Some((ending, old, _)) = ending {
                notes.named(Named::SupersededGrant(old.clone()));
                ending.found();
            }
            notes.named(Named::Grant(view.row.name.clone()));
            return Ok((view.row.name, view.row.terms.log_tag, chosen));
        }
    }
}
