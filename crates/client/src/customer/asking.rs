//! How the customer is asked, and by whom not for a while.

use countersign_grants::id::PartnerName;
use countersign_proto::v1::{self, Asking, EndSilenceRequest, GetCustomerRequest, SetAskingRequest};

use super::Customer;
use crate::{
    channel::call,
    error::{Error, Party},
};

impl Customer {
    /// The customer as the broker has them: how they are asked, and which partners are silent.
    pub async fn profile(&self) -> Result<v1::Customer, Error> {
        let asked = GetCustomerRequest { name: self.name().to_string() };
        let found = self.0.connection.customers().get_customer(call(asked)).await?.into_inner();
        self.own(found)
    }

    /// Sets how the customer is asked, all of it at once. What the broker says afterwards must be what was set.
    pub async fn set_asking(&self, asking: Asking) -> Result<v1::Customer, Error> {
        let asked = SetAskingRequest { name: self.name().to_string(), asking: Some(asking.clone()) };
        let set = self.0.connection.customers().set_asking(call(asked)).await?.into_inner();
        if set.asking.as_ref() != Some(&asking) {
            let detail = "what is set is not what was asked for";
            return Err(Error::misbehaved(Party::Broker, "customer", "asking", detail));
        }
        self.own(set)
    }

    /// Lets a partner ask again that is silent after refusals.
    pub async fn end_silence(&self, partner: &PartnerName) -> Result<v1::Customer, Error> {
        let asked = EndSilenceRequest { name: self.name().to_string(), partner: partner.to_string() };
        let set = self.0.connection.customers().end_silence(call(asked)).await?.into_inner();
        self.own(set)
    }

    pub(super) fn own(&self, answered: v1::Customer) -> Result<v1::Customer, Error> {
        if answered.name == self.name().as_str() {
            return Ok(answered);
        }
        let detail = format!("is `{}`, not the caller", answered.name);
        Err(Error::misbehaved(Party::Broker, "customer", "name", detail))
    }
}
