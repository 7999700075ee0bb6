//! `SetSourceEndpoint`.

use countersign_grants::id::PartnerName;
use countersign_proto::{
    log::v1::Kind,
    row::v1::PartnerRow,
    v1::{Partner, SetSourceEndpointRequest},
};

use super::{change, changed};
use crate::{Broker, Caller, Fault, service::fields, work::settle};

pub(super) async fn set(
    broker: &Broker,
    caller: &Caller,
    request: SetSourceEndpointRequest,
) -> Result<Partner, Fault> {
    caller.operator()?;
    let name = fields::name("name", &request.name, PartnerName::parse)?;
    let endpoint = fields::endpoint("source_endpoint", &request.source_endpoint)?;
    settle("partner", || attempt(broker, caller, &name, &endpoint)).await
}

async fn attempt(
    broker: &Broker,
    caller: &Caller,
    name: &PartnerName,
    endpoint: &str,
) -> Result<Option<Partner>, Fault> {
    let read = broker.partner(name).await?;
    let row = changed(PartnerRow { source_endpoint: endpoint.to_owned(), ..read.row.clone() });
    change(broker, caller, name, &read, row, (Kind::SourceEndpointSet, "")).await
}
