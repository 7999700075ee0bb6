//! `VetPartner`, `ApprovePartner`: two operators let a partner in.

use countersign_grants::{
    id::{OperatorName, PartnerName},
    lifecycle::{self, NotApproved},
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::PartnerRow,
    v1::{ApprovePartnerRequest, Partner, VetPartnerRequest},
};

use super::change;
use crate::{Broker, Caller, Fault, service::fields, work::settle};

/// Who vouches for it now.
type Verb = fn(lifecycle::Partner, &OperatorName, &PartnerName) -> Result<lifecycle::Partner, Fault>;

pub(super) async fn vet(
    broker: &Broker,
    caller: &Caller,
    request: VetPartnerRequest,
) -> Result<Partner, Fault> {
    let operator = caller.operator()?;
    let name = fields::name("name", &request.name, PartnerName::parse)?;
    let verb: Verb = |state, by, name| state.vet(by).map_err(|error| Fault::not_allowed(name, error));
    settle("partner", || attempt(broker, caller, (&name, operator), verb, Kind::PartnerVetted)).await
}

pub(super) async fn approve(
    broker: &Broker,
    caller: &Caller,
    request: ApprovePartnerRequest,
) -> Result<Partner, Fault> {
    let operator = caller.operator()?;
    let name = fields::name("name", &request.name, PartnerName::parse)?;
    let verb: Verb = |state, by, name| {
        state.approve(by).map_err(|error| match error {
            NotApproved::NotAllowed(error) => Fault::not_allowed(name, error),
            NotApproved::SameOperator => {
                Fault::CallerNotAllowed { needs: "another operator than the one that vetted it" }
            }
        })
    };
    settle("partner", || attempt(broker, caller, (&name, operator), verb, Kind::PartnerApproved)).await
}

/// The row is expected as it was read: who approves it, approves what was vetted.
async fn attempt(
    broker: &Broker,
    caller: &Caller,
    (name, operator): (&PartnerName, &OperatorName),
    verb: Verb,
    kind: Kind,
) -> Result<Option<Partner>, Fault> {
    let read = broker.partner(name).await?;
    let state = verb(lifecycle::Partner::from_row(&read.row), operator, name)?;
    reachable(&read.row)?;
    let mut row = read.row.clone();
    state.write_to(&mut row);
    change(broker, caller, name, &read, row, (kind, "")).await
}

/// A person must be able to call somebody.
fn reachable(row: &PartnerRow) -> Result<(), Fault> {
    if row.contact_phone.is_empty() {
        return Err(Fault::ContactMissing { partner: row.name.clone() });
    }
    Ok(())
}
