//! `DeferGrantRequest`, `RefuseGrantRequest`, `CancelGrantRequest`: the answers that make no grant.

use countersign_grants::{
    envelope,
    id::{CustomerName, RequestName},
    lifecycle,
    statement::GrantRequest,
};
use countersign_proto::{log::v1::Kind, row::v1::GrantRequestRow, v1};

use super::{open::open, request::happening, view};
use crate::{
    Broker, Caller, Fault, asking,
    broker::damaged,
    caller::Party,
    record::Happening,
    rows::{self, Loaded},
    service::fields,
    work::{Work, settle},
};

/// Who says what to a request.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// The customer puts it off.
    Defer,
    /// The customer refuses.
    Refuse,
    /// The requester takes it back.
    Cancel,
}

pub(super) async fn answer(
    broker: &Broker,
    caller: &Caller,
    name: &str,
    answer: Answer,
) -> Result<v1::GrantRequest, Fault> {
    let party = match answer {
        Answer::Defer | Answer::Refuse => Party::Customer(caller.customer()?.clone()),
        Answer::Cancel => Party::Partner(caller.partner()?.clone()),
    };
    let name = fields::name("name", name, RequestName::parse)?;
    if let Party::Customer(opener) = &party {
        open(broker, opener, &name).await?;
    }
    settle("grant request", || attempt(broker, &party, &name, answer)).await
}

async fn attempt(
    broker: &Broker,
    party: &Party,
    name: &RequestName,
    answer: Answer,
) -> Result<Option<v1::GrantRequest>, Fault> {
    let (read, request) = load(broker, party, name).await?;
    let (state, now) = (lifecycle::GrantRequest::from_row(&read.row, request.expire_time)?, broker.now());
    let (state, kind) = match answer {
        Answer::Defer => (state.defer(now), Kind::RequestDeferred),
        Answer::Refuse => (state.refuse(now), Kind::RequestRefused),
        Answer::Cancel => (state.cancel(now), Kind::RequestCancelled),
    };
    let state = state.map_err(|error| Fault::not_allowed(name, error))?;

    let mut row = read.row.clone();
    state.write_to(&mut row);
    let customer = customer(broker, &row).await?;
    let mut work = Work::default();
    work.update(&read, &row)?;
    broker.expect_open(&mut work, &customer).await?;
    if !matches!(answer, Answer::Defer) {
        work.delete(&rows::due().entry(request.expire_time.as_millis(), name.digest()));
        asking::end(&mut work, &customer.name, (name, &request.requester, &row))?;
    }
    if matches!(answer, Answer::Refuse) {
        let silence = broker.settings().asking.silence;
        let (before, asker) = asking::asker(broker, &customer.name, &request.requester).await?;
        let sides = (&customer.name, &request.requester);
        let after = before.refused(now, silence);
        asking::stands(broker, &mut work, sides, (before, asker.as_ref()), after)?;
        let by = (&customer.name, &request.subject);
        asking::answered(broker, &mut work, by, |asker| asker.refused(now, silence)).await?;
    }
    let evidence = [name.digest()];
    let happening = happening(kind, name, &request, &customer, &evidence);
    work.record(broker.draft(match answer {
        // That she put it off says that its turn had come.
        Answer::Defer => Happening { source: None, ..happening },
        Answer::Refuse | Answer::Cancel => Happening { unseen: row.shown_time_ms == 0, ..happening },
    }));
    match broker.enter(work).await? {
        Some(_) => view::request(broker, party, name, &row).await.map(Some),
        None => Ok(None),
    }
}

/// A request of this party; to everybody else it does not exist.
pub(in crate::service) async fn load(
    broker: &Broker,
    party: &Party,
    name: &RequestName,
) -> Result<(Loaded<GrantRequestRow>, GrantRequest), Fault> {
    let unknown = || Fault::ResourceUnknown { name: name.to_string() };
    let read = broker.load(rows::grant_request(name)).await?.ok_or_else(unknown)?;
    let request = envelope::peek::<GrantRequest>(read.row.statement.as_ref())
        .map_err(|error| damaged("grant request", &error))?;
    let its = match party {
        Party::Partner(partner) => request.requester == *partner,
        Party::Customer(customer) => read.row.customer == customer.as_str(),
    };
    if its { Ok((read, request)) } else { Err(unknown()) }
}

pub(super) async fn customer(
    broker: &Broker,
    row: &GrantRequestRow,
) -> Result<crate::record::CustomerKey, Fault> {
    let name = CustomerName::parse(&row.customer).map_err(|error| damaged("grant request", &error))?;
    broker.customer_key(&name).await
}
