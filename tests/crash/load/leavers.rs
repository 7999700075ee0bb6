//! People who leave: each enters, keeps an authenticator, gives a grant that is fetched under, and closes the account, with
//! whatever the daemon's deaths cut in two. Of them nothing is asked for afterwards but what the log says.

use std::{sync::Arc, time::Duration};

use countersign_client::{
    Error, System,
    customer::{AuthenticatorSecret, Closing, Customer, CustomerBook, Wallet},
    receipt::ProvenLeaf,
};
use countersign_grants::{catalogue::FieldPath, id::RequestName};
use countersign_proto::log::v1::Kind;

use super::{ask, insist, people, refused, rest, said_no, transfers};
use crate::{
    brand::{FIELDS, leaves_open},
    notes::{Named, Notes, Sending},
    random::Random,
    world::{Granted, World},
};

/// How long the sides of a grant may take to hear of its stop before the account is closed all the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// One person after the other.
pub(crate) async fn run(world: Arc<World>, mut random: Random) {
    loop {
        rest(&mut random, 50, 400).await;
        world.may_begin().await;
        if let Err(error) = Box::pin(one(&world, &mut random)).await {
            said_no(&world.notes, "who leaves", &error);
        }
    }
}

async fn one(world: &World, random: &mut Random) -> Result<(), Error> {
    let notes = &world.notes;
    let Some(offered) = random.pick(&world.offers).cloned() else { return Ok(()) };
    let system = System::real();
    let book = CustomerBook::in_memory();
    let customer = Customer::open(world.trust.clone(), Wallet::draw(&system), book, system.clone())?;
    // By hand, so that the name is not among those that are asked for later.
    let mut sending = notes.sending(Kind::CustomerCreated);
    match insist(&mut sending, || customer.register()).await {
        Ok(_) => sending.done(None),
        Err(error) => {
            refused(notes, "a registration", sending, &error);
            return Err(error);
        }
    }
    let (first, second) = (AuthenticatorSecret::draw(&system), AuthenticatorSecret::draw(&system));
    proven(notes, Kind::AuthenticatorAdded, || customer.add_authenticator(&first, "telephone")).await?;
    if random.chance(1, 2) {
        proven(notes, Kind::AuthenticatorAdded, || customer.add_authenticator(&second, "key")).await?;
        proven(notes, Kind::AuthenticatorRemoved, || customer.remove_authenticator(first.id())).await?;
    }
    if random.chance(1, 4) {
        return close(notes, &customer, None).await;
    }

    let (source, recipient) = (&world.brands[offered.source], &world.brands[offered.recipient]);
    let source_subject = people::link(notes, &customer, &source.partner, None).await?;
    let recipient_subject = people::link(notes, &customer, &recipient.partner, None).await?;
    let request = people::request(notes, (recipient, &recipient_subject), &offered, None).await?;
    if random.chance(1, 2) {
        preview(notes, &customer, &request).await?;
    }
    let approved = people::approve(notes, &customer, &request, (None, random.chance(1, 2))).await?;
    let granted = Granted::new(customer.clone(), &offered, approved, source_subject);
    for _ in 0..random.below(3) {
        transfers::by_hand(world, &granted, false).await;
    }
    close(notes, &customer, Some((&request, &granted))).await
}

/// A change that is answered with its record; sent again with the same bytes until it is.
pub(super) async fn proven<F>(notes: &Notes, kind: Kind, attempt: impl FnMut() -> F) -> Result<(), Error>
where
    F: Future<Output = Result<ProvenLeaf, Error>>,
{
    let mut sending = notes.sending(kind);
    match insist(&mut sending, attempt).await {
        Ok(leaf) => {
            notes.proven(&leaf);
            sending.done(Some(leaf.index()));
            Ok(())
        }
        Err(error) => {
            refused(notes, "a change of authenticators", sending, &error);
            Err(error)
        }
    }
}

/// Each try is a preview of its own, and a source may be away: none is insisted on.
async fn preview(notes: &Notes, customer: &Customer, request: &RequestName) -> Result<(), Error> {
    let read = ask(|| customer.read_request(request)).await?;
    let fields: Vec<_> = FIELDS.iter().filter_map(|field| FieldPath::parse(field).ok()).collect();
    match customer.preview(&read, 1, &fields).await {
        Ok(previewed) => notes.proven(&previewed.receipt),
        Err(error) if leaves_open(&error) => {}
        Err(error) => said_no(notes, "a preview", &error),
    }
    Ok(())
}

/// Stops the grant and closes the account, and goes on until the broker says that it is closed, or knows nobody any more.
async fn close(
    notes: &Notes,
    customer: &Customer,
    given: Option<(&RequestName, &Granted)>,
) -> Result<(), Error> {
    // From here on nobody asks for what may be gone.
    for link in customer.book().links() {
        for gone in [Named::InvitedLink, Named::AcceptedLink, Named::ConfirmedLink] {
            notes.gone(gone(link.name.clone()));
        }
    }
    // Its stop orders to delete as well.
    let mut stops: Vec<Sending> = Vec::new();
    if let Some((request, granted)) = given {
        notes.gone(Named::Request(request.clone()));
        notes.gone(Named::Grant(granted.name.clone()));
        stops.extend([Kind::GrantWithdrawn, Kind::ErasureOrdered].map(|kind| notes.sending(kind)));
    }
    let mut sending = notes.sending(Kind::CustomerErased);
    let closed = insist(&mut sending, || customer.close_account(PATIENCE, true)).await;
    if sending.is_in_doubt() {
        stops.iter_mut().for_each(Sending::doubt);
    }
    match closed {
        Ok(Closing::Closed { receipt }) => {
            notes.proven(&receipt);
            sending.done(Some(receipt.index()));
        }
        // The answer was lost with the daemon, and the account with it.
        Ok(Closing::Unproven { stranger: true, .. }) if sending.is_in_doubt() => sending.found(),
        Ok(other) => notes.fault(format!("an account is not closed: {other:?}")),
        Err(error) => {
            refused(notes, "a closing", sending, &error);
            return Err(error);
        }
    }
    for stop in stops {
        stop.done(None);
    }
    Ok(())
}
