//! `CreateCustomer`: whoever holds the key is the customer.

use bytes::Bytes;
use countersign_grants::{
    id::{CustomerName, Principal},
    key::PublicKey,
    token::{Unverified, broker_audience},
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::CustomerRow,
    v1::{CreateCustomerRequest, Customer},
};

use super::view;
use crate::{
    Broker, Fault, Newcomer,
    private::DataKeyId,
    record::{CustomerKey, Happening},
    rows,
    service::fields,
    work::{Work, settle},
};

pub(super) async fn create(
    broker: &Broker,
    newcomer: &Newcomer,
    request: CreateCustomerRequest,
) -> Result<Customer, Fault> {
    let customer = fields::required("customer", request.customer)?;
    let key = fields::public_key("customer.public_key", &customer.public_key)?;
    let name = authorize(broker, newcomer, &key)?;
    if !customer.name.is_empty() && customer.name != name.as_str() {
        return Err(Fault::field(
            "customer.name",
            "must be absent, or `customers/` and the key's thumbprint",
        ));
    }
    settle("customer", || attempt(broker, &name, &key)).await?;
    view::customer(broker, &name).await
}

/// The token must be signed by the very key that it enters.
fn authorize(broker: &Broker, newcomer: &Newcomer, key: &PublicKey) -> Result<CustomerName, Fault> {
    let name = CustomerName::of(key.id());
    let refused = |error| Fault::token(&error);
    let token = Unverified::read(&newcomer.0).map_err(refused)?;
    if *token.issuer() != Principal::Customer(name.clone()) {
        let problem = "the token's `iss` is not the customer of the key that is entered".to_owned();
        return Err(Fault::TokenInvalid { check: "iss", problem });
    }
    let token = token.verify(key).map_err(refused)?;
    token.check(&broker_audience(broker.origin()), broker.now()).map_err(refused)?;
    Ok(name)
}

async fn attempt(broker: &Broker, name: &CustomerName, key: &PublicKey) -> Result<Option<()>, Fault> {
    let place = rows::customer(name);
    if let Some(known) = broker.load(place.clone()).await? {
        if known.row.close_time_ms > 0 {
            let (name, state) = (name.to_string(), "CLOSED".to_owned());
            return Err(Fault::WrongState { name, state, verb: "enter" });
        }
        return Ok(Some(()));
    }
    let (data_key, wrapped) = broker.kek().draw_data_key(broker.entropy());
    let id = DataKeyId::of(&wrapped);
    let row = CustomerRow {
        public_key: Bytes::copy_from_slice(key.as_bytes()),
        wrapped_data_key: wrapped.clone(),
        create_time_ms: broker.now().as_millis(),
        ..CustomerRow::default()
    };
    let mut work = Work::default();
    work.create(&place, &row)?;
    work.create(&rows::data_key(id), &wrapped)?;
    work.record(broker.draft(Happening {
        kind: Kind::CustomerCreated,
        customer: Some(&CustomerKey { name: name.clone(), id, key: data_key, stolen: false }),
        ..Happening::default()
    }));
    Ok(broker.enter(work).await?.map(|_| ()))
}
