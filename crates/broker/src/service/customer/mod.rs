//! `CustomerService`: enters customers.

mod create;
mod get;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use countersign_grants::id::CustomerName;
use countersign_proto::{
    row::v1::CustomerRow,
    v1::{CreateCustomerRequest, Customer, GetCustomerRequest, customer_service_server::CustomerService},
};
use tonic::{Request, Response, Status};

use super::timestamp;
use crate::{Broker, Caller, Fault, Newcomer};

/// The service.
pub struct Customers(pub Arc<Broker>);

#[async_trait]
impl CustomerService for Customers {
    async fn create_customer(
        &self,
        request: Request<CreateCustomerRequest>,
    ) -> Result<Response<Customer>, Status> {
        let newcomer = request.extensions().get::<Newcomer>().cloned();
        let newcomer =
            newcomer.ok_or(Fault::Bug { what: "a newcomer reached its service without a token" })?;
        Ok(Response::new(create::create(&self.0, &newcomer, request.into_inner()).await?))
    }

    async fn get_customer(&self, request: Request<GetCustomerRequest>) -> Result<Response<Customer>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(get::get(&self.0, &caller, request.into_inner()).await?))
    }
}

fn view(name: &CustomerName, row: &CustomerRow) -> Customer {
    Customer {
        name: name.to_string(),
        public_key: Bytes::copy_from_slice(&row.public_key),
        create_time: timestamp(row.create_time_ms),
    }
}
