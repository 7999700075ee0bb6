//! Refusing a request, or putting it off.

use countersign_grants::id::RequestName;
use countersign_proto::v1::{DeferGrantRequestRequest, RefuseGrantRequestRequest};

use super::Customer;
use crate::{channel::call, error::Error};

impl Customer {
    /// Refuses a request, for good.
    pub async fn refuse(&self, name: &RequestName) -> Result<(), Error> {
        let asked = RefuseGrantRequestRequest { name: name.to_string() };
        self.0.connection.grants().refuse_grant_request(call(asked)).await?;
        Ok(())
    }

    /// Puts a request off. It lapses no later for it.
    pub async fn defer(&self, name: &RequestName) -> Result<(), Error> {
        let asked = DeferGrantRequestRequest { name: name.to_string() };
        self.0.connection.grants().defer_grant_request(call(asked)).await?;
        Ok(())
    }
}
