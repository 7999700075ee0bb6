//! `AcceptLinkInvitation`: one use.

use countersign_grants::{
    envelope::{self, Signed},
    id::{CustomerName, LinkName},
    lifecycle,
    statement::LinkAcceptance,
    token::MAX_CLOCK_AHEAD,
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::LinkRow,
    v1::{AcceptLinkInvitationRequest, Link, link::State},
};

use super::{happening, load, partner, view};
use crate::{
    Broker, Caller, Fault, abandoned,
    caller::Party,
    rows,
    service::fields,
    work::{Work, settle},
};

const WHAT: &str = "link acceptance";

pub(super) async fn accept(
    broker: &Broker,
    caller: &Caller,
    request: AcceptLinkInvitationRequest,
) -> Result<Link, Fault> {
    let customer = caller.customer()?;
    let name = fields::name("name", &request.name, LinkName::parse)?;
    let statement = fields::required("statement", request.statement)?;
    let refused = |error| Fault::statement(WHAT, &error);
    // Signed by the key that it names: the partner pins that key once the code has opened.
    let claims = envelope::peek::<LinkAcceptance>(Some(&statement)).map_err(refused)?;
    let signed = envelope::verify::<LinkAcceptance>(Some(&statement), &[&claims.link_key], broker.origin())
        .map_err(refused)?;
    settle("link", || attempt(broker, customer, &name, &signed)).await
}

async fn attempt(
    broker: &Broker,
    customer: &CustomerName,
    name: &LinkName,
    signed: &Signed<LinkAcceptance>,
) -> Result<Option<Link>, Fault> {
    let read = load(broker, name).await?;
    let acceptance = signed.statement();
    if acceptance.invitation != name.digest() {
        return Err(Fault::says(WHAT, "invitation", "it accepts another invitation"));
    }
    if acceptance.time > broker.now().plus(MAX_CLOCK_AHEAD) {
        return Err(Fault::says(WHAT, "time", "it is from the future: set the clock"));
    }
    let same = read.row.acceptance.as_ref().is_some_and(|stored| stored.payload == signed.envelope().payload);
    if same && read.row.customer == customer.as_str() {
        return view(broker, name, &read.row).map(Some);
    }
    if CustomerName::of(acceptance.link_key.id()) == *customer {
        return Err(Fault::says(WHAT, "link_key", "a link takes a key of its own"));
    }
    decide(broker, customer, name, &read.row)?;

    let partner = partner(&read.row)?;
    let row = LinkRow {
        customer: customer.to_string(),
        acceptance: Some(signed.envelope().clone()),
        ..read.row.clone()
    };
    let key = broker.customer_key(customer).await?;
    let mut work = Work::default();
    work.update(&read, &row)?;
    let links = rows::links_of(&Party::Customer(customer.clone()));
    work.index(&links.entry(broker.now().as_millis(), name.digest()), name.as_str())?;
    broker.expect_open(&mut work, &key).await?;
    abandoned::keep(broker, &mut work, customer).await?;
    let evidence = [signed.digest()];
    let parties = (&partner, row.subject.as_str());
    work.record(broker.draft(happening(Kind::LinkAccepted, name, parties, Some(&key), &evidence)));
    match broker.enter(work).await? {
        Some(_) => view(broker, name, &row).map(Some),
        None => Ok(None),
    }
}

fn decide(broker: &Broker, customer: &CustomerName, name: &LinkName, row: &LinkRow) -> Result<(), Fault> {
    let state = lifecycle::Link::from_row(row)?;
    // Used comes before lapsed: whoever was forwarded an invitation shall learn that somebody took it.
    let used = [State::Accepted, State::Confirmed, State::Replaced, State::Stolen];
    if used.contains(&state.state()) {
        return Err(Fault::InvitationUsed { name: name.to_string() });
    }
    let lapsed = |_| Fault::InvitationExpired { name: name.to_string(), expire_time_ms: row.expire_time_ms };
    state.accept(customer.clone(), broker.now()).map(drop).map_err(lapsed)
}
