//! `SetPartnerContact`.

use countersign_grants::id::PartnerName;
use countersign_proto::{
    log::v1::Kind,
    row::v1::PartnerRow,
    v1::{Partner, SetPartnerContactRequest},
};

use super::{change, changed};
use crate::{Broker, Caller, Fault, service::fields, work::settle};

pub(super) async fn set(
    broker: &Broker,
    caller: &Caller,
    request: SetPartnerContactRequest,
) -> Result<Partner, Fault> {
    caller.operator()?;
    let name = fields::name("name", &request.name, PartnerName::parse)?;
    let phone = fields::phone("contact_phone", &request.contact_phone)?;
    settle("partner", || attempt(broker, caller, &name, &phone)).await
}

async fn attempt(
    broker: &Broker,
    caller: &Caller,
    name: &PartnerName,
    phone: &str,
) -> Result<Option<Partner>, Fault> {
    let read = broker.partner(name).await?;
    let row = changed(PartnerRow { contact_phone: phone.to_owned(), ..read.row.clone() });
    change(broker, caller, name, &read, row, (Kind::PartnerContactSet, "")).await
}
