//! `GetCustomer`: the caller itself.

use countersign_grants::id::CustomerName;
use countersign_proto::v1::{Customer, GetCustomerRequest};

use super::view;
use crate::{Broker, Caller, Fault, rows, service::fields};

pub(super) async fn get(
    broker: &Broker,
    caller: &Caller,
    request: GetCustomerRequest,
) -> Result<Customer, Fault> {
    let customer = caller.customer()?;
    let name = fields::name("name", &request.name, CustomerName::parse)?;
    if name != *customer {
        return Err(Fault::CallerNotAllowed { needs: "the customer itself" });
    }
    let read = broker.load(rows::customer(&name)).await?;
    let row = read.ok_or(Fault::Bug { what: "a customer called and is not there" })?.row;
    Ok(view(&name, &row))
}
