//! `ChangeGrants`: what ends or pauses all that a customer shares, in one call. Each change is entered, or refused, as if
//! it had come alone: one that fails keeps no other from its effect.

use std::collections::BTreeSet;

use countersign_proto::v1::{
    ChangeGrantRequest, ChangeGrantResponse, ChangeGrantsRequest, ChangeGrantsResponse,
    change_grants_response::Outcome,
};
use futures_util::future::join_all;
use tonic::Status;

use super::change;
use crate::{Broker, Caller, Fault};

/// The most changes in one call: each is some 900 bytes and a name, so that they are a third of the largest request, and
/// no person shares as much at a time.
const MAX_CHANGES_IN_CALL: usize = 64;

pub(super) async fn change(
    broker: &Broker,
    caller: &Caller,
    request: ChangeGrantsRequest,
) -> Result<ChangeGrantsResponse, Fault> {
    caller.customer()?;
    let changes = request.changes;
    if changes.is_empty() || changes.len() > MAX_CHANGES_IN_CALL {
        return Err(Fault::field("changes", format!("must be 1 to {MAX_CHANGES_IN_CALL}")));
    }
    let names: BTreeSet<&str> = changes.iter().map(|change| change.name.as_str()).collect();
    if names.len() != changes.len() {
        return Err(Fault::field("changes", "must each be of another grant"));
    }
    // Side by side, so that they share the log's commits.
    let outcomes = join_all(changes.into_iter().map(|one| entered(broker, caller, one))).await;
    Ok(ChangeGrantsResponse { outcomes })
}

async fn entered(broker: &Broker, caller: &Caller, one: ChangeGrantRequest) -> Outcome {
    let name = one.name.clone();
    match change::change(broker, caller, one).await {
        Ok(ChangeGrantResponse { receipt, .. }) => Outcome { name, receipt, ..Outcome::default() },
        Err(fault) => {
            let reason = fault.reason().to_owned();
            let status = Status::from(fault);
            let (code, message) = (status.code().into(), status.message().to_owned());
            Outcome { name, receipt: None, reason, code, message }
        }
    }
}
