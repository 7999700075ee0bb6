//! `CloseCustomer`: the customer's signed word that the account is to go, for good.
//!
//! The first commit destroys the data key, and says so: from here on no private part about the customer opens, and no
//! token of theirs counts. What it leaves are rows, which the closed customer's row leads to; they go in the commits
//! after it, in this call as far as there is time, and else by the sweeper. The other way round, a crash would leave an
//! account half gone whose private parts still open, and whose rows nothing leads to.

use std::time::Duration;

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    envelope::{self, Signed},
    id::{CustomerName, GrantName},
    key::PublicKey,
    lifecycle,
    statement::AccountClosure,
    time::Timestamp,
};
use countersign_proto::{
    row::v1::CustomerRow,
    v1::{CloseCustomerRequest, CloseCustomerResponse},
};

use crate::{
    Broker, Caller, Fault, agenda,
    broker::{damaged, stranger},
    caller::Party,
    erasing,
    private::DataKeyId,
    record::Entered,
    rows,
    service::fields,
    work::{Work, settle},
};

const WHAT: &str = "account closure";

/// How far the closure's time may lie from ours, in either direction: as for an approval, so that it is not kept to be
/// used later.
const MAX_CLOSURE_AGE: Duration = Duration::from_secs(120);

/// Grants that are looked at together.
const PAGE: usize = 256;

/// The most units of rows that are removed before the answer: some tens of thousands of rows, and under a second.
const UNITS_IN_THE_CALL: usize = 64;

pub(super) async fn close(
    broker: &Broker,
    caller: &Caller,
    request: CloseCustomerRequest,
) -> Result<CloseCustomerResponse, Fault> {
    close_within(broker, caller, request, UNITS_IN_THE_CALL).await
}

/// Closes the account, and removes its rows in at most so many units.
pub(in crate::service) async fn close_within(
    broker: &Broker,
    caller: &Caller,
    request: CloseCustomerRequest,
    units: usize,
) -> Result<CloseCustomerResponse, Fault> {
    let customer = caller.customer()?;
    let name = fields::name("name", &request.name, CustomerName::parse)?;
    if name != *customer {
        return Err(Fault::CallerNotAllowed { needs: "the customer itself" });
    }
    let statement = fields::required("statement", request.statement)?;
    let entered = settle("customer", || attempt(broker, &name, &statement)).await?;
    // The account is closed, whatever becomes of this: the sweeper goes on where it ends.
    if let Err(fault) = erasing::erase(broker, &name, units).await {
        tracing::warn!(%fault, "the rows of a closed account are left to the sweeper");
    }
    Ok(CloseCustomerResponse { receipt: Some(entered.for_party(&Party::Customer(name))) })
}

async fn attempt(
    broker: &Broker,
    name: &CustomerName,
    statement: &countersign_proto::statement::v1::Envelope,
) -> Result<Option<Entered>, Fault> {
    let read = broker.load(rows::customer(name)).await?;
    let read = read.filter(|read| read.row.close_time_ms == 0).ok_or_else(stranger)?;
    let key = PublicKey::from_slice(&read.row.public_key).map_err(|error| damaged("customer", &error))?;
    let signed = envelope::verify::<AccountClosure>(Some(statement), &[&key], broker.origin())
        .map_err(|error| Fault::statement(WHAT, &error))?;
    says(broker, name, &signed)?;
    nothing_stands(broker, name).await?;

    let now = broker.now().as_millis();
    let id = DataKeyId::of(&read.row.wrapped_data_key);
    let row = CustomerRow {
        wrapped_data_key: Bytes::new(),
        close_time_ms: now,
        erased_data_key: Bytes::copy_from_slice(&id.0),
        ..read.row.clone()
    };
    let mut work = Work::default();
    // An approval writes this row anew: one that came since the grants were looked at is a conflict.
    work.update(&read, &row)?;
    work.delete(&rows::data_key(id));
    let digest = Digest::of(name.as_str().as_bytes());
    let left = rows::closed_customers().entry(now, digest);
    work.index(&left, name.as_str())?;
    work.look_at(agenda::REMOVED.entry(Timestamp::from_millis(now), digest, ""));
    work.record(broker.draft_erased(name, id, signed.digest()));
    let Some(mut entered) = broker.enter(work).await? else { return Ok(None) };
    entered.pop().map(Some).ok_or(Fault::Bug { what: "a closing was entered without a record" })
}

fn says(broker: &Broker, name: &CustomerName, signed: &Signed<AccountClosure>) -> Result<(), Fault> {
    let (says, now) = (signed.statement(), broker.now());
    if says.customer != *name {
        return Err(Fault::says(WHAT, "customer", "it closes another account"));
    }
    if says.time.distance(now) > MAX_CLOSURE_AGE {
        return Err(Fault::says(WHAT, "time", format!("it says {}, and it is {now}: sign again", says.time)));
    }
    Ok(())
}

/// A grant ends by a stop that its source and its recipient can verify, which takes the keys of their links: so each is
/// stopped first, and this call takes nobody's place in it.
async fn nothing_stands(broker: &Broker, name: &CustomerName) -> Result<(), Fault> {
    let (index, mut after) = (rows::grants_of(&Party::Customer(name.clone())), None);
    loop {
        let page = index.load(broker.store(), after.as_deref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (_, name) in &page {
            let name = GrantName::parse(name).map_err(|error| damaged("grant index", &error))?;
            let grant = broker.grant(&name).await?;
            let grant = grant.ok_or_else(|| damaged("grant index", &"a grant is missing"))?;
            let state = grant.state(broker.now())?;
            if !matches!(state, lifecycle::Grant::Ended(_)) {
                let state = state.state().as_str_name().trim_start_matches("STATE_").to_owned();
                let verb = "close the account of the customer that gave";
                return Err(Fault::WrongState { name: name.to_string(), state, verb });
            }
        }
    }
}
