//! `SuspendPartner`, `ResumePartner`.

use countersign_grants::{
    id::PartnerName,
    lifecycle::{self, NotAllowed},
};
use countersign_proto::{
    log::v1::Kind,
    v1::{Partner, ResumePartnerRequest, SuspendPartnerRequest},
};

use super::change;
use crate::{Broker, Caller, Fault, service::fields, work::settle};

type Transition = fn(lifecycle::Partner) -> Result<lifecycle::Partner, NotAllowed>;

pub(super) async fn suspend(
    broker: &Broker,
    caller: &Caller,
    request: SuspendPartnerRequest,
) -> Result<Partner, Fault> {
    caller.operator()?;
    let name = fields::name("name", &request.name, PartnerName::parse)?;
    let reason = fields::reason("reason", &request.reason)?;
    let said = (Kind::PartnerSuspended, reason.as_str());
    settle("partner", || attempt(broker, caller, &name, lifecycle::Partner::suspend, said)).await
}

pub(super) async fn resume(
    broker: &Broker,
    caller: &Caller,
    request: ResumePartnerRequest,
) -> Result<Partner, Fault> {
    caller.operator()?;
    let name = fields::name("name", &request.name, PartnerName::parse)?;
    let said = (Kind::PartnerResumed, "");
    settle("partner", || attempt(broker, caller, &name, lifecycle::Partner::resume, said)).await
}

async fn attempt(
    broker: &Broker,
    caller: &Caller,
    name: &PartnerName,
    transition: Transition,
    said: (Kind, &str),
) -> Result<Option<Partner>, Fault> {
    let read = broker.partner(name).await?;
    let state = transition(lifecycle::Partner::from_row(&read.row))
        .map_err(|error| Fault::not_allowed(name, error))?;
    let mut row = read.row.clone();
    state.write_to(&mut row);
    change(broker, caller, name, &read, row, said).await
}
