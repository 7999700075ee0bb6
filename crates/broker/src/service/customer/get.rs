//! `GetCustomer`: the caller itself.

use countersign_proto::v1::{Customer, GetCustomerRequest};

use super::{itself, view};
use crate::{Broker, Caller, Fault};

pub(super) async fn get(
    broker: &Broker,
    caller: &Caller,
    request: GetCustomerRequest,
) -> Result<Customer, Fault> {
    view::customer(broker, &itself(caller, &request.name)?).await
}
