//! People whose root secret is stolen: each enters, gives a grant, reports the theft, and links anew in the place of the
//! old links with another root secret.

use std::sync::{Arc, atomic::Ordering};

use countersign_client::{
    Error, System,
    customer::{Customer, CustomerBook, Report, Stolen, Wallet},
};
use countersign_grants::id::GrantName;
use countersign_proto::log::v1::Kind;
use tokio::time::sleep;

use super::{PAUSE, ask, changes::TRIES_AFTER_STOP, people, rest, said_no, transfers};
use crate::{
    brand::leaves_open,
    notes::{Named, Notes, Sending},
    random::Random,
    world::{Granted, World},
};

/// One person after the other.
pub(crate) async fn run(world: Arc<World>, mut random: Random) {
    loop {
        rest(&mut random, 50, 400).await;
        world.may_begin().await;
        if let Err(error) = Box::pin(one(&world, &mut random)).await {
            said_no(&world.notes, "whose secret is stolen", &error);
        }
    }
}

async fn one(world: &World, random: &mut Random) -> Result<(), Error> {
    let notes = &world.notes;
    let Some(offered) = random.pick(&world.offers).cloned() else { return Ok(()) };
    let customer = enter(world, Wallet::draw(&System::real())).await?;
    let (source, recipient) = (&world.brands[offered.source], &world.brands[offered.recipient]);
    let source_subject = people::link(notes, &customer, &source.partner, None).await?;
    let recipient_subject = people::link(notes, &customer, &recipient.partner, None).await?;
    let request = people::request(notes, (recipient, &recipient_subject), &offered, None).await?;
    let approved = people::approve(notes, &customer, &request, (None, random.chance(1, 2))).await?;
    let granted = Granted::new(customer.clone(), &offered, approved, source_subject);
    for _ in 0..random.below(3) {
        transfers::by_hand(world, &granted, false).await;
    }
    let wallet = report(notes, &customer, &granted.name, random.chance(1, 3)).await?;
    granted.stopped.store(true, Ordering::SeqCst);
    for _ in 0..TRIES_AFTER_STOP {
        transfers::by_hand(world, &granted, false).await;
    }
    match ask(|| customer.grants()).await {
        Err(error) if error.reason() == Some("CUSTOMER_STOLEN") => {}
        other => notes.fault(format!("{} reported a theft, and is told {other:?}", customer.name())),
    }
    let customer = enter(world, wallet).await?;
    people::link(notes, &customer, &source.partner, Some(&granted.source_subject)).await?;
    people::link(notes, &customer, &recipient.partner, Some(&recipient_subject)).await?;
    Ok(())
}

async fn enter(world: &World, wallet: Wallet) -> Result<Customer, Error> {
    let customer = Customer::open(world.trust.clone(), wallet, CustomerBook::in_memory(), System::real())?;
    people::register(&world.notes, &customer).await?;
    Ok(customer)
}

/// Reports until the report is known to stand. The new root secret is of whichever try came through.
async fn report(notes: &Notes, customer: &Customer, grant: &GrantName, erase: bool) -> Result<Wallet, Error> {
    let links = customer.book().links();
    let mut stop = vec![notes.sending(Kind::GrantWithdrawn)];
    stop.extend(erase.then(|| notes.sending(Kind::ErasureOrdered)));
    let mut report = vec![notes.sending(Kind::CustomerStolen)];
    report.extend(links.iter().map(|_| notes.sending(Kind::LinkStolen)));
    let wallet = loop {
        let Stolen { wallet, stopped, not_stopped, report: known, .. } =
            customer.report_stolen(erase).await?;
        if stopped.contains(grant) {
            stop.drain(..).for_each(|sending| sending.done(None));
        }
        // Without an answer it may stand, and whether it does is said by nobody once the report stands.
        if !not_stopped.is_empty() {
            stop.iter_mut().for_each(Sending::doubt);
        }
        match known {
            Report::Recorded(proof) => {
                notes.proven(&proof);
                report.drain(..).for_each(|sending| sending.done(None));
                break wallet;
            }
            // A try before was not answered.
            Report::RecordedBefore { .. } | Report::BrokersWord if report[0].is_in_doubt() => {
                report.drain(..).for_each(Sending::found);
                break wallet;
            }
            Report::NotProven(error) if leaves_open(&error) => report.iter_mut().for_each(Sending::doubt),
            other => {
                notes.fault(format!("a theft is not recorded: {other:?}"));
                return Ok(wallet);
            }
        }
        sleep(PAUSE).await;
    };
    if !stop.is_empty() {
        // Where it is not stopped, one of its sides ends it when the person links anew.
        drop(notes.sending(Kind::GrantRevoked));
    }
    notes.named(Named::StolenCustomer(customer.name().clone()));
    for link in links {
        notes.named(Named::StolenLink(link.name));
    }
    Ok(wallet)
}
