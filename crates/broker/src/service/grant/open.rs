//! A customer looks at a request by its name: it is shown from then on, if it waited.
//!
//! Whoever opens a request herself, be it that her brand's own app sent her to it, waits for no turn, and spends nothing
//! of the budget: a brand that is good at sending people must not use up what all brands share. Its next turn comes as
//! if it had had this one.

use countersign_grants::{
    id::{CustomerName, RequestName},
    lifecycle,
};
use countersign_proto::v1::grant_request::State;

use super::answer::{customer, load};
use crate::{
    Broker, Fault, asking,
    caller::Party,
    work::{Work, settle},
};

/// Opens a request of this customer, if it waits. All that is answered has been shown.
pub(super) async fn open(broker: &Broker, opener: &CustomerName, name: &RequestName) -> Result<(), Fault> {
    settle("grant request", || attempt(broker, opener, name)).await
}

async fn attempt(broker: &Broker, opener: &CustomerName, name: &RequestName) -> Result<Option<()>, Fault> {
    let (read, request) = load(broker, &Party::Customer(opener.clone()), name).await?;
    let state = lifecycle::GrantRequest::from_row(&read.row, request.expire_time)?.at(broker.now()).state();
    // What has ended is past asking.
    if read.row.shown_time_ms > 0 || !matches!(state, State::Requested | State::Deferred) {
        return Ok(Some(()));
    }
    let key = customer(broker, &read.row).await?;
    let (before, asker) = asking::asker(broker, opener, &request.requester).await?;
    let mut work = Work::default();
    broker.expect_open(&mut work, &key).await?;
    let sides = (opener, &request.requester);
    asking::stands(broker, &mut work, sides, (before, asker.as_ref()), before.shown(broker.now()))?;
    asking::show(broker, &mut work, &key, (name, &request.requester, &read), true)?;
    Ok(broker.enter(work).await?.map(|_| ()))
}
