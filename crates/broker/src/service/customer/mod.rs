//! `CustomerService`: enters customers, keeps how each is asked and the wrapped copies of their root secrets, and erases them.

mod asking;
pub(crate) mod change;
pub(in crate::service) mod close;
mod copy;
mod create;
mod get;
mod view;

use std::sync::Arc;

use async_trait::async_trait;
use countersign_grants::id::CustomerName;
use countersign_proto::v1::{
    ChangeCustomerRequest, ChangeCustomerResponse, CloseCustomerRequest, CloseCustomerResponse,
    CreateCustomerRequest, Customer, EndSilenceRequest, GetCustomerRequest, GetWrappedCopyRequest,
    ListCustomerChangesRequest, ListCustomerChangesResponse, SetAskingRequest, WrappedCopy,
    customer_service_server::CustomerService,
};
use tonic::{Request, Response, Status};

use super::fields;
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

    async fn change_customer(
        &self,
        request: Request<ChangeCustomerRequest>,
    ) -> Result<Response<ChangeCustomerResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(change::change(&self.0, &caller, request.into_inner()).await?))
    }

    async fn list_customer_changes(
        &self,
        request: Request<ListCustomerChangesRequest>,
    ) -> Result<Response<ListCustomerChangesResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(change::list(&self.0, &caller, request.into_inner()).await?))
    }

    async fn get_wrapped_copy(
        &self,
        request: Request<GetWrappedCopyRequest>,
    ) -> Result<Response<WrappedCopy>, Status> {
        Ok(Response::new(copy::get(&self.0, request.into_inner()).await?))
    }

    async fn close_customer(
        &self,
        request: Request<CloseCustomerRequest>,
    ) -> Result<Response<CloseCustomerResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(close::close(&self.0, &caller, request.into_inner()).await?))
    }

    async fn set_asking(&self, request: Request<SetAskingRequest>) -> Result<Response<Customer>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(asking::set(&self.0, &caller, request.into_inner()).await?))
    }

    async fn end_silence(&self, request: Request<EndSilenceRequest>) -> Result<Response<Customer>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(asking::end_silence(&self.0, &caller, request.into_inner()).await?))
    }
}

/// The customer that the caller is, and that it names.
fn itself(caller: &Caller, name: &str) -> Result<CustomerName, Fault> {
    let customer = caller.customer()?;
    let name = fields::name("name", name, CustomerName::parse)?;
    if name == *customer { Ok(name) } else { Err(Fault::CallerNotAllowed { needs: "the customer itself" }) }
}
